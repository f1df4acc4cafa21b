"""curl, wget, ab, wrk, h2load and Node's own clients."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support.process import ServerProcess

from .conftest import Run, program
from .site import BIG

CURL = ("-sS", "--max-time", "40")
VERSIONS = {
    "--http1.0": "1.0",
    "--http1.1": "1.1",
    "--http2": "1.1",
    "--http2-prior-knowledge": "2",
}


@pytest.mark.parametrize("flag", VERSIONS)
def test_curl_speaks_each_version(site: ServerProcess, run: Run, flag: str) -> None:
    """`--http2` asks for an upgrade, which is ignored."""
    done = run("curl", *CURL, flag, site.url + "/plain")
    assert done.stdout == f"hello over {VERSIONS[flag]}"


@pytest.mark.parametrize(("flag", "version"), [("--http1.1", "1.1"), ("--http2", "2")])
def test_curl_speaks_over_tls(
    secure_site: ServerProcess, run: Run, certificate: Path, flag: str, version: str
) -> None:
    done = run("curl", *CURL, "--cacert", str(certificate), flag, secure_site.url + "/plain")
    assert done.stdout == f"hello over {version}"


@pytest.mark.parametrize("flag", ["--http1.1", "--http2"])
def test_curl_asks_several_times_on_one_connection(
    secure_site: ServerProcess, run: Run, certificate: Path, flag: str
) -> None:
    """Over TLS: curl before 8.0 cannot use a connection again that it began by prior knowledge."""
    urls = [secure_site.url + path for path in ("/plain", "/numbers", "/big", "/plain")]
    done = run("curl", *CURL, "-v", "--cacert", str(certificate), flag, *urls)
    assert done.stderr.count("Re-using existing connection") == 3
    assert done.stdout.startswith("hello over ") and "\n99\n" in done.stdout


@pytest.mark.parametrize("flag", ["--http1.0", "--http1.1", "--http2-prior-knowledge"])
def test_curl_uploads_a_file_and_a_stream(
    site: ServerProcess, run: Run, tmp_path: Path, flag: str
) -> None:
    """Over HTTP/1.1 it waits for 100 Continue."""
    path = tmp_path / "file"
    path.write_bytes(BIG * 3)
    upload = (
        ("-T", str(path))
        if flag == "--http1.0"
        else ("-H", "Expect: 100-continue", "-T", str(path))
    )
    assert run("curl", *CURL, flag, *upload, site.url + "/count").stdout == str(len(BIG) * 3)
    if flag != "--http1.0":
        chunked = ("-H", "Transfer-Encoding: chunked") if flag == "--http1.1" else ()
        done = run("curl", *CURL, flag, *chunked, "-T", str(path), site.url + "/count")
        assert done.stdout == str(len(BIG) * 3)


@pytest.mark.parametrize("flag", ["--http1.1", "--http2-prior-knowledge"])
def test_curl_reads_the_refusal_of_its_upload(
    site: ServerProcess, run: Run, tmp_path: Path, flag: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(BIG)
    upload = ("-H", "Expect:", "--data-binary", f"@{path}")
    done = run("curl", *CURL, flag, *upload, "-w", " %{http_code}", site.url + "/early")
    assert done.stdout == "too large 413"


@pytest.mark.parametrize("flag", ["--http1.1", "--http2-prior-knowledge"])
def test_curl_gives_an_event_stream_up(site: ServerProcess, run: Run, flag: str) -> None:
    before = site.log.count("left\n")
    done = run("curl", "-sSN", "--max-time", "1", flag, site.url + "/events", status=28)
    assert done.stdout.count("data: ") == 5
    site.find("left\n", before + 1)


def test_curl_asks_for_the_head(site: ServerProcess, run: Run) -> None:
    for flag in ("--http1.1", "--http2-prior-knowledge"):
        done = run("curl", *CURL, "-I", flag, site.url + "/big")
        assert f"content-length: {len(BIG)}" in done.stdout.lower()


def test_wget_gets_posts_and_trusts(
    site: ServerProcess, secure_site: ServerProcess, run: Run, certificate: Path, tmp_path: Path
) -> None:
    common = ("-q", "-O", "-", "--tries=1", "--timeout=40")
    assert run("wget", *common, site.url + "/plain").stdout == "hello over 1.1"
    assert run("wget", *common, "--post-data=12345", site.url + "/count").stdout == "5"
    trust = f"--ca-certificate={certificate}"
    assert run("wget", *common, trust, secure_site.url + "/numbers").stdout.endswith("\n99\n")
    path = tmp_path / "big"
    run("wget", "-q", "-O", str(path), site.url + "/big")
    assert path.read_bytes() == BIG


@pytest.mark.parametrize("flags", [(), ("-k",)], ids=["close", "keep-alive"])
def test_ab_gets_all_of_its_answers(site: ServerProcess, run: Run, flags: tuple[str, ...]) -> None:
    """It speaks HTTP/1.0, with and without keep-alive."""
    output = run("ab", "-q", "-n", "300", "-c", "10", *flags, site.url + "/plain").stdout
    assert re.search(r"Complete requests: +300\n", output)
    assert re.search(r"Failed requests: +0\n", output)
    assert "Non-2xx" not in output
    if flags:
        assert re.search(r"Keep-Alive requests: +300\n", output)


def test_wrk_sees_no_error(site: ServerProcess, run: Run) -> None:
    output = run("wrk", "-t", "1", "-c", "20", "-d", "1", site.url + "/plain").stdout
    assert "Socket errors" not in output and "Non-2xx" not in output
    assert int(re.search(r"(\d+) requests in", output)[1]) > 0  # type: ignore[index]


@pytest.mark.parametrize("path", ["/plain", "/numbers", "/big"])
def test_h2load_gets_all_of_its_answers(
    site: ServerProcess, secure_site: ServerProcess, run: Run, path: str
) -> None:
    for server, flags in ((site, ()), (secure_site, ()), (site, ("--h1",))):
        output = run("h2load", "-n", "200", "-c", "4", "-m", "10", *flags, server.url + path).stdout
        assert "200 succeeded, 0 failed, 0 errored" in output


def test_chromium_speaks_http_2_and_a_websocket_on_it(
    secure_site: ServerProcess, tmp_path: Path
) -> None:
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
    flags += ("--ignore-certificate-errors", f"--user-data-dir={tmp_path}")
    flags += ("--remote-debugging-port=0",)  # it stays until it is ended
    before = [len(re.findall(what, secure_site.log)) for what in (SAW, SPOKE)]
    browser = ServerProcess([program("chromium"), *flags, secure_site.url + "/page"])
    try:
        secure_site.find(SAW, before[0] + 1, seconds=50)
        secure_site.find(SPOKE, before[1] + 1)
    finally:
        browser.end()


SAW = r"a page saw a socket says echo \| five events \| hello over 2\n"
SPOKE = r"socket over 2\n"


NODE = """
const http = require('http'), http2 = require('http2');
const [host, port] = ['127.0.0.1', +process.argv[1]];
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const seen = {};
function ask(options, body) {
    return new Promise((resolve, reject) => {
        const request = http.request({ host, port, agent, ...options }, response => {
            let text = '';
            response.setEncoding('utf8').on('data', piece => { text += piece; });
            response.on('end', () => resolve({ status: response.statusCode, text, socket: request.reusedSocket }));
        });
        request.on('error', reject);
        request.on('continue', () => { seen.continued = true; request.end(body); });
        if (!options.headers || !options.headers.Expect) {
            for (const piece of body ? [body, body] : []) request.write(piece);
            request.end();
        } else request.flushHeaders();
    });
}
function over_http2() {
    return new Promise((resolve, reject) => {
        const session = http2.connect(`http://${host}:${port}`).on('error', reject);
        let texts = [];
        for (let n = 0; n < 20; n++) {
            const stream = session.request({ ':path': '/count', ':method': 'POST' });
            let text = '';
            stream.setEncoding('utf8').on('data', piece => { text += piece; });
            stream.on('end', () => { texts.push(text); if (texts.length == 20) { session.close(); resolve(texts); } });
            stream.end(Buffer.alloc(100000));
        }
    });
}
(async () => {
    seen.first = await ask({ path: '/plain' });
    seen.chunked = await ask({ path: '/count', method: 'POST' }, 'x'.repeat(50000));
    seen.expected = await ask({ path: '/count', method: 'POST', headers: { Expect: '100-continue' } }, 'body');
    seen.numbers = (await ask({ path: '/numbers' })).text.split('\\n').length;
    seen.http2 = await over_http2();
    console.log(JSON.stringify(seen));
    process.exit(0);
})();
"""


def test_node_keeps_its_connection_and_waits_for_100(site: ServerProcess, run: Run) -> None:
    seen = json.loads(run("node", "-e", NODE, str(site.port)).stdout)
    assert (seen["first"]["status"], seen["first"]["text"]) == (200, "hello over 1.1")
    assert seen["chunked"] == {"status": 200, "text": "100000", "socket": True}
    assert seen["expected"] == {"status": 200, "text": "4", "socket": True}
    assert seen["continued"] is True
    assert seen["numbers"] == 101
    assert seen["http2"] == ["100000"] * 20
