"""One ASGI connection as a server would have it, without a socket: the client of every benchmark.

What a server does for each request is done here too, for all frameworks alike: a scope of its own, a
`receive` and a `send` of its own, and a look at each answer. So it is part of what is measured, of
the bare ASGI function as well.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any

import anyio

from .cases import ECHOES, Answer, Case

__all__ = ["Client", "WrongAnswer", "lifespan"]

Message = dict[str, Any]


class WrongAnswer(Exception):
    """A framework has not answered as the case wants."""


class Exchange:
    """One request: gives its body, then says nothing until the answer is complete.

    Of what is sent it keeps the beginning and the last message, as a server does.
    """

    __slots__ = ("_body", "_given", "_over", "last", "start")

    def __init__(self, body: tuple[bytes, ...]) -> None:
        self._body = body
        self._given = 0
        self._over: anyio.Event | None = None
        self.start: Message = {}
        self.last: Message = {}

    async def receive(self) -> Message:
        given = self._given
        self._given = given + 1
        count = len(self._body)
        if given < count:
            body = self._body[given]
            return {"type": "http.request", "body": body, "more_body": given + 1 < count}
        if not given:
            return {"type": "http.request", "body": b"", "more_body": False}
        if not self.complete():
            self._over = self._over or anyio.Event()
            await self._over.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if not self.start:
            self.start = message
        self.last = message
        if self._over is not None and self.complete():
            self._over.set()

    def complete(self) -> bool:
        last = self.last
        return last.get("type") == "http.response.body" and not last.get("more_body", False)


class Kept(Exchange):
    """A request whose whole answer is kept."""

    __slots__ = ("_sent",)

    def __init__(self, body: tuple[bytes, ...]) -> None:
        super().__init__(body)
        self._sent: list[bytes] = []

    async def send(self, message: Message) -> None:
        self._sent.append(bytes(message.get("body", b"")))
        await super().send(message)

    def answer(self) -> Answer:
        headers = tuple((bytes(name).lower(), bytes(v)) for name, v in self.start["headers"])
        return Answer(self.start["status"], headers, b"".join(self._sent))


class Conversation:
    """One WebSocket: connects, sends texts, each when the one before has come back, and leaves."""

    __slots__ = ("_answered", "_given", "messages")

    def __init__(self) -> None:
        self._given = 0
        self._answered: anyio.Event | None = None
        self.messages: list[Message] = []

    async def receive(self) -> Message:
        given = self._given
        while len(self.messages) < given:
            self._answered = anyio.Event()
            await self._answered.wait()
        self._given = given + 1
        if not given:
            return {"type": "websocket.connect"}
        if given <= ECHOES:
            return {"type": "websocket.receive", "text": "hello"}
        return {"type": "websocket.disconnect", "code": 1000, "reason": ""}

    async def send(self, message: Message) -> None:
        self.messages.append(message)
        if self._answered is not None:
            self._answered.set()

    def texts(self) -> list[Any]:
        sent = [message for message in self.messages if message["type"] == "websocket.send"]
        return [message.get("text") for message in sent]


class Client:
    """Asks an app for one case, again and again. `state` is what the lifespan has left."""

    def __init__(self, app: Any, case: Case, state: Mapping[str, Any]) -> None:
        self.app = app
        self.case = case
        self.state = dict(state)
        self.headers = list(case.all_headers)
        self.raw_path = case.path.encode()

    def scope(self) -> Message:
        case = self.case
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": case.method,
            "scheme": "http",
            "path": case.path,
            "raw_path": self.raw_path,
            "query_string": case.query,
            "root_path": "",
            "headers": self.headers.copy(),
            "client": ("127.0.0.1", 50000),
            "server": ("127.0.0.1", 8000),
            "state": self.state.copy(),
        }
        if case.websocket:
            scope.update(type="websocket", scheme="ws", subprotocols=[])
            del scope["method"]
        return scope

    async def check(self) -> None:
        """Raise WrongAnswer if the app does not answer as it should, and whatever the app raises."""
        case = self.case
        if case.websocket:
            talk = Conversation()
            await self.app(self.scope(), talk.receive, talk.send)
            if talk.texts() != ["hello"] * ECHOES:
                raise WrongAnswer(f"{case.name}: {talk.messages[:3]}")
            return
        exchange = Kept(case.body)
        await self.app(self.scope(), exchange.receive, exchange.send)
        if not exchange.complete():
            raise WrongAnswer(f"{case.name}: the answer has no end")
        answer = exchange.answer()
        if answer.status != case.status or not case.check(answer):
            raise WrongAnswer(
                f"{case.name}: {answer.status} {answer.headers} {answer.body[:200]!r}"
            )

    async def time(self, calls: int) -> float:
        """The seconds that so many calls have taken, one after the other.

        Raises WrongAnswer for a status that is not the case's, and for an answer that has no end.
        """
        app, scope, case = self.app, self.scope, self.case
        if case.websocket:
            began = perf_counter()
            for _ in range(calls):
                talk = Conversation()
                await app(scope(), talk.receive, talk.send)
                if len(talk.messages) <= ECHOES:
                    raise WrongAnswer(f"{case.name}: {len(talk.messages)} messages")
            return perf_counter() - began
        body, status = case.body, case.status
        began = perf_counter()
        for _ in range(calls):
            exchange = Exchange(body)
            await app(scope(), exchange.receive, exchange.send)
            if exchange.start["status"] != status or exchange.last.get("more_body"):
                raise WrongAnswer(f"{case.name}: {exchange.start}")
        return perf_counter() - began


@asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[Mapping[str, Any]]:
    """Start an app, and stop it behind the block, as a server does. Gives the state of its scopes."""
    state: Message = {}
    asked = anyio.Event()
    told = {"lifespan.startup": anyio.Event(), "lifespan.shutdown": anyio.Event()}
    phases = iter(told)

    async def receive() -> Message:
        phase = next(phases)
        if phase == "lifespan.shutdown":
            await asked.wait()
        return {"type": phase}

    async def send(message: Message) -> None:
        if message["type"].endswith("failed"):
            raise RuntimeError(message.get("message"))
        told[message["type"].rpartition(".")[0]].set()

    async def run() -> None:
        asgi = {"version": "3.0", "spec_version": "2.0"}
        await app({"type": "lifespan", "asgi": asgi, "state": state}, receive, send)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await told["lifespan.startup"].wait()
        try:
            yield state
        finally:
            asked.set()
            await told["lifespan.shutdown"].wait()
