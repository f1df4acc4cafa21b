"""What clients may send at random, for HTTP/1.1 and HTTP/2, and what must hold of it.

`python -m tests.serving.random_inputs` asks `http1` two million times and `http2` 50,000 times on each loop, which takes some
minutes; `--http1`, `--http2` and `--seed` change that. The suite asks for a small share, with hypothesis.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import pairwise
from random import Random
from typing import Any, Final

import anyio
import anyio.lowlevel
from baize.typing import ASGIApp, Receive, Scope, Send
from hpack import Encoder
from hyperframe.frame import DataFrame, Frame, GoAwayFrame

from kui.serving.http1 import Http1, Reading
from kui.serving.http2 import Http2Connection
from kui.serving.pipes import BytesLike
from kui.serving.protocol import PREFACE
from kui.serving.state import ConnectionLimits, ServerState

from .vectors import CHUNKED, GET, POST, VECTORS

__all__ = [
    "check_http1",
    "check_stories",
    "http1_input",
    "http2_frames",
    "http2_stories",
    "read_http1",
    "run_http2",
]

Seen = list[tuple[Any, ...]]


def pieces_of(random: Random, data: bytes, most: int = 12) -> list[bytes]:
    """Cut bytes anywhere."""
    places = sorted({0, len(data), *(random.randint(0, len(data)) for _ in range(most))})
    return [data[a:b] for a, b in pairwise(places)]


# ---- HTTP/1.1

BITS: Final = [
    *(GET, POST, CHUNKED, b"\r\n", b"\r\n\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n", b"Host: y\r\n"),
    *(b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n"),
    *(b"Expect: 100-continue\r\n", b"Upgrade: websocket\r\n", b"\0", b"\n", b"PRI * HTTP/2.0\r\n"),
    *(b"GET http://a/ HTTP/1.1\r\n", b"CONNECT a:1 HTTP/1.1\r\n", b"OPTIONS * HTTP/1.0\r\n"),
    *(b"x" * 5000, b"A: b\r\n" * 99, b" ", b"\t", b":", b"\xff", b"%", b"#"),
]
WHOLE: Final = [vector.data for vector in VECTORS if len(vector.data) < 1000]


def http1_input(random: Random) -> list[bytes]:
    """Bits of requests and of nothing in any order, or a request of which some bytes were changed; in pieces."""
    if random.random() < 0.5:
        some = random.randint(0, 12)
        data = b"".join(
            random.choice(BITS)
            if random.random() < 0.8
            else bytes(random.randrange(256) for _ in range(random.randint(0, 20)))
            for _ in range(some)
        )
    else:
        changed = bytearray(random.choice(WHOLE) + random.choice(WHOLE))
        for _ in range(random.randint(0, 4)):
            at = random.randrange(len(changed) + 1)
            changed[at : at + random.randint(0, 2)] = random.choice(BITS)[: random.randint(0, 3)]
        data = bytes(changed)
    return pieces_of(random, data, random.randint(0, 3))


def read_http1(pieces: Iterable[bytes]) -> Seen:
    """What comes of bytes: each request with its body, and the refusal at the end, if there is one."""
    http1 = Http1()
    seen: Seen = []
    for piece in pieces:
        http1.receive_data(piece)
        while (request := http1.request) is not None and request.complete:
            seen.append(
                (request.method, request.path, request.query, request.headers, request.take_body())
            )
            if not request.keep_alive or http1.reading is not Reading.REST:
                return seen
            http1.start_next()
        if http1.error is not None:
            return [*seen, (http1.error.status, str(http1.error))]
    return seen


def check_http1(pieces: list[bytes]) -> None:
    """Read it; nothing is raised, a refusal has a status for it, and where it is cut changes nothing."""
    seen = read_http1(pieces)
    for entry in seen:
        assert not isinstance(entry[0], int) or 400 <= entry[0] < 506, entry
    assert outcome(seen) == outcome(read_http1([b"".join(pieces)]))


def outcome(seen: Seen) -> Seen:
    """A request that has several faults may be refused for any of them."""
    return [("refused",) if isinstance(entry[0], int) else entry for entry in seen]


# ---- HTTP/2

PSEUDO: Final = [(b":scheme", b"http"), (b":authority", b"x")]
REQUEST: Final = [(b":method", b"POST"), (b":path", b"/"), *PSEUDO]
BLOCKS: Final = [
    REQUEST,
    [(b":method", b"GET"), (b":path", b"/"), *PSEUDO, (b"cookie", b"a=b")],
    [*REQUEST, (b"content-length", b"5")],
    [*REQUEST, (b"content-length", b"x")],
    [*REQUEST, (b"Upper", b"x")],
    [*REQUEST, (b"connection", b"close")],
    [(b":method", b"CONNECT"), (b":protocol", b"websocket"), (b":path", b"/"), *PSEUDO],
    [(b":path", b"/"), *PSEUDO],
    [(b"trailer", b"x")],
]
KNOWN: Final = 10
"""The types of frames that RFC 9113 has."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"", length: int = -1) -> bytes:
    size = len(payload) if length < 0 else length
    return (
        size.to_bytes(3, "big") + bytes((kind, flags)) + (stream & (1 << 32) - 1).to_bytes(4, "big")
    ) + payload


def number(value: int) -> bytes:
    return (value & (1 << 32) - 1).to_bytes(4, "big")


def block(random: Random) -> bytes:
    if random.random() < 0.1:
        return bytes(random.randrange(256) for _ in range(random.randint(0, 30)))
    return bytes(Encoder().encode(random.choice(BLOCKS), huffman=random.random() < 0.5))


def http2_frame(random: Random) -> bytes:
    """Any frame, mostly on a stream of a few, and mostly as the standard wants it."""
    stream = random.choice((1, 1, 3, 3, 5, 7, 9, 0, 2, 101, (1 << 31) - 1))
    kind = random.choice((0, 0, 0, 1, 1, 1, 1, 2, 3, 4, 6, 7, 8, 8, 9, 5, 13, 200))
    flags = random.choice((0, 0, 1, 4, 5, 5, 8, 12, 32, 37, 255))
    size = random.choice((0, 1, 5, 5, 30, 1000))
    some = bytes(random.randrange(256) for _ in range(min(size, 30))) + bytes(max(0, size - 30))
    payload = {
        0: lambda: b"hello" if random.random() < 0.5 else some,
        1: lambda: block(random),
        2: lambda: number(random.choice((0, 1, 3, 1 << 31))) + b"\x10",
        3: lambda: number(random.choice((0, 1, 8, 11, 77))),
        4: lambda: b"".join(
            random.randrange(9).to_bytes(2, "big")
            + number(random.choice((0, 1, 100, 65535, 16384, 1 << 31)))
            for _ in range(random.randint(0, 3))
        ),
        6: lambda: some[:8].ljust(8, b"p"),
        7: lambda: number(1) + number(random.choice((0, 1))) + some,
        8: lambda: number(random.choice((0, 1, 1000, 65535, (1 << 31) - 1))),
        9: lambda: block(random),
    }.get(kind, lambda: some)()
    if kind in (4, 6, 7) and random.random() < 0.9:
        stream = 0
        flags &= 1
    if random.random() < 0.05:
        payload = payload[: random.randint(0, len(payload))]
    return frame(kind, flags, stream, payload, -1 if random.random() < 0.98 else 3)


def http2_frames(random: Random) -> list[bytes]:
    """The bytes of a client that begins as one must and goes on with any frames; in pieces."""
    frames = [http2_frame(random) for _ in range(random.randint(0, 25))]
    if random.random() < 0.1:
        frames.insert(
            random.randint(0, len(frames)), bytes(random.randrange(256) for _ in range(9))
        )
    return pieces_of(random, PREFACE + frame(4, 0, 0) + b"".join(frames))


def story(random: Random, stream: int) -> tuple[list[bytes], bytes | None]:
    """The frames of one stream, and the body that must come back; None for a stream that is given up, or goes wrong."""
    body = bytes(random.randrange(256) for _ in range(random.randint(0, 40)))
    head = bytes(Encoder().encode(REQUEST))
    frames = [frame(1, 4, stream, head)]
    frames += [frame(0, 0, stream, piece) for piece in pieces_of(random, body, 3)]
    end = frame(0, 1, stream)
    match random.randrange(8):
        case 0:  # given up
            return [*frames, frame(3, 0, stream, number(8)), frame(8, 0, stream, number(1))], None
        case 1:  # malformed, with a body
            head = bytes(Encoder().encode(random.choice((BLOCKS[4], BLOCKS[5], BLOCKS[7]))))
            return [frame(1, 4, stream, head), *frames[1:], end], None
        case 2:  # sent on after it was given up
            return [*frames, frame(3, 0, stream, number(0)), *frames[1:], end], None
        case 3:  # with trailers, in two frames
            trailers = bytes(Encoder().encode([(b"a", b"b")]))
            return [
                *frames,
                frame(1, 1, stream, trailers[:1]) + frame(9, 4, stream, trailers[1:]),
            ], body
        case 4:  # with frames that mean nothing
            some = [frame(200, 255, stream, b"?"), frame(2, 0, stream, number(0) + b"\x10")]
            return [frames[0], *some, *frames[1:], end], body
        case 5:  # padded
            return [frames[0], frame(0, 9, stream, b"\x03" + body + bytes(3))], body
        case _:
            return [*frames, end], body


def http2_stories(random: Random) -> tuple[list[bytes], dict[int, bytes]]:
    """The bytes of a client with several streams, whose frames come in any order, and what must come back on which."""
    left: list[list[bytes]] = []
    expected: dict[int, bytes] = {}
    for stream in range(1, 2 * random.randint(1, 12), 2):
        frames, body = story(random, stream)
        left.append(frames)
        if body is not None:
            expected[stream] = body
    data = PREFACE + frame(4, 0, 0)
    begun: list[list[bytes]] = []
    while left or begun:
        if left and (not begun or random.random() < 0.3):
            frames = left.pop(0)
            begun.append(frames)
        else:
            frames = random.choice(begun)
        data += frames.pop(0)
        if not frames:
            begun.remove(frames)
    return pieces_of(random, data), expected


def check_stories(pipe: MemoryPipe, expected: dict[int, bytes]) -> None:
    """What must come back has, and each of these streams has ended properly."""
    bodies: dict[int, bytes] = {}
    ended: set[int] = set()
    for each in frames_of(bytes(pipe.sent)):
        if isinstance(each, DataFrame):
            bodies[each.stream_id] = bodies.get(each.stream_id, b"") + each.data
        if "END_STREAM" in each.flags:
            ended.add(each.stream_id)
    assert {stream: bodies.get(stream, b"") for stream in expected} == expected
    assert ended >= expected.keys()


class MemoryPipe:
    """A `Pipe` from pieces of bytes, which end, to `sent`. Each read is followed by a checkpoint."""

    client = ("127.0.0.1", 1)
    server = ("127.0.0.1", 80)
    protocol = None
    secure = False
    credit = 0

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.pieces = deque(pieces)
        self.sent = bytearray()
        self.finished = self.closed = self.aborted = False

    def take(self) -> bytes | None:
        if self.closed:
            raise ConnectionResetError
        return self.pieces.popleft() if self.pieces else b""

    async def wait(self) -> None:
        await anyio.lowlevel.checkpoint()

    def wake(self) -> None: ...

    async def yield_(self) -> None:
        await anyio.lowlevel.checkpoint()

    async def write(self, *parts: BytesLike) -> None:
        if self.closed or self.finished:
            raise ConnectionResetError
        for part in parts:
            self.sent += part
        await anyio.lowlevel.checkpoint()

    def push(self, data: bytes) -> None:
        assert not (data and self.finished)
        self.sent += data

    def finish(self) -> None:
        self.finished = True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def stalled(self, now: float) -> bool:
        return False

    def hung_up(self) -> bool:
        return self.closed


class Echo:
    """Sends back the body of each request, and counts the calls that have begun and ended."""

    def __init__(self) -> None:
        self.begun = self.ended = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.begun += 1
        try:
            if scope["type"] == "websocket":
                while (await receive())["type"] != "websocket.disconnect":
                    await send({"type": "websocket.accept"})
                return
            body, more = b"", True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return
                body += message["body"]
                more = message["more_body"]
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": body})
        finally:
            self.ended += 1


async def run_http2(pieces: list[bytes], app: ASGIApp | None = None) -> MemoryPipe:
    """Serve a client of these pieces to its end, and check what must hold of any.

    Nothing but the connection's own end comes of it: no exception, whole frames only, a GOAWAY or a
    reset, no call of the app that goes on, and no connection that is left.
    """
    echo = Echo()
    state = ServerState(app or echo, ConnectionLimits())
    pipe = MemoryPipe(pieces)
    connection = Http2Connection(state, pipe)
    with anyio.fail_after(20):
        await connection.run(pipe.take() or b"")
    assert echo.begun == echo.ended
    assert pipe.closed and not state.connections
    sent = list(frames_of(bytes(pipe.sent)))
    assert pipe.aborted or any(isinstance(each, GoAwayFrame) for each in sent)
    return pipe


def frames_of(data: bytes) -> Iterator[Frame]:
    """The frames of bytes that end where one ends."""
    view = memoryview(data)
    while view:
        head, length = Frame.parse_frame_header(view[:9])
        head.parse_body(view[9 : 9 + length])
        assert len(view) >= 9 + length
        view = view[9 + length :]
        yield head


# ---- many of them


def many(name: str, count: int, check: Callable[[Random], Any], random: Random) -> None:
    began = time.monotonic()
    for at in range(count):
        seed = random.randrange(1 << 48)
        try:
            check(Random(seed))
        except BaseException as error:
            error.add_note(f"{name}: input {at}, of the seed {seed}")
            raise
    seconds = time.monotonic() - began
    print(f"{name}: {count:,} random inputs in {seconds:.0f} s, and nothing was raised", flush=True)


async def many_http2(loop: str, count: int, random: Random) -> None:
    began = time.monotonic()
    for at in range(count):
        seed = random.randrange(1 << 48)
        try:
            await run_http2(http2_frames(Random(seed)))
            pieces, expected = http2_stories(Random(seed))
            check_stories(await run_http2(pieces), expected)
        except BaseException as error:
            error.add_note(f"http2 on {loop}: input {at}, of the seed {seed}")
            raise
    seconds = time.monotonic() - began
    print(f"http2 on {loop}: {count:,} random clients in {seconds:.0f} s, each came to its end")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.serving.random_inputs")
    parser.add_argument("--http1", type=int, default=2_000_000, metavar="N")
    parser.add_argument("--http2", type=int, default=50_000, metavar="N")
    parser.add_argument("--seed", type=int, default=time.time_ns())
    chosen = parser.parse_args()
    print(f"--seed {chosen.seed}", flush=True)
    random = Random(chosen.seed)
    many("http1", chosen.http1, lambda random: check_http1(http1_input(random)), random)
    for loop in ("trio", "asyncio"):
        run: Callable[..., Awaitable[None]] = many_http2
        anyio.run(run, loop, chosen.http2, random, backend=loop)
    return 0


if __name__ == "__main__":
    import logging

    logging.getLogger("kui").setLevel(logging.CRITICAL)
    sys.exit(main())
