"""An ASGI app in a task beside the reader of its messages, one at a time: nothing is buffered.

The app's `send` returns when its message has been passed on, so that a slow client holds it back. What is done with
a message is decided by the reader.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import anyio
import anyio.lowlevel
from baize.typing import ASGIApp, Message, Receive, Scope

from .cleanup import GRACE
from .notice import Notice
from .stray import strays_fail
from .task_group import FrameworkTasks, framework_tasks

__all__ = ["AppRunner", "CallApp", "running_apps"]

CANCELLATION_REACHES_ALL: Final = 1.0
"""Seconds in which a cancellation that has reached an app reaches the reader of its messages, too."""

IGNORED: Final = GRACE
"""Seconds after its client has left for which an app may send to a server that ignores it (before ASGI 2.4)."""

CallApp = Callable[[ASGIApp, Scope, Receive], "AppRunner"]


@asynccontextmanager
async def running_apps() -> AsyncIterator[CallApp]:
    """Give a function that starts an app, and a `AppRunner` of what it sends. Those left at the end are cancelled.

    ::

        async with running_apps() as call:
            relay = call(app, scope, receive)
            while (message := await relay.next()) is not None:
                await send(message)
    """
    async with framework_tasks() as group:
        yield lambda app, scope, receive: AppRunner(group, app, scope, receive)


class AppRunner:
    """What an app sends. One task may take it."""

    __slots__ = (
        "_cancelled",
        "_changed",
        "_ended",
        "_error",
        "_ignores_until",
        "_left",
        "_message",
        "_taken",
    )

    def __init__(self, group: FrameworkTasks, app: ASGIApp, scope: Scope, receive: Receive) -> None:
        self._message: Message | None = None
        self._cancelled = False
        self._taken = False  # True while the reader has the message
        self._ended = False
        self._left = False
        self._error: Exception | None = None
        self._changed = Notice()
        version = (scope.get("asgi") or {}).get("spec_version", "2.0")
        self._ignores_until: float | None = 0.0 if _raises_after_leaving(version) else None

        async def run() -> None:
            try:
                with strays_fail:
                    await app(scope, receive, self._send)
            except Exception as error:
                if not isinstance(error, _ClientLeft):
                    self._error = error
            except BaseException:
                self._cancelled = True
                raise
            finally:
                self._ended = True
                self._changed.notify()

        group.start_soon(run)

    async def next(self) -> Message | None:
        """Return the next message, once the one before has been dealt with; None when the app has returned.

        What the app raises is raised here, behind all that it has sent. Cancelled, it takes nothing.
        """
        if self._taken:
            self._message = None
            self._taken = False
            self._changed.notify()
        while self._message is None:
            if self._ended:
                if self._error is not None:
                    raise self._error
                if self._cancelled:
                    await anyio.sleep(CANCELLATION_REACHES_ALL)  # the reader is cancelled then
                    raise RuntimeError("the app has been cancelled, and its reader has not")
                return None
            await self._changed.wait()
        self._taken = True
        return self._message

    async def leave(self) -> None:
        """Take nothing more, and wait for the app's end.

        Its next `send` raises an OSError if the ASGI version that it was told is 2.4 or later. Otherwise what
        it sends is ignored, as its server would do; after 5 s the OSError is raised all the same.

        :raises Exception: what the app raises.
        """
        self._left = True
        if self._ignores_until is None:
            self._ignores_until = anyio.current_time() + IGNORED
        if self._taken:
            self._message = None
            self._taken = False
        self._changed.notify()
        while not self._ended:
            await self._changed.wait()
        if self._error is not None:
            raise self._error

    async def _send(self, message: Message) -> None:
        while self._message is not None and not self._left:
            await self._changed.wait()
        if not self._left:
            self._message = message
            self._changed.notify()
        while self._message is message and not self._left:
            await self._changed.wait()
        if self._left:
            await anyio.lowlevel.checkpoint()
            if anyio.current_time() >= (self._ignores_until or 0.0):
                raise _ClientLeft("the client has left")


def _raises_after_leaving(spec_version: str) -> bool:
    """True if a server of this ASGI version raises OSError from `send` once the client has left."""
    numbers = spec_version.split(".")
    return all(each.isdecimal() for each in numbers) and [int(each) for each in numbers] >= [2, 4]


class _ClientLeft(OSError):
    """Raised in an app whose client has left."""
