"""The server's side of one app's lifespan, shared by `kui run`, apps with mounted apps and `kui.testing`.

The driver reports what the app has answered and raised. Its caller decides what to do then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

import anyio
from baize.typing import ASGIApp, Message

from .loops import note_other_loop
from .stray import strays_fail

__all__ = ["LifespanDriver", "LifespanFailed", "LifespanPhase"]

LifespanPhase: TypeAlias = Literal["startup", "shutdown"]


class LifespanFailed(RuntimeError):
    """The app answered `lifespan.startup.failed` or `lifespan.shutdown.failed`, and raised nothing.

    The text ends with the message that it sent. If the app raises, its own exception is raised instead.
    """


class LifespanDriver:
    """Calls an app with a lifespan scope in the task of `run`; other tasks stop it (ASGI lifespan 2.0).

    - `started`, `stopped`: set when the app has answered the start-up or the shutdown, or has ended without an
      answer.
    - `ended`: set when the app has returned, raised or been cancelled.
    - `error`: the exception that the app has raised, or None.

    :param app: the ASGI app.

    :param state: becomes `scope["state"]`.
    :param extensions: become `scope["extensions"]`.
    :param on_crash: called in the app's task if the app raises while it is up and was not told to stop.

    ::

        driver = LifespanDriver(app, {}, {})
        group.start_soon(driver.run)
        await driver.started.wait()
        ...
        driver.ask_to_stop()
        await driver.stopped.wait()
    """

    def __init__(
        self,
        app: ASGIApp,
        state: dict[str, Any],
        extensions: Mapping[str, Any],
        on_crash: Callable[[Exception], None] = lambda error: None,
    ) -> None:
        self.state = state
        self.started = anyio.Event()
        self.stopped = anyio.Event()
        self.ended = anyio.Event()
        self.error: Exception | None = None
        self.supported = True
        """False if the app has no lifespan: it raised before it received a message, or after it sent a message of
        another protocol."""
        self._app = app
        self._extensions = extensions
        self._on_crash = on_crash
        self._scope = anyio.CancelScope()
        self._asked_to_stop = anyio.Event()
        self._received = 0
        self._foreign = False
        self._answers: dict[str, Message] = {}

    @property
    def up(self) -> bool:
        """True from `lifespan.startup.complete` until the app has ended."""
        return "lifespan.startup.complete" in self._answers and not self.ended.is_set()

    def refusal(self, phase: LifespanPhase) -> str | None:
        """Return the text of the app's `lifespan.<phase>.failed`; None if the app has not sent that message."""
        answer = self._answers.get(f"lifespan.{phase}.failed")
        return None if answer is None else answer.get("message", "")

    def failure(self, phase: LifespanPhase) -> Exception | None:
        """Return the exception that the app has raised, or a LifespanFailed if it said that `phase` failed.

        Return None if neither happened, or if the app has no lifespan.
        """
        if self.error is not None:
            return self.error if self.supported else None
        refusal = self.refusal(phase)
        if refusal is None:
            return None
        return LifespanFailed(f"the {phase} of {self._app!r} failed: {refusal}")

    async def run(self) -> None:
        """Call the app, and keep the exception that it raises as `error`. `cancel` ends it early."""
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
            "extensions": dict(self._extensions),
        }
        try:
            with self._scope, strays_fail:
                await self._app(scope, self._receive, self._send)
        except Exception as error:
            note_other_loop(error)
            self.error = error
            self.supported = self.started.is_set() or (self._received > 0 and not self._foreign)
            if self.up and not self._asked_to_stop.is_set():
                self._on_crash(error)
        finally:
            for event in (self.ended, self.started, self.stopped):
                event.set()

    def ask_to_stop(self) -> None:
        """Let the app receive `lifespan.shutdown`. May be called again."""
        self._asked_to_stop.set()

    def cancel(self) -> None:
        """Cancel the app where it waits. May be called again, and at any time."""
        self._scope.cancel()

    async def _receive(self) -> Message:
        self._received += 1
        if self._received == 1:
            return {"type": "lifespan.startup"}
        await self._asked_to_stop.wait()
        if self._received == 2:
            return {"type": "lifespan.shutdown"}
        await anyio.sleep_forever()
        raise AssertionError("sleep_forever() has returned")

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if not kind.startswith("lifespan."):
            self._foreign = True
            raise RuntimeError(f"{kind!r} is no message of a lifespan")
        self._answers[kind] = message
        (self.started if kind.startswith("lifespan.startup.") else self.stopped).set()
