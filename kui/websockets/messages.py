"""Decode the messages of a WebSocket, and iterate over them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from typing import Any, Generic, Literal, Self, TypeAlias, TypeVar

from baize.typing import Message

from kui.concurrency.websocket.receiving import Kind, ReceivingHalf
from kui.http.exceptions import AnyHTTPException
from kui.http.json import decode_json

from .endings import InvalidMessage

__all__ = ["Encoding", "Messages", "Values", "decode_message", "iter_encoded"]

T = TypeVar("T")

Encoding: TypeAlias = Literal["anystr", "text", "bytes", "json"]


class Messages(Generic[T]):
    """Iterates over messages of one kind until the connection ends."""

    __slots__ = ("__anext__",)  # the half's own `receive`, which saves the frame of a method here

    def __init__(self, half: ReceivingHalf, kind: Kind) -> None:
        self.__anext__: Callable[[], Coroutine[Any, Any, T]] = partial(half.receive, kind, True)

    def __aiter__(self) -> Self:
        return self


class Values:
    """Iterates over messages decoded as JSON; with `kind` "" over texts and binary messages."""

    __slots__ = ("_half", "_kind")

    def __init__(self, half: ReceivingHalf, kind: Kind) -> None:
        self._half = half
        self._kind = kind

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        return self._decode(await self._half.receive(self._kind, True))

    def _decode(self, message: Any) -> Any:
        return decode_message(message if self._kind else text_or_bytes(message))


class _Data(Values):
    """Iterates over texts and binary messages, as str and bytes."""

    __slots__ = ()

    def _decode(self, message: Message) -> str | bytes:
        return text_or_bytes(message)


def iter_encoded(half: ReceivingHalf, encoding: Encoding) -> AsyncIterator[Any]:
    """Return an iterator over the messages in one of the encodings of a SocketView. It ends with the connection."""
    if encoding == "anystr":
        return _Data(half, "")
    if encoding == "json":
        return Values(half, "")
    return Messages(half, encoding)


def text_or_bytes(message: Message) -> str | bytes:
    text: str | None = message.get("text")
    if text is not None:
        return text
    data: bytes = message["bytes"]
    return data


def decode_message(data: str | bytes) -> Any:
    """Return the value of a message that is JSON.

    :raises InvalidMessage: it is not JSON (close code 1007).
    """
    try:
        return decode_json(data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data)
    except AnyHTTPException as error:
        raise InvalidMessage(str(error.content)) from None
