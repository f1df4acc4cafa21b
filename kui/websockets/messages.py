"""The messages of a WebSocket, decoded, and the iterators over them."""

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
    """Iterate over the messages until the connection ends: `async for text in websocket.iter_text()`."""

    __slots__ = ("__anext__",)  # called without a frame of its own in between

    def __init__(self, half: ReceivingHalf, kind: Kind) -> None:
        self.__anext__: Callable[[], Coroutine[Any, Any, T]] = partial(half.receive, kind, True)

    def __aiter__(self) -> Self:
        return self


class Values:
    """Messages decoded as JSON, of either kind if none is given."""

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
    """Messages of either kind, as they come."""

    __slots__ = ()

    def _decode(self, message: Message) -> str | bytes:
        return text_or_bytes(message)


def iter_encoded(half: ReceivingHalf, encoding: Encoding) -> AsyncIterator[Any]:
    """Iterate over the messages until the connection ends, in one of the encodings of a SocketView."""
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
    """Return the value of a message that is JSON. Raises InvalidMessage, with 1007, for one that is not."""
    try:
        return decode_json(data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data)
    except AnyHTTPException as error:
        raise InvalidMessage(str(error.content)) from None
