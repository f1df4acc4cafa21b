"""Run an ASGI app in a task of its own, and hand its messages to a reader one at a time, without a buffer.

The app's `send` returns when the reader has dealt with its message, so that a slow client slows the app down. The
reader decides what to do with a message.
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
"""Seconds that the reader waits for its own cancellation after the app was cancelled."""

IGNORED: Final = GRACE
"""Seconds for which `send` ignores messages after the client has left, for an app that was told an ASGI version
before 2.4. Afterwards it raises an OSError."""

CallApp = Callable[[ASGIApp, Scope, Receive], "AppRunner"]


@asynccontextmanager
async def running_apps() -> AsyncIterator[CallApp]:
    """Give a function that starts an app in a task and returns its `AppRunner`.

    Apps that still run when the block ends are cancelled.

    ::

        async with running_apps() as call:
            relay = call(app, scope, receive)
            while (message := await relay.next()) is not None:
                await send(message)
    """
    async with framework_tasks() as group:
        yield lambda app, scope, receive: AppRunner(group, app, scope, receive)


class AppRunner:
    """Receives what one app sends. Only one task may call `next` and `leave`."""

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
        """Return the app's next message, or None when the app has returned.

        The call says that the caller is done with the message before; only then does the app's `send` return. If
        cancelled, no message is lost.

        :raises Exception: what the app has raised, after all messages that it sent before.
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
        """Take no more messages, and wait until the app has ended.

        The app's next `send` raises an OSError if its scope named ASGI 2.4 or later. Otherwise its messages are
        ignored, as older servers do, and `send` raises the OSError 5 s after this call.

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
