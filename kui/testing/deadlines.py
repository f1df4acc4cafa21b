"""A deadline in real time, independent of the loop's clock, for tests that might never end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

import anyio

from .clocks import call_soon_from_thread

__all__ = ["Deadline"]


class Deadline:
    """A cancel scope that is cancelled after `seconds` of real time, or never if that is None.

    Before the cancellation `story` is called, while the state can still be described, and its result is kept. The owner
    must raise an exception if the deadline has passed.
    """

    def __init__(self, seconds: float | None, story: Callable[[], str]) -> None:
        self.story = ""
        self._seconds = seconds
        self._tell = story
        self._scope: anyio.CancelScope | None = None
        self._timer: threading.Timer | None = None

    @property
    def caught(self) -> bool:
        """True if the scope was left because it was cancelled."""
        return self._scope is not None and self._scope.cancelled_caught

    def __enter__(self) -> Self:
        self._scope = anyio.CancelScope().__enter__()
        if self._seconds is not None:
            call_soon = call_soon_from_thread()
            self._timer = threading.Timer(self._seconds, lambda: call_soon(self._expire))
            self._timer.daemon = True
            self._timer.start()
        return self

    def _expire(self) -> None:
        assert self._scope is not None
        self.story = self._tell()
        self._scope.cancel()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """Leave the scope; return True if `exc_value` is its cancellation."""
        assert self._scope is not None
        if self._timer is not None:
            self._timer.cancel()
        self._scope.__exit__(exc_type, exc_value, traceback)
        return self.caught
