"""A server in three dozen lines: what an exchange receives from and sends to, as real servers behave."""

from __future__ import annotations

import math
from typing import Any

import anyio
import anyio.lowlevel
from baize.typing import Message

WAYS = [("asyncio", "scope"), ("asyncio", "native"), ("trio", "scope")]
"""Each loop with the ways in which what runs on it can be cancelled."""

DISCONNECT: Message = {"type": "http.disconnect"}
START: Message = {"type": "http.response.start", "status": 200, "headers": []}


def body(data: bytes = b"", more: bool = False) -> Message:
    return {"type": "http.request", "body": data, "more_body": more}


def chunk(data: bytes = b"", more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


class Server:
    """`receive` gives what was put, in order, and waits for more; `send` notes what it gets.

    `room` bounds its queue, as hypercorn's does; with `says_so`, it puts a disconnect into that queue
    from inside of the last `send`, or from inside of the one with that index. While `reading` is false the
    client reads nothing, and `send` waits.
    """

    def __init__(
        self,
        *messages: Message,
        room: float = math.inf,
        says_so: bool | int = False,
        headers: Any = (),
    ) -> None:
        self.scope: dict[str, Any] = {
            "type": "http",
            "method": "GET",
            "http_version": "1.1",
            "headers": list(headers),
        }
        self._in, self._out = anyio.create_memory_object_stream[Message](room)
        self.says_so = says_so
        self.reading = anyio.Event()
        self.reading.set()
        self.sent: list[Message] = []
        self.receiving = 0
        self.blocked = False
        for message in messages:
            self.put(message)

    def put(self, message: Message) -> None:
        self._in.send_nowait(message)

    async def upload(self, count: int, size: int = 1024, *, whole: bool = False) -> None:
        for _ in range(count):
            await self._in.send(body(b"x" * size, more=True))
        if whole:
            await self._in.send(body())

    async def put_when_there_is_room(self, message: Message) -> None:
        await self._in.send(message)

    async def receive(self) -> Message:
        self.receiving += 1
        assert self.receiving == 1, "two readers at once"
        try:
            return await self._out.receive()
        finally:
            self.receiving -= 1

    async def send(self, message: Message) -> None:
        self.sent.append(message)
        self.blocked = True
        await self.reading.wait()
        self.blocked = False
        last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if last if isinstance(self.says_so, bool) and self.says_so else self._says_so_now():
            await self._in.send(DISCONNECT)

    def _says_so_now(self) -> bool:
        return self.says_so is not False and len(self.sent) == self.says_so + 1

    def stall(self) -> None:
        self.reading = anyio.Event()

    @property
    def types(self) -> list[str]:
        return [message["type"].removeprefix("http.response.") for message in self.sent]

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    def close(self) -> None:
        self._in.close()
        self._out.close()
