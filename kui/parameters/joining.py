"""Plan a handler for the path of its route, and make an endpoint of it, when the route is added to a router.

If an annotation uses a name that is not defined yet, the handler is planned when the app starts, or at its first
request.
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
    """Return the plan of a target on a path. Raises what `planning.plan` raises."""
    return plan(
        target.planned,
        path.converters,
        names=target.names,
        is_socket=target.is_socket,
        overrides=overrides,
    )


class Joined:
    """A target on one path. The middlewares must be around `endpoint` and within `around`.

    :raises TypeError: a declaration cannot work.
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
            pass  # the name may be defined further down in the module

    @property
    def plan(self) -> Plan:
        """Return the plan.

        :raises TypeError: an annotation is still not defined.
        """
        return self._plan or self._planned()

    def prepare(self) -> Resolver | None:
        """Return the Resolver of its requests; None if it declares nothing on this path.

        :raises Unresolved: an annotation is not defined yet.
        """
        with self._lock:
            if self._resolver is None:
                self._resolver = self._made(self._planned())
            return self._resolver

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint: it resolves what is declared and calls the handler."""
        if self._plan is None:
            return self._late
        resolver = self._resolver
        if resolver is None:
            return self.target.endpoint
        # A new function, because middlewares look at the name of their endpoint.
        return update_wrapper(
            partial(resolver.endpoint), self.target.planned[0].function, _NAMES, ()
        )

    def around(self, endpoint: Endpoint) -> Endpoint:
        """Return `endpoint`, with its middlewares, within the dependencies with `until="sent"`."""
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
    """Yield the methods of a SocketView, each as a function that adds the declared values to its arguments."""

    def with_slots(method: Bound) -> Callable[..., Any]:
        return lambda *given: method.function(*given, *method.arguments(slots))

    return [with_slots(one) for one in methods]
