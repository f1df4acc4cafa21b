"""What clients of HTTP/2 do wrong, or too much of, is bounded, and costs no other stream or connection anything."""

from __future__ import annotations

import anyio
import h2.errors
import h2.settings
import pytest
from baize.typing import Receive, Scope, Send
from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.support.http2_async_client import PSEUDO, AsyncHttp2Client, Headers
from tests.support.process import PATIENCE

from .conftest import Serve
from .test_http2 import App, answer, client_of, echo, read_body, within

pytestmark = pytest.mark.anyio
CALM = h2.errors.ErrorCodes.ENHANCE_YOUR_CALM
GET = [(b":method", b"GET"), (b":path", b"/"), *PSEUDO]


def changed(*headers: tuple[bytes, bytes], without: bytes = b"") -> Headers:
    return [*[header for header in GET if header[0] != without], *headers]


MALFORMED: dict[str, tuple[int, Headers]] = {
    "no path": (400, changed(without=b":path")),
    "empty path": (400, changed((b":path", b""), without=b":path")),
    "path outside ASCII": (400, changed((b":path", b"/\xff"), without=b":path")),
    "path with a fragment": (400, changed((b":path", b"/a#b"), without=b":path")),
    "path that is a URL": (400, changed((b":path", b"http://x/"), without=b":path")),
    "star for GET": (400, changed((b":path", b"*"), without=b":path")),
    "no method": (400, changed(without=b":method")),
    "method with a space": (400, changed((b":method", b"G ET"), without=b":method")),
    "no scheme": (400, changed(without=b":scheme")),
    "no authority": (400, changed(without=b":authority")),
    "authority that is none": (400, changed((b":authority", b"a b"), without=b":authority")),
    "another host": (400, changed((b"host", b"other.example"))),
    "two paths": (400, changed((b":path", b"/x"))),
    "unknown pseudo-header": (400, changed((b":unknown", b"1"))),
    "pseudo-header behind others": (
        400,
        [(b":method", b"GET"), *PSEUDO, (b"a", b"b"), (b":path", b"/")],
    ),
    "upper case": (400, changed((b"X-Upper", b"1"))),
    "space in a name": (400, changed((b"x y", b"1"))),
    "empty name": (400, changed((b"", b"1"))),
    "line feed in a value": (400, changed((b"x", b"1\r\nx-injected: 1"))),
    "NUL in a value": (400, changed((b"x", b"\0"))),
    "space around a value": (400, changed((b"x", b" 1"))),
    "connection": (400, changed((b"connection", b"close"))),
    "transfer-encoding": (400, changed((b"transfer-encoding", b"chunked"))),
    "te": (400, changed((b"te", b"gzip"))),
    "CONNECT": (501, [(b":method", b"CONNECT"), *PSEUDO]),
    "unknown protocol": (
        501,
        [(b":method", b"CONNECT"), (b":protocol", b"tea"), (b":path", b"/"), *PSEUDO],
    ),
    "101 fields": (431, changed(*[(b"x-%d" % number, b"1") for number in range(101)])),
    "70 KB of headers": (431, changed(*[(b"x", b"1" * 7000)] * 10)),
}


@pytest.mark.parametrize("case", MALFORMED)
async def test_a_malformed_request_is_refused_and_costs_no_other_stream(
    serve: Serve, case: str
) -> None:
    status, headers = MALFORMED[case]
    app = App(echo)
    async with serve(app) as server, client_of(server.port) as client:
        other = await client.ask("/other", "POST", end=False)
        got = await client.answer(await client.ask_with(headers))
        assert got.status == status
        await client.send(other, b"body", end=True)
        assert (await client.answer(other)).body == b"body"
    assert app.calls == 1


@pytest.mark.parametrize(
    ("lengths", "sent"),
    [((b"5",), 4), ((b"5",), 6), ((b"five",), 5), ((b"+5",), 5), ((b"5", b"6"), 5), ((b"-1",), 0)],
)
async def test_a_content_length_that_is_none_or_not_kept_ends_its_connection(
    serve: Serve, lengths: tuple[bytes, ...], sent: int
) -> None:
    """h2 decides so; see docs/servers.md."""
    bodies: list[bytes | None] = []

    async def read(scope: Scope, receive: Receive, send: Send) -> None:
        bodies.append(await read_body(receive))

    app = App(read)
    async with serve(app) as server, client_of(server.port) as client:
        headers = [(b":method", b"POST"), (b":path", b"/"), *PSEUDO]
        headers += [(b"content-length", length) for length in lengths]
        number = await client.ask_with(headers, end=False)
        await client.send(number, b"x" * sent, end=True)
        await client.read_to_the_end()
        assert client.goaway is not None
        assert client.goaway.error_code == h2.errors.ErrorCodes.PROTOCOL_ERROR
    assert bodies in ([], [None]), "the app has got no such body"


async def test_one_stream_more_than_a_hundred_is_refused_and_the_others_end(serve: Serve) -> None:
    go_on = anyio.Event()

    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        await go_on.wait()
        await echo(scope, receive, send)

    app = App(act)
    async with serve(app) as server, client_of(server.port) as client:
        await client.read()
        limit = client.h2.remote_settings.max_concurrent_streams
        assert limit == 100
        # Before the client could know the limit: h2 keeps to it.
        client.h2.remote_settings.update({h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 1000})
        client.h2.remote_settings.acknowledge()
        asked = [await client.ask(f"/{number}") for number in range(105)]
        for number in asked[100:]:
            got = await client.answer(number)
            assert got.reset == h2.errors.ErrorCodes.REFUSED_STREAM
        go_on.set()
        for index, number in enumerate(asked[:100]):
            assert (await client.answer(number)).body == b"/%d" % index
        assert (await client.get("/again")).body == b"/again"
    assert app.calls == 101


def head_of(number: int, *, end: bool = True) -> HeadersFrame:
    frame = HeadersFrame(number, data=Encoder().encode(GET))
    frame.flags.add("END_HEADERS")
    if end:
        frame.flags.add("END_STREAM")
    return frame


def numbers(count: int) -> range:
    return range(1, 2 * count, 2)


def settings(number: int) -> Frame:
    return SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 65535 + number % 2})


FLOODS: dict[str, list[Frame]] = {
    "resets": [
        frame for n in numbers(3000) for frame in (head_of(n), RstStreamFrame(n, error_code=8))
    ],
    "pings": [PingFrame(0, opaque_data=b"12345678")] * 5000,
    "settings": [settings(n) for n in range(5000)],
    "empty data": [head_of(1, end=False), *[DataFrame(1)] * 5000],
    "priorities": [PriorityFrame(n, depends_on=0) for n in numbers(5000)],
    "windows": [WindowUpdateFrame(0, window_increment=1)] * 5000,
    "windows of a stream": [
        head_of(1, end=False),
        *[WindowUpdateFrame(1, window_increment=1)] * 5000,
    ],
    # MadeYouReset: the server is made to reset streams whose apps go on working.
    "resets by us": [
        frame
        for n in numbers(3000)
        for frame in (head_of(n), WindowUpdateFrame(n, window_increment=2**31 - 1))
    ],
    "streams that are refused": [head_of(n) for n in numbers(3000)],
    "goaways": [GoAwayFrame(0)] * 5000,
}


@pytest.mark.parametrize("kind", FLOODS)
async def test_a_flood_ends_its_connection_and_not_before_it_is_one(
    serve: Serve, kind: str
) -> None:
    go_on = anyio.Event()

    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        await go_on.wait()

    app = App(act)
    frames = FLOODS[kind]
    async with serve(app) as server, client_of(server.port) as client:
        await client.flush(*frames[:200], PingFrame(0, opaque_data=PING))
        assert await read_raw(client, PING)  # no flood yet
        for begin in range(200, len(frames), 200):
            await client.flush(*frames[begin : begin + 200])
        await read_raw(client)
        assert app.calls <= 100
        go_on.set()
        async with client_of(server.port) as other:
            assert (await other.get()).status == 500  # what this app is worth


PING = b"are you?"


async def read_raw(client: AsyncHttp2Client, end: bytes | None = None) -> bool:
    """Read up to some bytes, or the end. h2 does not know what was sent by hand."""
    data = b""
    with anyio.fail_after(PATIENCE):
        try:
            while end is None or end not in data:
                data = data[-99:] + await client.stream.receive()
            return True
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return False


async def test_pings_within_reason_are_all_answered(serve: Serve) -> None:
    async with serve(echo) as server, client_of(server.port) as client:
        for _ in range(500):
            client.h2.ping(b"12345678")
        await client.flush()
        await client.until(lambda: client.pongs == 500)
        assert (await client.get("/x")).body == b"/x"


async def test_a_flood_of_continuations_ends_its_connection(serve: Serve) -> None:
    app = App(echo)
    async with serve(app) as server, client_of(server.port) as client:
        head = HeadersFrame(1, data=Encoder().encode(GET))
        head.flags.add("END_STREAM")
        await client.flush(head, *[ContinuationFrame(1, data=b"")] * 10_000)
        await client.read_to_the_end()
    assert app.calls == 0


async def test_a_bomb_of_headers_ends_its_connection(serve: Serve) -> None:
    """A value in the table of HPACK that a byte each repeats: 4 KB become 16 MB."""
    app = App(echo)
    async with serve(app) as server, client_of(server.port) as client:
        first = Encoder().encode([*GET, (b"bomb", b"x" * 4000)])
        head = HeadersFrame(1, data=first + b"\xbe" * 4000)
        head.flags.add("END_HEADERS")
        head.flags.add("END_STREAM")
        await client.flush(head)
        await client.read_to_the_end()
        assert client.goaway is not None and client.goaway.error_code == CALM
    assert app.calls == 0


@pytest.mark.parametrize(
    "wrong",
    [
        b"\0\0\x08\6\0\0\0\0\4" + b"12345678",
        DataFrame(7, data=b"of no stream").serialize(),
        WindowUpdateFrame(0, window_increment=2**31 - 1).serialize(),
        b"\0\xff\xff\0\0\0\0\0\1" + b"x" * 65535,
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        head_of(2).serialize(),
    ],
    ids=["ping", "data of no stream", "window", "too long", "HTTP 1", "even stream"],
)
async def test_what_breaks_the_protocol_ends_its_connection_and_tells_its_apps(
    serve: Serve, wrong: bytes
) -> None:
    ready, left = anyio.Event(), anyio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] != "/waits":
            await answer(send, b"")
            return
        await receive()
        ready.set()
        await receive()
        left.set()

    async with serve(app) as server, client_of(server.port) as client:
        await client.ask("/waits")
        await within(ready)
        await client.send_raw(wrong + wrong)
        await client.read_to_the_end()
        await within(left)
        async with client_of(server.port) as other:
            assert (await other.get()).status == 200


async def test_a_preface_may_come_by_bytes_and_something_else_is_http_1(serve: Serve) -> None:
    async with serve(echo) as server:
        async with await anyio.connect_tcp("127.0.0.1", server.port) as stream:
            client = AsyncHttp2Client(stream, 65535)
            data = client.h2.data_to_send()
            for index in range(30):
                await stream.send(data[index : index + 1])
            await stream.send(data[30:])
            assert (await client.get("/x")).body == b"/x"
        got = await server.ask(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n")
        assert got.startswith(b"HTTP/1.1 4") or got.startswith(b"HTTP/1.1 505")


async def test_an_upgrade_to_http_2_is_ignored(serve: Serve) -> None:
    async with serve(echo) as server:
        got = await server.ask(
            b"GET /x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings, close\r\n"
            b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
        )
    assert got.startswith(b"HTTP/1.1 200 ") and got.endswith(b"\r\n\r\n/x")
