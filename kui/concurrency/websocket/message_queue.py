"""WebSocket messages that arrived before the handler asked for them, up to a bound."""

from __future__ import annotations

from collections import deque
from typing import Final

import anyio
from baize.typing import Message

__all__ = ["BYTES", "MESSAGES", "MessageQueue"]

MESSAGES: Final = 1024
"""How many messages are kept."""
BYTES: Final = 1024 * 1024
"""How many bytes (or characters) of them; the message that passes it is the last one that is kept."""


class MessageQueue:
    """Messages in the order in which they came.

    The caller of `put` must ask `full` first; the bounds are for memory, not for the reader.
    """

    __slots__ = ("_messages", "_room", "_size")

    def __init__(self) -> None:
        self._messages: deque[Message] = deque()
        self._size = 0
        self._room: anyio.Event | None = None

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def full(self) -> bool:
        """True if there is no room for another message."""
        return len(self._messages) >= MESSAGES or self._size >= BYTES

    def put(self, message: Message) -> None:
        """Keep a message."""
        self._messages.append(message)
        self._size += _size(message)

    def take(self) -> Message:
        """Take the oldest message out. There must be one."""
        message = self._messages.popleft()
        self._size -= _size(message)
        if self._room is not None:
            self._room.set()
        return message

    def clear(self) -> None:
        """Forget all of them."""
        self._messages.clear()
        self._size = 0
        if self._room is not None:
            self._room.set()

    async def room(self, seconds: float) -> None:
        """Wait until a message was taken out, but for `seconds` at most. One task may wait."""
        self._room = anyio.Event()
        with anyio.move_on_after(seconds):
            await self._room.wait()
        self._room = None


def _size(message: Message) -> int:
    return len(message.get("text") or message.get("bytes") or b"")
