"""A handler that declares something, on its way into a router: planned for its path, and made an endpoint.

An annotation that names what is not defined yet is tried again when the app starts, or when the first request comes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial, update_wrapper
from typing import Any, Final

from kui.endpoints import Endpoint

from .answers import answer_of
from .calling import Bound, Slots, bind
from .planning import plan
from .plans import Plan
from .resolving import Resolver
from .signatures import Unresolved
from .targets import EMPTY, RoutePath, Target

__all__ = ["Joined", "plan_of"]

_NAMES: Final = ("__module__", "__name__", "__qualname__", "__doc__")


def plan_of(
    target: Target, path: RoutePath, overrides: Mapping[Any, Callable[..., Any]] = EMPTY
) -> Plan:
    """Return the plan of a target on a path. Raises as `planning.plan` does."""
    return plan(
        target.planned,
        path.converters,
        names=target.names,
        is_socket=target.is_socket,
        overrides=overrides,
    )


class Joined:
    """A target on one path: `endpoint`, which must be within middlewares, and `around`, which must not.

    Raises TypeError for a declaration that cannot work.
    """

    __slots__ = ("_lock", "_overrides", "_path", "_plan", "_resolver", "target")

    def __init__(
        self,
        target: Target,
        path: RoutePath,
        overrides: Mapping[Any, Callable[..., Any]] = EMPTY,
    ) -> None:
        self.target = target
        self._path = path
        self._overrides = overrides
        self._plan: Plan | None = None
        self._resolver: Resolver | None = None
        self._lock = threading.Lock()
        try:
            self.prepare()
        except Unresolved:
            pass  # it may be defined below

    @property
    def plan(self) -> Plan:
        """The plan. Raises TypeError if an annotation is still not defined."""
        return self._plan or self._planned()

    def prepare(self) -> Resolver | None:
        """Return what resolves its requests; None if it declares nothing on this path.

        Raises Unresolved if an annotation is not defined yet.
        """
        with self._lock:
            if self._resolver is None:
                self._resolver = self._made(self._planned())
            return self._resolver

    @property
    def endpoint(self) -> Endpoint:
        """Resolves what is declared and calls the handler."""
        if self._plan is None:
            return self._late
        resolver = self._resolver
        if resolver is None:
            return self.target.endpoint
        # A function of its own, for middlewares look at the name of what they are around.
        return update_wrapper(
            partial(resolver.endpoint), self.target.planned[0].function, _NAMES, ()
        )

    def around(self, endpoint: Endpoint) -> Endpoint:
        """Return the endpoint, with its middlewares, within the dependencies that last until the answer is sent."""
        if self._plan is not None:
            return endpoint if self._resolver is None else self._resolver.around(endpoint)

        async def late() -> Any:
            resolver = self.prepare()
            return await (endpoint if resolver is None else resolver.around(endpoint))()

        return late

    async def _late(self) -> Any:
        self.prepare()
        return await self.endpoint()

    def _planned(self) -> Plan:
        self._plan = plan_of(self.target, self._path, self._overrides)
        return self._plan

    def _made(self, made: Plan) -> Resolver | None:
        answer = None if made.is_socket else answer_of(made.handler, made.returns)
        if not (made.parameters or made.dependencies or answer):
            return None
        invoke = self.target.invoke
        if len(made.calls) == 1:
            handler = bind(replace(made.calls[0], function=invoke))
        else:
            handler = Bound(invoke, partial(_calls, [bind(one) for one in made.calls]))
        return Resolver(made, handler, self._path.converters, answer)


def _calls(methods: Iterable[Bound], slots: Slots) -> Iterable[Callable[..., Any]]:
    """Yield the methods of a view of WebSockets, each with what it declares behind what it is called with."""

    def with_slots(method: Bound) -> Callable[..., Any]:
        return lambda *given: method.function(*given, *method.arguments(slots))

    return [with_slots(one) for one in methods]
