"""Follow a plan: validate a request's parameters, enter the dependencies, call the handler, leave in reverse order.

From the outside in, the order is: the dependencies with `until="sent"`, the middlewares, the other dependencies, the
handler. Checks that may refuse the request come first; the body is read last. A `Resolver` is made once for a route, a
`Resolution` for each of its requests.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextvars import ContextVar
from functools import partial
from typing import Any, cast

from kui.connections import HTTPConnection
from kui.current import request_var, websocket_var
from kui.endpoints import Endpoint
from kui.websockets.connection import SocketState, WebSocket
from kui.websockets.endings import HowToClose, how_to_close

from .answers import Answer
from .bodies import body_reader
from .calling import Bound, Enter, Slots, Step, call_all, shared_step, step_of
from .entering import Resolution
from .planning import closure, outermost
from .plans import Dependency, Plan
from .sources import readers_of

__all__ = ["Resolver"]


class Resolver:
    """Resolves the requests of one route, or of one method of a view, and calls the handler.

    :param plan: the plan of the handler.
    :param handler: the async callable that is called in the end.
    :param converters: a mapping from the names of the path's parameters to the names of their converters.
    :param answer: makes a response of what the handler returns; None to leave it unchanged.
    :raises TypeError: a type cannot be validated.
    """

    __slots__ = (
        "_answer",
        "_checks",
        "_current",
        "_first",
        "_guards",
        "_handler",
        "_lasting",
        "_late",
        "_needs_scope",
        "_others",
        "_permits",
        "_read_body",
        "plan",
    )

    def __init__(
        self,
        plan: Plan,
        handler: Bound,
        converters: Mapping[str, str | None],
        answer: Answer | None = None,
    ) -> None:
        self.plan = plan
        self._handler = handler
        self._answer = answer
        self._current: ContextVar[Any] = websocket_var if plan.is_socket else request_var
        first = outermost(plan)
        guarding = closure(plan.security)
        owners = {one.function for one in guarding}
        before = [one for one in plan.parameters if one.owner in owners]
        rest = [one for one in plan.parameters if one.owner not in owners]
        self._permits = readers_of(before, converters, plan.parameters)
        self._checks = readers_of(rest, converters, plan.parameters)
        # It takes an HttpRequest: planning has checked that a WebSocket declares no part of a body.
        self._read_body: Callable[[Any, Slots], Awaitable[None]] | None = (
            body_reader(plan.body).read if plan.body else None
        )
        lasting = [one for one in plan.dependencies if one in first and one not in guarding]
        others = [one for one in plan.dependencies if one not in guarding and one not in first]
        self._guards = self._steps(one for one in plan.dependencies if one in guarding)
        self._lasting = self._steps(lasting)
        self._others = self._steps(one for one in others if not one.reads_body())
        self._late = self._steps(one for one in others if one.reads_body())
        self._first = bool(first)
        inner = others if first else plan.dependencies
        self._needs_scope = any(one.kind.has_exit and one.until != "app" for one in inner)

    def _steps(self, dependencies: Iterable[Dependency]) -> list[Step]:
        return [
            shared_step(one, self._current) if one.until == "app" else step_of(one)
            for one in dependencies
        ]

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint within the middlewares: it resolves the current request or WebSocket and calls the handler."""
        if self._first or self._needs_scope:
            return self._scoped
        return self._plain if self._answer is None else self._answered

    def _plain(self) -> Awaitable[Any]:
        """Call the handler if no dependency has an exit."""
        return self._run(self._current.get(), list(self.plan.slots))

    async def _answered(self) -> Any:
        """Do what `_plain` does, and write the result by its declared type."""
        assert self._answer is not None
        return self._answer(await self._plain())

    def around(self, endpoint: Endpoint) -> Endpoint:
        """Return `endpoint`, with its middlewares, within the dependencies with `until="sent"`."""
        if not self._first:
            return endpoint

        async def lasting() -> Any:
            request = request_var.get()
            resolution = Resolution(self.plan, request)
            try:
                await resolution.open()
                request.lasting_resolution = resolution
                request.lasting = True
                try:
                    await self._decide(request, resolution.slots, resolution.enter)
                    await call_all(self._lasting, resolution.slots, resolution.enter)
                except Exception as refusal:  # raised again within the middlewares
                    resolution.refusal = refusal
                value = await endpoint()
                resolution.unwatch()
                return value
            except Exception:
                resolution.unwatch()
                raise
            except BaseException as cancelled:
                request.lasting_resolution = None
                await resolution.close(cancelled)
                raise  # not reached: it raises something

        return lasting

    async def _scoped(self) -> Any:
        """Call the handler if a dependency has an exit. For a WebSocket the exits run after the close."""
        connection = self._current.get()
        outer = cast("Resolution | None", connection.lasting_resolution) if self._first else None
        if outer is not None and outer.refusal is not None:
            raise outer.refusal
        resolution = Resolution(self.plan, connection, None if outer is None else outer.slots)
        decided = outer is not None
        if not self._needs_scope:
            value = await self._run(connection, resolution.slots, None, decided)
            return value if self._answer is None else self._answer(value)
        await resolution.open()
        error: BaseException | None = None
        value = None
        try:
            value = await self._run(connection, resolution.slots, resolution.enter, decided)
        except BaseException as raised:
            error = raised
        if self.plan.is_socket and connection.connection_state is SocketState.OPEN:
            resolution.last(partial(_close, connection))
        await resolution.close(error)
        return value if self._answer is None else self._answer(value)

    async def _run(
        self,
        connection: HTTPConnection,
        slots: Slots,
        enter: Enter | None = None,
        decided: bool = False,
    ) -> Any:
        """Validate, call the dependencies, and then the handler.

        :param enter: enters a dependency with an exit; None if there is none.
        :param decided: True if `_decide` was called before.
        """
        if not decided:
            if self._guards:
                await self._decide(connection, slots, enter)
            elif self._checks is not None:
                self._checks.check(connection, slots)
        if self._others:
            await call_all(self._others, slots, enter)
        if self._read_body is not None:
            await self._read_body(connection, slots)
        if self._late:
            await call_all(self._late, slots, enter)
        function, arguments = self._handler
        return await function(*arguments(slots))

    async def _decide(self, connection: HTTPConnection, slots: Slots, enter: Enter | None) -> None:
        """Call the dependencies of `Security`, then validate all parameters but the body."""
        if self._permits is not None:
            self._permits.check(connection, slots)
        await call_all(self._guards, slots, enter)
        if self._checks is not None:
            self._checks.check(connection, slots)


async def _close(websocket: WebSocket, error: BaseException | None) -> None:
    """Close a socket whose handler has ended, before its dependencies are left."""
    close = HowToClose(1000, "", False) if error is None else how_to_close(error)
    await websocket.socket.sending.close(close.code, close.reason)
