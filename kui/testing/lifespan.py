"""Start and stop an app under test, as a server does (ASGI lifespan 2.0)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel
from baize.typing import ASGIApp, Message, Receive, Scope, Send

from kui.concurrency.lifespan_driver import LifespanDriver, LifespanPhase
from kui.lifespan import SERVER

from .contract import LifespanContract
from .errors import ContractError, DeadlineExceeded

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
    """Starts and stops an app under test, each within a time limit, and checks the ASGI contract.

    `state` is the app's `scope["state"]`; `timeout` is in seconds; `story` describes the requests in flight.
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
        self._server = _Server()
        self._driver = LifespanDriver(self._checked, state, {SERVER: self._server})
        self._broken: ContractError | None = None
        self._told: Exception | None = None
        self._stopping = False

    async def start(self, tasks: anyio.abc.TaskGroup) -> None:
        """Start the app's lifespan in `tasks`, and wait until it is complete, or the app has shown that it has none.

        :raises Exception: the app's own exception.
        :raises LifespanFailed: it sent `lifespan.startup.failed` and raised nothing.
        :raises DeadlineExceeded: it was not complete within the timeout.
        """
        tasks.start_soon(self._driver.run, name="lifespan")
        await self._wait("startup", self._driver.started)
        if not self._driver.up:
            await self._wait("startup", self._driver.ended)
            self._tell("startup")

    def begin_stop(self) -> None:
        """Tell the app to shut down, without waiting for it. Calling it again does nothing."""
        if not self._stopping:
            self._stopping = True
            for callback in self._server.callbacks:
                callback()
            self._driver.ask_to_stop()

    async def stop(self) -> None:
        """Shut the app down and wait until its lifespan has ended.

        :raises Exception: the app's own exception since its start, unless it was raised before.
        :raises LifespanFailed: it sent `lifespan.shutdown.failed` and raised nothing.
        :raises DeadlineExceeded: it did not end within the timeout.
        """
        self.begin_stop()
        await self._wait("shutdown", self._driver.ended)
        self._tell("shutdown")

    def _tell(self, phase: LifespanPhase) -> None:
        """Raise the failure of the app, unless it was raised before."""
        failure = self._broken or self._driver.failure(phase)
        if failure is not None and failure is not self._told:
            self._told = failure
            raise failure

    async def _wait(self, phase: LifespanPhase, event: anyio.Event) -> None:
        with anyio.move_on_after(self._timeout):
            await event.wait()
        if not event.is_set():
            raise DeadlineExceeded(
                f"lifespan.{phase} took longer than {self._timeout} s: {self._story()}"
            )

    async def _checked(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the app, check its messages, and make each of its calls a checkpoint."""
        contract = LifespanContract()

        async def received() -> Message:
            await anyio.lowlevel.checkpoint()
            message = await receive()
            contract.asked(message["type"].removeprefix("lifespan."))
            return message

        async def checked(message: Message) -> None:
            await anyio.lowlevel.checkpoint()
            try:
                contract.check(message)
            except ContractError as error:
                self._broken = error
                raise
            await send(message)

        await self._app(scope, received, checked)
