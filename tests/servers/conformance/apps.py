"""Bare ASGI apps, chosen by the path: `/KIND/NAME?options`. What happens is printed: `NAME: what`.

They hold themselves to ASGI 3 alone, so that any server may be asked the same.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

import anyio
import anyio.lowlevel
from baize.typing import Message, Receive, Scope, Send

__all__ = ["PUSHES", "Call", "answers", "app"]

PUSHES = 2000
"""Pieces of 64 KiB after which an app stops by itself."""


class Call:
    """One call of the app."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope, self.receive, self.send = scope, receive, send
        self.kind, _, self.name = scope["path"].removeprefix("/").partition("/")
        self.options = dict(
            parse_qsl(scope["query_string"].decode(), keep_blank_values=True, encoding="latin-1")
        )

    def say(self, what: object) -> None:
        os.write(1, f"{self.name}: {what}\n".encode())

    def option(self, name: str, default: int = 0) -> int:
        return int(self.options.get(name, default))

    async def start(self, *headers: tuple[bytes, bytes], status: int = 200, **more: Any) -> None:
        await self.send(
            {"type": "http.response.start", "status": status, "headers": list(headers), **more}
        )

    async def body(self, data: bytes, *, more: bool = False) -> None:
        await self.send({"type": "http.response.body", "body": data, "more_body": more})

    async def answer(self, data: bytes | str, status: int = 200) -> None:
        data = data.encode() if isinstance(data, str) else data
        await self.start((b"content-length", b"%d" % len(data)), status=status)
        await self.body(data)

    async def read(self) -> bytes:
        """The whole body. Raises ConnectionError if the client leaves before it is complete."""
        body = b""
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ConnectionError("the client has left")
            body += message.get("body", b"")
            if not message.get("more_body", False):
                return body

    async def disconnect(self) -> None:
        """Wait until the client has left."""
        while (await self.receive())["type"] != "http.disconnect":
            pass


Answer = Callable[[Call], Awaitable[None]]
answers: dict[str, Answer] = {}


def at(function: Answer) -> Answer:
    answers[function.__name__] = function
    return function


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    call = Call(scope, receive, send)
    await answers.get(call.kind, show)(call)


async def show(call: Call) -> None:
    """The scope, as JSON."""
    keys = (
        "type",
        "http_version",
        "method",
        "scheme",
        "path",
        "query_string",
        "root_path",
        "headers",
        "raw_path",
    )
    seen = {key: call.scope.get(key) for key in keys}
    seen["extensions"] = sorted(call.scope.get("extensions") or {})
    await call.answer(json.dumps(seen, default=lambda data: data.decode("latin-1")))


answers["scope"] = show


@at
async def echo(call: Call) -> None:
    """The body, once it is complete."""
    call.say("waits")
    try:
        body = await call.read()
    except ConnectionError:
        call.say("left")
        return
    await call.answer(body)


@at
async def flow(call: Call) -> None:
    """The body, while it arrives."""
    await call.start()
    more = True
    while more:
        message = await call.receive()
        if message["type"] == "http.disconnect":
            call.say("left")
            return
        more = message.get("more_body", False)
        await call.body(message.get("body", b""), more=more)


@at
async def early(call: Call) -> None:
    """An answer without a look at the body."""
    call.say("runs")
    await call.answer("early", call.option("status", 200))


@at
async def whole(call: Call) -> None:
    """`size` bytes in one message, without a Content-Length of the app's."""
    await call.start()
    await call.body(b"w" * call.option("size", 5))


@at
async def stream(call: Call) -> None:
    """`count` pieces of `size` bytes; with `length`, they are promised."""
    count, size = call.option("count", 3), call.option("size", 4)
    promise = [(b"content-length", b"%d" % (count * size))] if "length" in call.options else []
    await call.start(*promise)
    for number in range(count):
        await call.body(b"%d" % (number % 10) * size, more=True)
    await call.body(b"")


@at
async def status(call: Call) -> None:
    """A status, and a body whether it may have one or not."""
    await call.start(status=call.option("code"))
    await call.body(b"body")


@at
async def header(call: Call) -> None:
    """A header of the client's choice."""
    name, value = (call.options[key].encode("latin-1") for key in ("name", "value"))
    await call.start((b"content-length", b"5"), (name, value))
    await call.body(b"hello")


@at
async def promise(call: Call) -> None:
    """Promises `length` bytes and sends `size`, in `pieces`."""
    await call.start((b"content-length", b"%d" % call.option("length")))
    pieces = call.option("pieces", 1)
    try:
        for number in range(pieces):
            await call.body(b"x" * (call.option("size") // pieces), more=number < pieces - 1)
    except Exception as error:
        call.say("refused")
        raise error


@at
async def unfinished(call: Call) -> None:
    """Half of a body."""
    await call.start()
    await call.body(b"the beginning", more=True)
    if "fail" in call.options:
        raise ArithmeticError("half-way")


@at
async def fails(call: Call) -> None:
    """Raises before the response starts."""
    raise {"exit": SystemExit, "group": lambda text: ExceptionGroup(text, [KeyError(text)])}.get(
        call.options.get("kind", ""), ArithmeticError
    )("fails")


@at
async def silent(call: Call) -> None:
    """Returns without a word."""


@at
async def starts(call: Call) -> None:
    """Returns after the start, without a body."""
    await call.start()


@at
async def trailers(call: Call) -> None:
    """A response with trailers, where the server has the extension."""
    if "http.response.trailers" not in (call.scope.get("extensions") or {}):
        await call.answer("no trailers", 501)
        return
    await call.start((b"trailer", b"x-sum"), trailers=True)
    await call.body(b"body")
    await call.send({"type": "http.response.trailers", "headers": [(b"x-sum", b"42")]})


@at
async def hints(call: Call) -> None:
    """An early hint, where the server has the extension."""
    if "http.response.early_hint" not in (call.scope.get("extensions") or {}):
        await call.answer("no hints", 501)
        return
    links = [b"</style.css>; rel=preload; as=style"]
    await call.send({"type": "http.response.early_hint", "links": links})
    await call.answer("hinted")


@at
async def waits(call: Call) -> None:
    """Waits until the client leaves."""
    call.say("waits")
    await call.disconnect()
    call.say("left")


@at
async def leaving(call: Call) -> None:
    """Waits until the client leaves, and answers all the same."""
    call.say("waits")
    await call.disconnect()
    call.say("left")
    try:
        await call.answer("an answer for half a client")
    except OSError:
        call.say("cannot send")


@at
async def pushes(call: Call) -> None:
    """Sends more than a client takes that does not read, and never receives."""
    await call.start()
    call.say("waits")
    try:
        for sent in range(1, PUSHES):
            await call.body(b"p" * 65536, more=True)
            call.say(f"sent {sent}")
            await anyio.lowlevel.checkpoint()
    except OSError:
        call.say("cannot send")


@at
async def streams(call: Call) -> None:
    """Sends now and then, and watches the client beside it."""
    await call.start()
    async with anyio.create_task_group() as group:

        async def watch() -> None:
            await call.disconnect()
            call.say("left")
            group.cancel_scope.cancel()

        group.start_soon(watch)
        while True:
            await call.body(b"tick\n", more=True)
            await anyio.sleep(0.01)


@at
async def holds(call: Call) -> None:
    """Answers once it is released."""
    call.say("waits")
    await hold(call)
    await call.answer("released")


@at
async def reads_later(call: Call) -> None:
    """Answers with the length of the body, read once it is released."""
    call.say("waits")
    await hold(call)
    await call.answer(str(len(await call.read())))


gates: defaultdict[str, anyio.Event] = defaultdict(anyio.Event)


async def hold(call: Call) -> None:
    await gates[call.name].wait()


@at
async def release(call: Call) -> None:
    """Lets the one with this name go on."""
    gates[call.name].set()
    await call.answer("ok")


@at
async def three_receivers(call: Call) -> None:
    """Three tasks receive at once, until they have heard of the end."""
    heard: list[list[str]] = [[], [], []]

    async def listen(to: list[str]) -> None:
        while "http.disconnect" not in to:
            message = await call.receive()
            to.append(message.get("body", b"").decode() or message["type"])
            if len(to) > 9:
                return

    async with anyio.create_task_group() as group:
        for to in heard:
            group.start_soon(listen, to)
        await anyio.lowlevel.checkpoint()
        call.say("waits")
    bodies = sum(word not in ("http.request", "http.disconnect") for to in heard for word in to)
    ends = sum("http.disconnect" in to for to in heard)
    call.say(f"{bodies} bodies, {ends} ends")


@at
async def cancelled_receives(call: Call) -> None:
    """Reads the body by `receive` calls most of which are cancelled; answers with the body."""
    body = b""
    more = True
    while more:
        with anyio.move_on_after(0.001):
            message: Message = await call.receive()
            assert message["type"] == "http.request", message
            body += message.get("body", b"")
            more = message.get("more_body", False)
    await call.answer(body)


kept: dict[str, tuple[Receive, Send]] = {}


@at
async def keeps(call: Call) -> None:
    """Answers, and keeps its `receive` and `send` for longer than they live."""
    kept[call.name] = call.receive, call.send
    await call.read()
    await call.answer("kept")


@at
async def reuses(call: Call) -> None:
    """Uses those of an earlier request while it answers its own."""
    receive, send = kept.pop(call.name)
    seen: list[str] = []
    for message in (
        {"type": "http.response.start", "status": 200, "headers": [(b"x-stray", b"1")]},
        {"type": "http.response.body", "body": b"stray", "more_body": False},
    ):
        try:
            await send(message)
            seen.append("sent")
        except OSError:
            seen.append("OSError")
        except Exception as error:
            seen.append(type(error).__name__)
    with anyio.move_on_after(0.5):
        seen.append((await receive())["type"])
    own = await call.read()
    call.say(",".join(seen))
    await call.answer(b"own " + own)
