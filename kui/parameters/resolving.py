"""A plan, followed: what of a request is validated, which dependencies are entered, in which order all is left.

From the outside in: the dependencies that last until the answer is sent, the middlewares, the other dependencies, the
handler. What can be refused is refused first; the body is read last. A `Resolver` is made once for a route, a
`Resolution` for each of its requests.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from kui.current import request_var, websocket_var
from kui.endpoints import Endpoint
from kui.websockets.connection import HowToClose, SocketState, WebSocket, how_to_close

from .answers import Answer
from .bodies import body_reader
from .entering import Resolution
from .planning import closure, outermost
from .plans import Plan
from .sources import readers_of

if TYPE_CHECKING:
    from kui.requests import HttpRequest

__all__ = ["Invoke", "Resolver"]

Invoke: TypeAlias = Callable[[list[Any]], Awaitable[Any]]
"""Calls a handler with its arguments, which are in the slots."""


class Resolver:
    """How the requests of one route, or of one method of a view, are resolved.

    - `invoke`: calls the handler.
    - `converters`: from the names of the path's parameters to those of their converters.
    - `answer`: writes what the handler returns; None to leave it as it is.

    Raises TypeError for a type that cannot be validated.
    """

    __slots__ = (
        "_answer",
        "_body",
        "_checks",
        "_first",
        "_guards",
        "_invoke",
        "_lasting",
        "_late",
        "_needs_scope",
        "_others",
        "_permits",
        "plan",
    )

    def __init__(
        self,
        plan: Plan,
        invoke: Invoke,
        converters: Mapping[str, str | None],
        answer: Answer | None = None,
    ) -> None:
        self.plan = plan
        self._invoke = invoke
        self._answer = answer
        first = outermost(plan)
        guarding = closure(plan.security)
        owners = {one.function for one in guarding}
        before = [one for one in plan.parameters if one.owner in owners]
        rest = [one for one in plan.parameters if one.owner not in owners]
        self._permits = readers_of(before, converters, plan.parameters)
        self._checks = readers_of(rest, converters, plan.parameters)
        self._body = body_reader(plan.body) if plan.body else None
        self._guards = [one for one in plan.dependencies if one in guarding]
        self._lasting = [one for one in plan.dependencies if one in first and one not in guarding]
        others = [one for one in plan.dependencies if one not in guarding and one not in first]
        self._others = [one for one in others if not one.reads_body()]
        self._late = [one for one in others if one.reads_body()]
        self._first = bool(first)
        inner = others if first else plan.dependencies
        self._needs_scope = any(one.kind.has_exit and one.until != "app" for one in inner)

    def around(self, endpoint: Endpoint) -> Endpoint:
        """Return the endpoint, complete with middlewares, within the dependencies that last until all is sent."""
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
                    await self._decide(resolution)
                    await resolution.enter(self._lasting)
                except Exception as refusal:  # raised within the middlewares: they may decorate it
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

    async def inner(self) -> Any:
        """Resolve the current request, within its middlewares, and call the handler."""
        request = request_var.get()
        outer = cast("Resolution | None", request.lasting_resolution) if self._first else None
        slots = None if outer is None else outer.slots
        resolution = Resolution(self.plan, request, slots)
        if outer is not None and outer.refusal is not None:
            raise outer.refusal
        if not self._needs_scope:
            value = await self._run(resolution, outer is None)
            return value if self._answer is None else self._answer(value)
        await resolution.open()
        error: BaseException | None = None
        value = None
        try:
            value = await self._run(resolution, outer is None)
        except BaseException as raised:
            error = raised
        await resolution.close(error)
        return value if self._answer is None else self._answer(value)

    async def _run(self, resolution: Resolution, decide: bool) -> Any:
        if decide:
            if self._guards:
                await self._decide(resolution)
            elif self._checks:
                self._checks.check(resolution.connection, resolution.slots)
        if self._others:
            await resolution.enter(self._others)
        if self._body is not None:
            await self._body.read(cast("HttpRequest", resolution.connection), resolution.slots)
        if self._late:
            await resolution.enter(self._late)
        return await self._invoke(resolution.slots)

    async def _decide(self, resolution: Resolution) -> None:
        """Ask security, then look at all parameters but the body."""
        if self._guards:
            self._permits.check(resolution.connection, resolution.slots)
            await resolution.enter(self._guards)
        self._checks.check(resolution.connection, resolution.slots)

    # ---- WebSockets

    async def socket(self) -> Any:
        """Resolve the current WebSocket and call the handler; what was entered is left after the close."""
        websocket = websocket_var.get()
        resolution = Resolution(self.plan, websocket)
        if not self._needs_scope:
            return await self._run(resolution, True)
        await resolution.open()
        error: BaseException | None = None
        value = None
        try:
            value = await self._run(resolution, True)
        except BaseException as raised:
            error = raised
        if websocket.connection_state is SocketState.OPEN:
            resolution.last(partial(_close, websocket))
        await resolution.close(error)
        return value


async def _close(websocket: WebSocket, error: BaseException | None) -> None:
    """Close a socket whose handler has ended, so that its dependencies outlive it."""
    close = HowToClose(1000, "", False) if error is None else how_to_close(error)
    await websocket.socket.close(close.code, close.reason)
