"""The common part of an HTTP exchange and a WebSocket with an app: its state and its end."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from os.path import dirname
from types import FrameType
from typing import Any

import anyio
import anyio.lowlevel
import trio
from baize.typing import Message, Scope

from .errors import ClientLeft, ContractError, DeadlineExceeded
from .signals import Signal, within

__all__ = ["Conversation"]

_LIBRARIES = (
    *(dirname(module.__file__ or "") for module in (anyio, asyncio, trio)),
    dirname(__file__),
    contextlib.__file__,
)


class Conversation(ABC):
    """One call of the app with a scope.

    - `returned`: True if the app has returned.
    - `cancelled`: True if the app was cancelled.
    - `error`: the ContractError for a rule that the app broke, or else the exception of the app, or None.
    - `told`: True if `error` was raised in the test.
    - `left`: True if the client has left.
    - `given_up`: True if a DeadlineExceeded was raised for it; the app is then not waited for any more.
    """

    def __init__(self, scope: Scope, timeout: float | None, raise_after_leaving: bool) -> None:
        self.scope = scope
        self.timeout = timeout
        self.name = f"{scope.get('method', 'WEBSOCKET')} {scope['path']}"
        self.left = False
        self.returned = False
        self.cancelled = False
        self.error: Exception | None = None
        self.told = False
        self.given_up = False
        self.signal = Signal()
        self._raise_after_leaving = raise_after_leaving
        self._coroutine: Coroutine[Any, Any, None] | None = None

    @abstractmethod
    async def receive(self) -> Message:
        """ASGI's `receive`."""

    async def send(self, message: Message) -> None:
        """ASGI's `send`: waits while more than `buffer_size` bytes have not been read.

        :raises ContractError: the message may not be sent now, or is malformed.
        :raises OSError: the client has left, and the transport has `raise_after_leaving`.
        """
        await anyio.lowlevel.checkpoint()
        try:
            if self.returned:
                raise ContractError(f"{message.get('type')} was sent after the app had returned")
            self.check_sent(message)
        except ContractError as error:
            self.violated(error)
            raise
        if not self.left:
            await self._deliver(message)
        elif self._raise_after_leaving:
            raise ClientLeft

    @abstractmethod
    def check_sent(self, message: Message) -> None:
        """Check that the app may send this message now.

        :raises ContractError: it may not.
        """

    @abstractmethod
    async def _deliver(self, message: Message) -> None:
        """Put a message that was checked into the client's buffer, and wait until the buffer has room."""

    @abstractmethod
    def leave(self) -> None:
        """Close the client's side. Calling it again does nothing."""

    @property
    @abstractmethod
    def complete(self) -> bool:
        """True if the app has sent its last message."""

    @abstractmethod
    def check_returned(self) -> None:
        """Check that the app may return now.

        :raises ContractError: it may not.
        """

    async def run(self, app: Callable[..., Any]) -> None:
        """Call the app and wait until it has returned; keep what it raises."""
        try:
            call = app(self.scope, self.receive, self.send)
            if inspect.iscoroutine(call):
                self._coroutine = call
            await call
        except ClientLeft:
            self._end(None)
        except Exception as raised:
            self._end(raised)
        except BaseException:
            self.cancelled = True
            self._end(None)
            raise
        else:
            try:
                if not self.left and self.error is None:
                    self.check_returned()
            except ContractError as violation:
                self._end(violation)
            else:
                self._end(None)

    def _end(self, error: Exception | None) -> None:
        self._coroutine = None
        self.returned = True
        if self.error is None:
            self.error = error
        self.signal.notify()

    def violated(self, error: ContractError) -> None:
        """Record that the app broke the contract, so that the test fails even if the app catches the exception."""
        if not isinstance(self.error, ContractError):
            self.error = error
            self.told = False
        self.signal.notify()

    async def wait(self, holds: Callable[[], object], what: str, timeout: float | None) -> None:
        """Wait until `holds()`.

        :raises DeadlineExceeded: `what` did not happen within `timeout` seconds of the loop's time.
        :raises ContractError: the app has broken a rule, and the test does not know of it yet.
        """
        held = await within(timeout, self.signal, lambda: holds() or self._violation())
        if self.cancelled:  # if this task was cancelled as well, raise its cancellation
            await anyio.lowlevel.checkpoint_if_cancelled()
        violation = self._violation()
        if violation is not None:
            self.told = True
            raise violation
        if not held:
            raise DeadlineExceeded(f"{what} within {timeout} s: {self.describe()}")

    def _violation(self) -> ContractError | None:
        error = self.error
        return error if isinstance(error, ContractError) and not self.told else None

    async def ended(self) -> None:
        """Wait until the app has returned.

        :raises DeadlineExceeded: it did not within `timeout` seconds of the loop's time.
        """
        returned = await within(self.timeout, self.signal, lambda: self.returned)
        if self.cancelled:
            await anyio.lowlevel.checkpoint_if_cancelled()
        if not returned:
            self.given_up = True
            raise DeadlineExceeded(
                f"the app did not return within {self.timeout} s: {self.describe()}"
            )

    def describe(self) -> str:
        """Describe the state in one line, for messages."""
        if self.returned:
            app = "the app has returned"
        else:
            place = self._place()
            app = f"the app is in {place}" if place else "the app is running"
        client = "the client has left, " if self.left else ""
        last = "its last message is sent, " if self.complete else ""
        return f"{self.name}: {client}{last}{app}"

    def _place(self) -> str | None:
        frame: FrameType | None = None
        awaitable: Any = self._coroutine
        while awaitable is not None:
            inner = getattr(awaitable, "cr_frame", None) or getattr(awaitable, "gi_frame", None)
            if inner is not None and not inner.f_code.co_filename.startswith(_LIBRARIES):
                frame = inner
            awaitable = getattr(awaitable, "cr_await", None) or getattr(
                awaitable, "gi_yieldfrom", None
            )
        if frame is None:
            return None
        return f"{frame.f_code.co_qualname} ({frame.f_code.co_filename}:{frame.f_lineno})"
