"""A deadline in real time, under a virtual clock too, for a test that would never end."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

import anyio

from .clocks import call_soon_from_thread, is_virtual

__all__ = ["Deadline"]


class Deadline:
    """A cancel scope that ends after `seconds` of real time (None: never).

    Whether it has ended is `expired`; raising an exception for it is its owner's.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._scope = anyio.CancelScope()
        self._timer: threading.Timer | None = None

    @property
    def expired(self) -> bool:
        """Has the time run out, so that what is inside is being cancelled?"""
        return self._scope.cancel_called

    def __enter__(self) -> Self:
        self._scope.__enter__()
        if self._seconds is not None:
            if is_virtual():
                call_soon = call_soon_from_thread()
                self._timer = threading.Timer(self._seconds, lambda: call_soon(self._scope.cancel))
                self._timer.daemon = True
                self._timer.start()
            else:
                self._scope.deadline = anyio.current_time() + self._seconds
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if self._timer is not None:
            self._timer.cancel()
        self._scope.__exit__(exc_type, exc_value, traceback)
        return self._scope.cancelled_caught
