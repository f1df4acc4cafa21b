"use strict";
// The page of an API: its operations are read from openapi.json, tried with fetch, and long answers are shown as they arrive.

const base = document.body.dataset.base;
const credentials = {}; // by the name of a scheme; in this page's memory only
let api;

function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key in element && key !== "list") element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

function resolve(object) {
  for (let steps = 0; object && object.$ref && steps < 20; steps++) {
    const path = object.$ref.replace(/^#\//, "").split("/").map((part) => part.replace(/~1/g, "/").replace(/~0/g, "~"));
    object = path.reduce((found, part) => (found ? found[part] : undefined), api);
  }
  return object || {};
}

// ---- schemas

function nameOf(schema) {
  if (schema.$ref) return schema.$ref.split("/").pop();
  const kinds = schema.anyOf || schema.oneOf;
  if (kinds) return kinds.map(nameOf).join(" | ");
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.type === "array") return `array of ${nameOf(schema.items || {})}`;
  const type = Array.isArray(schema.type) ? schema.type.join(" | ") : schema.type || "any";
  return schema.format ? `${type}, ${schema.format}` : type;
}

function limitsOf(schema) {
  const words = { minimum: "≥", exclusiveMinimum: ">", maximum: "≤", exclusiveMaximum: "<", minLength: "length ≥", maxLength: "length ≤", pattern: "pattern" };
  return Object.entries(words).filter(([key]) => schema[key] !== undefined).map(([key, word]) => `${word} ${schema[key]}`).join(", ");
}

function example(schema, depth = 0) {
  if (schema.example !== undefined) return schema.example;
  if (schema.examples && schema.examples.length) return schema.examples[0];
  if (schema.default !== undefined) return schema.default;
  const whole = resolve(schema);
  if (whole.const !== undefined) return whole.const;
  if (whole.enum) return whole.enum[0];
  const kinds = whole.anyOf || whole.oneOf || whole.allOf;
  if (kinds && depth < 6) return example(kinds[0], depth + 1);
  const type = Array.isArray(whole.type) ? whole.type[0] : whole.type;
  if (type === "object" || whole.properties) {
    if (depth > 5) return {};
    return Object.fromEntries(Object.entries(whole.properties || {}).map(([key, value]) => [key, example(value, depth + 1)]));
  }
  if (type === "array") return depth > 5 ? [] : [example(whole.items || {}, depth + 1)];
  if (type === "integer" || type === "number") return whole.minimum ?? (whole.exclusiveMinimum !== undefined ? whole.exclusiveMinimum + 1 : 0);
  if (type === "boolean") return false;
  if (type === "null") return null;
  const texts = { "date-time": "2026-01-31T12:00:00Z", date: "2026-01-31", time: "12:00:00", uuid: "00000000-0000-4000-8000-000000000000", decimal: "1.5" };
  return texts[whole.format] || "text";
}

function fieldsOf(schema, depth = 0) {
  const whole = resolve(schema);
  if (whole.type === "array" && whole.items) return fieldsOf(whole.items, depth);
  const properties = Object.entries(whole.properties || {});
  if (!properties.length || depth > 3) return null;
  const required = new Set(whole.required || []);
  return make("ul", { className: "types" }, ...properties.map(([name, field]) => make("li", {},
    make("code", {}, name), make("small", {}, ` ${nameOf(field)}${required.has(name) ? ", required" : ""}${limitsOf(field) ? `, ${limitsOf(field)}` : ""}`),
    field.description ? make("small", {}, ` · ${field.description}`) : null,
    fieldsOf(field, depth + 1))));
}

// ---- what the user fills in

function inputFor(parameter) {
  const schema = resolve(parameter.schema || {});
  let input;
  if (schema.enum) {
    input = make("select", {}, parameter.required ? null : make("option", { value: "" }), ...schema.enum.map((one) => make("option", { value: one }, String(one))));
  } else {
    const type = ["integer", "number"].includes(schema.type) ? "number" : "text";
    input = make("input", { type, step: "any", placeholder: schema.default !== undefined ? String(schema.default) : nameOf(schema) });
  }
  input.required = Boolean(parameter.required);
  return input;
}

function labelled(name, note, input, hint) {
  return make("label", { className: "field" }, make("span", {}, make("code", {}, name), make("small", {}, note)), input, hint ? make("span", { className: "note" }, hint) : null);
}

function parametersForm(parameters) {
  const inputs = [];
  const rows = parameters.map((parameter) => {
    const input = inputFor(parameter);
    inputs.push({ parameter, input });
    const hint = [parameter.description, limitsOf(resolve(parameter.schema || {}))].filter(Boolean).join(" · ");
    return labelled(parameter.name, ` ${parameter.in}${parameter.required ? ", required" : ""}`, input, hint);
  });
  return { inputs, node: make("div", {}, rows.length ? make("h3", {}, "Parameters") : null, ...rows) };
}

function isFile(schema) {
  const whole = resolve(schema);
  return whole.format === "binary" || (whole.type === "array" && resolve(whole.items || {}).format === "binary");
}

function bodyForm(requestBody) {
  const media = Object.keys(requestBody.content);
  const choice = make("select", { ariaLabel: "Content type" }, ...media.map((one) => make("option", {}, one)));
  const place = make("div");
  let read;
  const show = () => {
    const type = choice.value;
    const schema = requestBody.content[type].schema || {};
    const whole = resolve(schema);
    if (isFile(schema)) {
      const file = make("input", { type: "file", ariaLabel: "File" });
      place.replaceChildren(file);
      read = () => ({ body: file.files[0] || "", headers: { "content-type": type } });
    } else if (type.includes("form") && whole.properties) {
      const fields = Object.entries(whole.properties).map(([name, field]) => {
        const files = isFile(field);
        const many = files && resolve(field).type === "array";
        const input = files ? make("input", { type: "file", multiple: many }) : inputFor({ schema: field, required: (whole.required || []).includes(name) });
        return { name, input, files };
      });
      place.replaceChildren(...fields.map(({ name, input }) => labelled(name, "", input)));
      read = () => {
        const form = type.startsWith("multipart") ? new FormData() : new URLSearchParams();
        for (const { name, input, files } of fields) {
          if (files) for (const file of input.files) form.append(name, file);
          else if (input.value !== "") form.append(name, input.value);
        }
        return { body: form, headers: {} };
      };
    } else {
      const text = make("textarea", { spellcheck: false, ariaLabel: "Body", value: type.includes("json") ? JSON.stringify(example(schema), null, 2) : "" });
      place.replaceChildren(text);
      read = () => ({ body: text.value, headers: { "content-type": type } });
    }
    place.append(fieldsOf(schema) || "");
  };
  choice.onchange = show;
  show();
  return { read: () => read(), node: make("div", {}, make("h3", {}, `Body${requestBody.required ? ", required" : ""}`), media.length > 1 ? choice : make("code", {}, media[0]), place) };
}

// ---- credentials

function applyCredentials(operation, url, headers) {
  for (const requirement of operation.security || []) {
    const names = Object.keys(requirement);
    if (!names.every((name) => credentials[name])) continue;
    for (const name of names) {
      const scheme = resolve(api.components.securitySchemes[name]);
      const given = credentials[name];
      if (scheme.type === "http" && scheme.scheme === "basic") {
        headers.set("authorization", `Basic ${btoa(String.fromCharCode(...new TextEncoder().encode(given)))}`);
      } else if (scheme.type === "apiKey" && scheme.in === "header") headers.set(scheme.name, given);
      else if (scheme.type === "apiKey" && scheme.in === "query") url.searchParams.set(scheme.name, given);
      else if (scheme.type !== "apiKey") headers.set("authorization", `Bearer ${given}`);
    }
    return;
  }
}

function schemeForm(name, scheme) {
  if (scheme.type === "http" && scheme.scheme === "basic") {
    const user = make("input", { autocomplete: "off", ariaLabel: "User name" });
    const password = make("input", { type: "password", autocomplete: "off", ariaLabel: "Password" });
    const keep = () => { credentials[name] = user.value ? `${user.value}:${password.value}` : ""; };
    user.oninput = password.oninput = keep;
    return make("div", {}, labelled(name, " user name", user), labelled("", "password", password));
  }
  if (scheme.type === "oauth2" && scheme.flows.password) {
    const user = make("input", { autocomplete: "off", ariaLabel: "User name" });
    const password = make("input", { type: "password", autocomplete: "off", ariaLabel: "Password" });
    const told = make("span", { className: "note" });
    const login = make("button", { type: "button", className: "quiet", onclick: async () => {
      const body = new URLSearchParams({ grant_type: "password", username: user.value, password: password.value });
      try {
        const response = await fetch(new URL(scheme.flows.password.tokenUrl, new URL(base, location)), { method: "POST", body });
        const answer = response.ok ? await response.json() : null;
        credentials[name] = answer ? answer.access_token : "";
        told.textContent = answer ? "Logged in." : `Refused: ${response.status}`;
      } catch (error) { told.textContent = error.message; }
    } }, "Log in");
    return make("div", {}, labelled(name, " user name", user), labelled("", "password", password), make("p", { className: "row" }, login, told));
  }
  const input = make("input", { type: "password", autocomplete: "off", oninput: () => { credentials[name] = input.value; } });
  return labelled(name, ` ${scheme.type === "apiKey" ? `key in ${scheme.in}` : "token"}`, input, scheme.description);
}

// ---- a request

const quote = (text) => `'${String(text).replace(/'/g, "'\\''")}'`;

function curl(method, url, headers, body) {
  const parts = [`curl -N -X ${method.toUpperCase()} ${quote(url)}`];
  headers.forEach((value, name) => parts.push(`-H ${quote(`${name}: ${value}`)}`));
  if (body instanceof FormData) for (const [name, value] of body) parts.push(`-F ${quote(value instanceof File ? `${name}=@${value.name}` : `${name}=${value}`)}`);
  else if (body instanceof Blob) parts.push(`--data-binary ${quote(`@${body.name}`)}`);
  else if (body) parts.push(`--data-raw ${quote(body)}`);
  return parts.join(" \\\n  ");
}

function requestOf(path, operation, inputs, body) {
  const headers = new Headers();
  let filled = path;
  const query = new URLSearchParams();
  for (const { parameter, input } of inputs) {
    if (input.value === "") continue;
    const values = resolve(parameter.schema || {}).type === "array" ? input.value.split(",").map((one) => one.trim()) : [input.value];
    if (parameter.in === "path") filled = filled.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
    else if (parameter.in === "query") values.forEach((one) => query.append(parameter.name, one));
    else if (parameter.in === "header") headers.set(parameter.name, input.value);
  }
  const root = api.servers ? api.servers[0].url : "";
  const url = new URL(root.replace(/\/$/, "") + filled, location);
  for (const [name, value] of query) url.searchParams.append(name, value);
  applyCredentials(operation, url, headers);
  const read = body ? body.read() : { body: undefined, headers: {} };
  for (const [name, value] of Object.entries(read.headers)) headers.set(name, value);
  return { url, headers, body: read.body };
}

async function showAnswer(response, place) {
  const type = response.headers.get("content-type") || "";
  const status = make("p", {}, make("span", { className: `status ${response.ok ? "good" : "bad"}` }, `${response.status} ${response.statusText}`), make("small", {}, `  ${type}`));
  const output = make("pre", { tabIndex: 0 });
  output.setAttribute("aria-live", "polite");
  place.replaceChildren(status, output);
  if (/^(image|audio|video)\/|octet-stream|zip/.test(type)) {
    const blob = await response.blob();
    output.replaceWith(make("a", { href: URL.createObjectURL(blob), download: "answer" }, `Save ${blob.size.toLocaleString("en")} bytes`));
    return;
  }
  if (!response.body) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  status.classList.add("live");
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      text = (text + value).slice(-200000);
      output.textContent = text;
      output.scrollTop = output.scrollHeight;
    }
    if (type.includes("json") && !/jsonl|ndjson/.test(type)) {
      try { output.textContent = JSON.stringify(JSON.parse(text), null, 2); } catch { /* it stays as it came */ }
    }
  } finally {
    status.classList.remove("live");
  }
}

function tryOut(method, path, operation, inputs, body) {
  const answer = make("div", { className: "answer" });
  const command = make("pre", { hidden: true, tabIndex: 0 });
  let control = null;
  const send = make("button", { type: "submit" }, "Send");
  const stop = make("button", { type: "button", className: "quiet stop", disabled: true, onclick: () => control && control.abort() }, "Stop");
  const asCurl = make("button", { type: "button", className: "quiet", onclick: () => {
    const request = requestOf(path, operation, inputs, body);
    command.textContent = curl(method, request.url, request.headers, request.body);
    command.hidden = false;
  } }, "curl");
  const submit = async (event) => {
    event.preventDefault();
    control = new AbortController();
    send.disabled = true;
    stop.disabled = false;
    answer.replaceChildren(make("p", { className: "soft live" }, "waiting for the answer"));
    try {
      const { url, headers, body: sent } = requestOf(path, operation, inputs, body);
      const response = await fetch(url, { method: method.toUpperCase(), headers, body: sent, signal: control.signal, cache: "no-store" });
      await showAnswer(response, answer);
    } catch (error) {
      answer.append(make("p", { className: "soft" }, error.name === "AbortError" ? "Stopped; the server has been told." : error.message));
    } finally {
      send.disabled = false;
      stop.disabled = true;
    }
  };
  return { submit, node: make("div", { className: "wide" }, make("p", { className: "row" }, send, stop, asCurl), command, answer) };
}

// ---- the operations

function answersOf(operation) {
  const rows = Object.entries(operation.responses || {}).map(([status, given]) => {
    const answer = resolve(given);
    const [media, content] = Object.entries(answer.content || {})[0] || [];
    const schema = content && (content.schema || content.itemSchema);
    return make("details", {}, make("summary", {}, make("span", { className: `status ${status < "400" ? "good" : "bad"}` }, status), ` ${answer.description || ""} `,
      make("small", { className: "soft" }, media ? `${media}${schema ? ` · ${content.itemSchema ? "items: " : ""}${nameOf(schema)}` : ""}` : "")), schema ? fieldsOf(schema) : null);
  });
  return make("div", {}, make("h3", {}, "Answers"), ...rows);
}

function operationNode(path, method, operation) {
  const details = make("details", { className: `operation${operation.deprecated ? " deprecated" : ""}`, id: operation.operationId });
  details.append(make("summary", {}, make("span", { className: `method ${method}` }, method), make("span", { className: "path" }, path), make("span", { className: "summary" }, operation.summary || "")));
  details.addEventListener("toggle", () => {
    if (!details.open || details.dataset.filled) return;
    details.dataset.filled = "1";
    const { inputs, node: parameters } = parametersForm((operation.parameters || []).map(resolve));
    const body = operation.requestBody ? bodyForm(resolve(operation.requestBody)) : null;
    const request = tryOut(method, path, operation, inputs, body);
    const form = make("form", { className: "body" },
      operation.description || operation.deprecated ? make("p", { className: "wide soft" }, operation.deprecated ? "Deprecated. " : "", operation.description || "") : null,
      make("div", {}, parameters, body ? body.node : null), answersOf(operation), request.node);
    form.noValidate = true; // what the server says of a wrong value is worth seeing
    form.addEventListener("submit", request.submit);
    details.append(form);
  });
  return details;
}

function show() {
  document.title = api.info.title;
  document.getElementById("title").textContent = `${api.info.title} ${api.info.version}`;
  document.getElementById("about").textContent = api.info.description || "";
  const groups = new Map();
  for (const [path, methods] of Object.entries(api.paths || {})) {
    for (const [method, operation] of Object.entries(methods)) {
      if (!operation.responses) continue;
      const tag = (operation.tags || [""])[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(operationNode(path, method, operation));
    }
  }
  const main = document.getElementById("operations");
  main.replaceChildren(...[...groups].map(([tag, nodes]) => make("section", {}, tag ? make("h2", {}, tag) : null, ...nodes)));
  const schemes = Object.entries((api.components || {}).securitySchemes || {});
  if (schemes.length) {
    document.getElementById("schemes").replaceChildren(...schemes.map(([name, scheme]) => schemeForm(name, resolve(scheme))));
    const button = document.getElementById("credentials");
    button.hidden = false;
    button.onclick = () => document.getElementById("auth").showModal();
  }
  const open = location.hash.slice(1) && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (open) open.open = true;
}

document.getElementById("filter").oninput = (event) => {
  const wanted = event.target.value.toLowerCase();
  for (const node of document.querySelectorAll(".operation")) node.hidden = !node.firstChild.textContent.toLowerCase().includes(wanted);
};

fetch(`${base}openapi.json`).then((response) => response.json()).then((document_) => { api = document_; show(); }).catch((error) => {
  document.getElementById("operations").textContent = `The description could not be loaded: ${error.message}`;
});
