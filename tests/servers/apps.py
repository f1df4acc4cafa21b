"""Bare ASGI apps that tests serve in other processes. What happens in them is printed, a line each."""

from __future__ import annotations

import os
import threading
import time
from typing import Any
from urllib.parse import parse_qs

import anyio
from baize.typing import Message, Receive, Scope, Send

from kui.lifespan import SERVER, Lifespan


def say(*words: object) -> None:
    os.write(1, " ".join(["app:", *map(str, words)]).encode() + b"\n")  # workers share it


class App:
    """Answers by path, and knows `Lifespan` as Kui does."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.life = Lifespan(self)  # type: ignore[arg-type] # it only counts requests
        self.life.on_startup(lambda app: say("started", os.getpid()))
        self.life.on_shutdown(lambda app: say("shut down", os.getpid()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.life(scope, receive, send)
            return
        self.in_flight += 1
        try:
            name = scope["path"].removeprefix(scope["root_path"]).strip("/") or "scope"
            await getattr(self, f"do_{name}")(scope, receive, send)
        except anyio.get_cancelled_exc_class():
            say("cancelled")
            raise
        finally:
            self.in_flight -= 1

    async def do_scope(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What the app sees of the request."""
        keys = ("http_version", "scheme", "client", "path", "root_path", "state")
        seen = {key: scope.get(key) for key in keys}
        host = dict(scope["headers"]).get(b"host")
        await answer(send, repr({**seen, "host": host, "exiting": self.life.exit.is_set}))

    async def do_pid(self, scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, str(os.getpid()))

    async def do_until_exit(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers when the app is told to stop."""
        say("waiting")
        await self.life.exit.wait()
        await answer(send, "it stops")

    async def do_body(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers when the body is complete."""
        say("waiting")
        while (await receive()).get("more_body"):
            pass
        await answer(send, "thank you")

    async def do_never(self, scope: Scope, receive: Receive, send: Send) -> None:
        say("waiting")
        await anyio.sleep_forever()

    async def do_endless(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A body without end, in pieces of `size`."""
        size = int(parse_qs(scope["query_string"])[b"size"][0])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        say("waiting")
        while True:
            await send({"type": "http.response.body", "body": b"z" * size, "more_body": True})
            await anyio.sleep(0.01)

    async def do_block(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Blocks the event loop."""
        say("waiting")
        time.sleep(3600)  # noqa: ASYNC251 - just what a handler must not do

    async def do_thread(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Starts a thread that the interpreter waits for at its end."""
        threading.Thread(target=time.sleep, args=(3600,)).start()
        await answer(send, "started")

    async def do_crash(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Starts a service that crashes at once."""

        async def service() -> None:
            raise LookupError("the feed is gone")

        self.life.services.start_soon(service)
        await answer(send, "started")

    async def do_echo(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Accepts a WebSocket and sends back what comes."""
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            await send({"type": "websocket.send", "text": message["text"]})


async def answer(send: Send, text: str) -> None:
    body = text.encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


app = App()
no_app = 7


def create_app() -> App:
    say("created")
    return App()


def broken_factory() -> App:
    raise LookupError("nothing to build it from")


def fails_to_start() -> App:
    def fail(app: Any) -> None:
        raise LookupError("no database")

    made = App()
    made.life.on_startup.insert(0, fail)
    return made


def fails_to_stop() -> App:
    def fail(app: Any) -> None:
        raise LookupError("cannot close")

    made = App()
    made.life.on_shutdown(fail)
    return made


def never_starts() -> App:
    async def wait(app: Any) -> None:
        say("starting")
        await anyio.sleep_forever()

    made = App()
    made.life.on_startup(wait)
    return made


async def without_lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    await answer(send, "no lifespan")


async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
    """A lifespan by hand that keeps something in its state, and is told of the server's exit."""
    if scope["type"] == "http":
        await answer(send, repr(scope["state"]))
        return
    await receive()
    scope["state"]["database"] = "open"
    scope["extensions"][SERVER].on_exit(lambda: say("exiting"))
    await send({"type": "lifespan.startup.complete"})
    message: Message = await receive()
    await send({"type": message["type"] + ".complete"})


async def lifespan_crashes(scope: Scope, receive: Receive, send: Send) -> None:
    """A lifespan that fails after start-up, in an app that is not Kui's."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        raise LookupError("the lifespan is gone")
    await answer(send, "still here")
