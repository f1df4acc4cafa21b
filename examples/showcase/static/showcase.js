"use strict";
// One event stream a page carries the list and the chart; everything else is a request of its own that can be stopped.

const $ = (id) => document.getElementById(id);
const urls = document.body.dataset;
const tab = Math.random().toString(36).slice(2, 8) + "0";

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// ---- what the server is running

let source = null;
let lost = false;

function connect() {
  source = new EventSource(`${urls.live}?tab=${tab}`);
  source.onopen = () => { $("state").textContent = "live"; $("state").classList.add("open"); };
  source.onerror = () => { lost = true; $("state").textContent = "reconnecting"; $("state").classList.remove("open"); };
  source.addEventListener("hello", (event) => { $("badge").textContent = event.data; });
  source.addEventListener("activity", (event) => showActivity(JSON.parse(event.data)));
  source.addEventListener("readings", (event) => showReadings(JSON.parse(event.data)));
}

function disconnect() {
  source.close();
  source = null;
  $("state").textContent = "closed by you: the list stands still";
  $("state").classList.remove("open");
}

$("leave").onclick = () => {
  if (source) disconnect(); else connect();
  $("leave").setAttribute("aria-pressed", String(!source));
  $("leave").textContent = source ? "Close this page’s stream" : "Open it again";
};

const rows = new Map();

function showActivity({ running, ended }) {
  $("count").textContent = running.length;
  const numbers = new Set(running.map((entry) => entry.number));
  for (const [number, row] of rows) if (!numbers.has(number)) { row.remove(); rows.delete(number); }
  for (const entry of running) {
    let row = rows.get(entry.number);
    if (!row) {
      row = element("li", entry.tab === tab ? "mine" : "");
      row.append(element("span", "what", entry.kind), element("span", "detail"), element("span", "time"));
      rows.set(entry.number, row);
      $("running").append(row);
    }
    const mine = entry.kind === "event stream" ? (entry.tab === tab ? "this page" : `tab ${entry.tab}`) : entry.detail;
    row.children[1].textContent = entry.progress ? `${mine} · ${entry.progress}` : mine;
    row.children[2].textContent = `${entry.seconds.toFixed(0)} s`;
  }
  $("ended").replaceChildren(...ended.slice().reverse().map((entry) => {
    const row = element("li", "", `${entry.kind} · ${entry.detail} · `);
    row.append(element("span", entry.how, entry.how), ` after ${entry.seconds} s`);
    return row;
  }));
}

// ---- the chart

const shown = 120;
let readings = [];

function showReadings(fresh) {
  const last = readings.length ? readings[readings.length - 1][0] : 0;
  const missed = fresh.filter(([id]) => id > last);
  if (lost && last) {
    const whole = missed.length && missed[0][0] === last + 1;
    $("resumed").textContent = whole ? `came back at id ${last}, ${missed.length} events caught up` : "came back, some events are gone";
    lost = false;
  }
  readings = readings.concat(missed).slice(-shown);
  const top = Math.max(2, ...readings.map(([, late]) => late));
  const points = readings.map(([, late], i) => `${((i + shown - readings.length) * 600) / (shown - 1)},${(134 - (late / top) * 122).toFixed(1)}`);
  const first = ((shown - readings.length) * 600) / (shown - 1);
  $("line").setAttribute("d", `M${points.join("L")}`);
  $("area").setAttribute("d", `M${first},140L${points.join("L")}L600,140Z`);
  const [id, late] = readings[readings.length - 1];
  $("latest").textContent = `${late.toFixed(2)} ms late · event ${id}`;
}

$("cut").onclick = () => fetch(`${urls.cut}?tab=${tab}`, { method: "POST" });

// ---- requests that can be stopped

function stoppable(start, stop, work) {
  let control = null;
  stop.onclick = () => control && control.abort();
  return async (...given) => {
    control = new AbortController();
    start.disabled = true;
    stop.disabled = false;
    try {
      await work(control.signal, ...given);
    } finally {
      start.disabled = false;
      stop.disabled = true;
    }
  };
}

const ask = stoppable($("ask").querySelector("button"), $("stop"), async (signal) => {
  const answer = $("answer");
  answer.textContent = "";
  try {
    const response = await fetch(urls.assistant, { method: "POST", body: $("question").value, signal });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      answer.textContent += value;
    }
  } catch (error) {
    answer.textContent += error.name === "AbortError" ? " — stopped." : ` — ${error.message}`;
  }
});
$("ask").onsubmit = (event) => { event.preventDefault(); ask(); };

const compute = stoppable($("compute").querySelector("button"), $("compute-stop"), async (signal) => {
  const result = $("compute-result");
  result.textContent = "Counting; the list above says how far it is.";
  try {
    const response = await fetch(`${urls.primes}?below=${encodeURIComponent($("below").value)}`, { signal });
    const answer = await response.json();
    result.textContent = `${answer.primes} primes below ${answer.below}.`;
  } catch (error) {
    result.textContent = error.name === "AbortError" ? "Cancelled, on the server as well." : error.message;
  }
});
$("compute").onsubmit = (event) => { event.preventDefault(); compute(); };

const upload = stoppable($("upload").querySelector("button"), $("upload-stop"), (signal, blob, name) => new Promise((resolve) => {
  const result = $("upload-result");
  const request = new XMLHttpRequest(); // fetch tells no progress of an upload
  request.open("POST", `${urls.upload}?name=${encodeURIComponent(name)}`);
  request.upload.onprogress = (event) => { $("upload-progress").value = event.loaded / event.total; };
  request.onload = () => {
    const answer = request.status === 200 ? JSON.parse(request.responseText) : null;
    result.textContent = answer ? `${answer.size.toLocaleString("en")} bytes, sha256 ${answer.sha256}` : request.responseText;
    resolve();
  };
  request.onabort = () => { result.textContent = "Cancelled."; resolve(); };
  request.onerror = () => { result.textContent = "The connection was lost."; resolve(); };
  signal.addEventListener("abort", () => request.abort());
  result.textContent = "";
  request.send(blob);
}));
$("upload").onsubmit = (event) => {
  event.preventDefault();
  const file = $("file").files[0];
  if (file) upload(file, file.name); else $("upload-result").textContent = "Choose a file, or take the zeros.";
};
$("sample").onclick = () => upload(new Blob([new Uint8Array(32 * 1024 * 1024)]), "zeros.bin");

// ---- a download by ranges

const piece = 1024 * 1024;
let pieces = [];
let etag = null;
let loading = null;

$("download").onclick = async () => {
  if (loading) { loading.abort(); return; }
  loading = new AbortController();
  $("download").textContent = "Pause";
  try {
    for (;;) {
      const start = pieces.reduce((sum, each) => sum + each.byteLength, 0);
      const headers = { range: `bytes=${start}-${start + piece - 1}` };
      if (etag) headers["if-range"] = etag;
      const response = await fetch(urls.download, { headers, signal: loading.signal, cache: "no-store" });
      if (response.status === 200) pieces = []; // another file than before, from its beginning
      etag = response.headers.get("etag");
      pieces.push(await response.arrayBuffer());
      const total = response.status === 200 ? start : Number(response.headers.get("content-range").split("/")[1]);
      const got = pieces.reduce((sum, each) => sum + each.byteLength, 0);
      $("download-progress").value = total ? got / total : 1;
      $("download-result").textContent = `${got.toLocaleString("en")} of ${total.toLocaleString("en")} bytes`;
      if (response.status === 200 || got >= total) break;
      await new Promise((resolve) => setTimeout(resolve, 150)); // so that there is time to pause
    }
    const whole = await new Blob(pieces).arrayBuffer();
    if (window.crypto.subtle) {
      const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", whole));
      const hex = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
      $("download-result").textContent = `Whole: ${whole.byteLength.toLocaleString("en")} bytes, sha256 ${hex}`;
    }
    pieces = [];
    $("download").textContent = "Download again";
  } catch (error) {
    $("download").textContent = "Go on";
    if (error.name !== "AbortError") $("download-result").textContent = error.message;
  } finally {
    loading = null;
  }
};

// ---- the chat

let socket = null;

$("join").onsubmit = (event) => {
  event.preventDefault();
  const url = new URL(urls.chat, location);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  url.searchParams.set("name", $("name").value.trim());
  socket = new WebSocket(url);
  socket.onopen = () => { $("join").hidden = true; $("say").hidden = false; $("text").focus(); };
  socket.onclose = (closed) => {
    $("join").hidden = false;
    $("say").hidden = true;
    $("members").textContent = `The connection is closed (${closed.code}).`;
  };
  socket.onmessage = (message) => {
    const { members, author, text } = JSON.parse(message.data);
    if (members) { $("members").textContent = `There: ${members.join(", ")}`; return; }
    const row = element("li");
    row.append(element("b", "", author), ` ${text}`);
    $("messages").append(row);
    $("messages").scrollTop = $("messages").scrollHeight;
  };
};
$("say").onsubmit = (event) => {
  event.preventDefault();
  socket.send($("text").value);
  $("text").value = "";
};

connect();
