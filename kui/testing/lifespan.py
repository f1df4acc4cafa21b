"""The lifespan of an app under test, started and stopped as a server does it (ASGI lifespan 2.0)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio.abc
import anyio.lowlevel
from baize.typing import ASGIApp, Message

from .contract import LifespanContract
from .errors import ContractError, DeadlineExceeded, LifespanFailed
from .signals import Signal, within

__all__ = ["LifespanRunner"]


class _Server:
    """The server in `scope["extensions"]["kui.server"]`, as `kui run` provides it to Kui apps.

    Without it a service that crashes would stop the whole process, including the tests.
    """

    def __init__(self) -> None:
        self.callbacks: list[Callable[[], None]] = []

    def on_exit(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the test begins the shutdown."""
        self.callbacks.append(callback)

    def service_crashed(self, error: Exception) -> None:
        """Do nothing: the app raises `error` from its lifespan, which ends the test."""


class LifespanRunner:
    """Runs `app`'s lifespan in one task, and asks it to start and to stop.

    `state` is the app's `scope["state"]`; `story` describes the requests in flight. `supported` is False if
    the app has no lifespan: it raised before it received anything, or returned, or sent a message of
    another type of scope.
    """

    def __init__(
        self,
        app: ASGIApp,
        state: dict[str, Any],
        timeout: float | None,
        story: Callable[[], str],
    ) -> None:
        self._app = app
        self._story = story
        self._timeout = timeout
        self._signal = Signal()
        self._contract = LifespanContract()
        self._asked: list[str] = []
        self._received = 0
        self._answer: Message | None = None
        self._state = state
        self._server = _Server()
        self.supported = True
        self.started = False
        self.ended = False
        self.error: Exception | None = None
        self.told = False

    async def start(self, tasks: anyio.abc.TaskGroup) -> None:
        """Start the app's lifespan in `tasks`, and wait until it is complete.

        :raises Exception: the app's own exception.
        :raises LifespanFailed: it sent `lifespan.startup.failed` and raised nothing.
        :raises DeadlineExceeded: it was not complete within the timeout.
        """
        tasks.start_soon(self._run, name="lifespan")
        self._ask("startup")
        await self._wait("startup", lambda: self._answer or self.ended)
        answer = self._take()
        if answer is not None and answer["type"] == "lifespan.startup.complete":
            self.started = True
            return
        if answer is not None:
            await self._wait("startup", lambda: self.ended)
        if self.error is not None:
            if self._unsupported(self.error):
                self.supported = False
                return
            self.told = True
            raise self.error
        if answer is not None:
            raise LifespanFailed(answer.get("message", ""))
        self.supported = False

    def begin_stop(self) -> None:
        """Tell the app to shut down, without waiting for it. Calling it again does nothing."""
        if self.started and "shutdown" not in self._asked:
            for callback in self._server.callbacks:
                callback()
            self._ask("shutdown")

    async def stop(self) -> None:
        """Shut the app down and wait until its lifespan has ended.

        :raises Exception: the app's own exception since its start, unless it was raised before.
        :raises LifespanFailed: it sent `lifespan.shutdown.failed` and raised nothing.
        :raises DeadlineExceeded: it did not end within the timeout.
        """
        if not self.started:
            return
        self.begin_stop()
        await self._wait("shutdown", lambda: self.ended)
        if self.error is not None and not self.told:
            self.told = True
            raise self.error
        answer = self._take()
        if answer is not None and answer["type"] == "lifespan.shutdown.failed":
            raise LifespanFailed(answer.get("message", ""))

    def _unsupported(self, error: Exception) -> bool:
        foreign = isinstance(error, ContractError) and "not a message that a lifespan" in str(error)
        return foreign or not self._received

    def _ask(self, phase: str) -> None:
        self._asked.append(phase)
        self._signal.notify()

    def _take(self) -> Message | None:
        answer, self._answer = self._answer, None
        return answer

    async def _wait(self, phase: str, holds: Callable[[], object]) -> None:
        if not await within(self._timeout, self._signal, holds):
            raise DeadlineExceeded(
                f"lifespan.{phase} took longer than {self._timeout} s: {self._story()}"
            )

    async def _receive(self) -> Message:
        await anyio.lowlevel.checkpoint()
        await self._signal.until(lambda: self._received < len(self._asked))
        phase = self._asked[self._received]
        self._received += 1
        self._contract.asked(phase)
        return {"type": f"lifespan.{phase}"}

    async def _send(self, message: Message) -> None:
        await anyio.lowlevel.checkpoint()
        try:
            self._contract.check(message)
        except ContractError as error:
            self.error = error
            raise
        self._answer = message
        self._signal.notify()

    async def _run(self) -> None:
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self._state,
            "extensions": {"kui.server": self._server},
        }
        try:
            await self._app(scope, self._receive, self._send)
        except Exception as error:
            if self.error is None:
                self.error = error
        finally:
            self.ended = True
            self._signal.notify()
