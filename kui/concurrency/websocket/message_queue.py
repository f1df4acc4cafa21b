"""A bounded queue of WebSocket messages that the handler has not received yet."""

from __future__ import annotations

from collections import deque
from typing import Final

import anyio
from baize.typing import Message

__all__ = ["BYTES", "MESSAGES", "MessageQueue"]

MESSAGES: Final = 1024
"""Limit of the queue, in messages."""
BYTES: Final = 1024 * 1024
"""Limit of the queue, in bytes of binary messages and characters of text. The message that reaches it is still kept."""


class MessageQueue:
    """Keeps messages in the order in which they came. The caller of `put` must check `full` first."""

    __slots__ = ("_messages", "_room", "_size")

    def __init__(self) -> None:
        self._messages: deque[Message] = deque()
        self._size = 0
        self._room: anyio.Event | None = None

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def full(self) -> bool:
        """True if no other message may be put."""
        return len(self._messages) >= MESSAGES or self._size >= BYTES

    def put(self, message: Message) -> None:
        """Append a message."""
        self._messages.append(message)
        self._size += _size(message)

    def take(self) -> Message:
        """Remove and return the oldest message. The queue must not be empty."""
        message = self._messages.popleft()
        self._size -= _size(message)
        if self._room is not None:
            self._room.set()
        return message

    def clear(self) -> None:
        """Remove all messages."""
        self._messages.clear()
        self._size = 0
        if self._room is not None:
            self._room.set()

    async def room(self, seconds: float) -> None:
        """Wait until a message was taken out, for at most `seconds`. Only one task may wait."""
        self._room = anyio.Event()
        with anyio.move_on_after(seconds):
            await self._room.wait()
        self._room = None


def _size(message: Message) -> int:
    return len(message.get("text") or message.get("bytes") or b"")
