"""The lifespans of apps within an app: each in a task of its own, started and stopped as a server would.

Which apps there are, and what becomes of one that has failed, is decided by the app around them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, MutableMapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
from baize.typing import ASGIApp, Message

from .cleanup import GRACE, shielded
from .stray import strays_fail
from .task_group import framework_tasks

__all__ = ["LifespanFailed", "lifespans"]


class LifespanFailed(RuntimeError):
    """An app within this one has said that its start-up or its shutdown failed, and raised nothing."""


@asynccontextmanager
async def lifespans(
    apps: Sequence[tuple[ASGIApp, MutableMapping[str, Any]]],
    extensions: Mapping[str, Any] | None = None,
) -> AsyncIterator[None]:
    """Start each app, the first first; when the block ends, stop each, the last first.

    An app that raises before it has received anything, or that returns, knows no lifespan, which
    is all right.

    :param apps: each with the mapping for its `scope["state"]`.
    :param extensions: what each finds under `scope["extensions"]`.
    :raises LifespanFailed: see there. Those that have started already are stopped.

    What an app raises at its start-up, while it is up (the block is cancelled then) or at its
    shutdown is raised as itself.

    ::

        async with lifespans([(admin, {}), (shop, {})]):
            await serve()
    """
    lives: list[_Life] = []
    async with framework_tasks() as group:
        try:
            # A crash cancels the block, and not the others, which are to be stopped in their order.
            with anyio.CancelScope() as block:
                for app, state in apps:
                    life = _Life(app, state, extensions or {}, block)
                    lives.append(life)
                    group.start_soon(life.run)
                    await life.start()
                yield
        except BaseException:
            with shielded():
                await _stop(lives)
            raise
        failure = await _stop(lives)
        if failure is not None:
            raise failure


async def _stop(lives: list[_Life]) -> Exception | None:
    """Stop all of them, whatever becomes of each; return the first failure."""
    first = None
    for life in reversed(lives):
        await life.stop()
        first = first or life.error
    return first


class _Life:
    """One app's lifespan, from both sides."""

    def __init__(
        self,
        app: ASGIApp,
        state: MutableMapping[str, Any],
        extensions: Mapping[str, Any],
        block: anyio.CancelScope,
    ) -> None:
        self.error: Exception | None = None
        self._app = app
        self._state = state
        self._extensions = extensions
        self._block = block
        self._up = False
        self._received = 0
        self._foreign = False
        self._answer: Message | None = None
        self._answered = anyio.Event()
        self._stopping = anyio.Event()
        self._ended = anyio.Event()

    async def start(self) -> None:
        await self._answered.wait()
        if self._answer is not None and self._answer["type"] == "lifespan.startup.failed":
            with anyio.move_on_after(GRACE):
                await self._ended.wait()
            self._fail("start-up")
        self._up = self._answer is not None and not self._ended.is_set()
        if self.error is not None:
            raise self.error

    async def stop(self) -> None:
        """Ask for the shutdown, and wait until the app has answered. Keeps what it raises, or says."""
        if not self._up:
            return
        self._up = False
        self._answer = None
        self._answered = anyio.Event()
        if self._ended.is_set():
            return
        self._stopping.set()
        await self._answered.wait()
        if self._answer is not None:
            with anyio.move_on_after(GRACE):
                await self._ended.wait()
            if self._answer["type"] == "lifespan.shutdown.failed":
                self._fail("shutdown")

    def _fail(self, phase: str) -> None:
        if self.error is None:
            message = (self._answer or {}).get("message", "")
            self.error = LifespanFailed(f"the {phase} of {self._app!r} failed: {message}")

    async def run(self) -> None:
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self._state,
            "extensions": dict(self._extensions),
        }
        try:
            with strays_fail:
                await self._app(scope, self._receive, self._send)
        except Exception as error:
            if self._up:
                self._block.cancel()  # it has crashed, and the app around it must be told
            if self._received and not self._foreign:
                self.error = error
        finally:
            self._ended.set()
            self._answered.set()

    async def _receive(self) -> Message:
        self._received += 1
        if self._received == 1:
            return {"type": "lifespan.startup"}
        await self._stopping.wait()
        if self._received == 2:
            return {"type": "lifespan.shutdown"}
        await anyio.sleep_forever()
        raise AssertionError("this wait has no end")

    async def _send(self, message: Message) -> None:
        if not message["type"].startswith("lifespan."):
            self._foreign = True
            raise RuntimeError(f"{message['type']!r} is no message of a lifespan")
        self._answer = message
        self._answered.set()
