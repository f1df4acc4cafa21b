"""A handler that declares something, on its way into a router: planned for its path, and made an endpoint.

An annotation that names what is not defined yet is tried again when the app starts, or when the first request comes.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial, update_wrapper
from typing import Any, Final, Protocol

from kui.endpoints import Endpoint

from .answers import answer_of
from .calling import Bound, Slots, bind
from .planning import EMPTY, Planned, plan
from .plans import Plan
from .resolving import Resolver
from .signatures import Unresolved

__all__ = ["Joined", "JoinedHandler", "RoutePath", "Target"]

_NAMES: Final = ("__module__", "__name__", "__qualname__", "__doc__")


class RoutePath(Protocol):
    """What has to be known of a route's path."""

    @property
    def converters(self) -> Mapping[str, str]:
        """From the names of its parameters to those of their converters."""
        ...


@dataclass(frozen=True, slots=True)
class Target:
    """A handler, or a method of a view, before it is known on which paths it is.

    - `planned`: what declares its parameters; several methods where they share their values.
    - `invoke`: calls it with the arguments of each of these, an async callable.
    - `endpoint`: calls it without any.
    - `declared`: whether there is anything to plan for.
    - `names`: what is defined where it was registered.
    """

    planned: tuple[Planned, ...]
    invoke: Callable[..., Awaitable[Any]]
    endpoint: Endpoint
    declared: bool = False
    names: Mapping[str, Any] = field(default_factory=dict, repr=False)
    is_socket: bool = False

    def plan(self, path: RoutePath, overrides: Mapping[Any, Callable[..., Any]] = EMPTY) -> Plan:
        """Return its plan on a path. Raises as `planning.plan` does."""
        return plan(
            self.planned,
            path.converters,
            names=self.names,
            is_socket=self.is_socket,
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
        self._plan = self.target.plan(self._path, self._overrides)
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


class JoinedHandler:
    """A whole handler on one path, a view included: `endpoint`, `around` it, and `plans`.

    - `targets`: by the methods of a view; of a function there is one, for None.
    - `endpoint`: what calls the handler where nothing is declared.
    - `method`: tells the method of the current request.

    Raises TypeError for a declaration that cannot work.
    """

    __slots__ = ("_endpoint", "_joined", "_method", "_overrides", "_path", "_targets")

    def __init__(
        self,
        targets: Mapping[str | None, Target],
        endpoint: Endpoint,
        method: Callable[[], str],
        path: RoutePath,
        overrides: Mapping[Any, Callable[..., Any]] = EMPTY,
    ) -> None:
        self._targets = targets
        self._endpoint = endpoint
        self._method = method
        self._path = path
        self._overrides = overrides
        self._joined = {
            name: Joined(target, path, overrides)
            for name, target in targets.items()
            if target.declared
        }

    @property
    def endpoint(self) -> Endpoint:
        """Calls the handler, with what it declares; to be within middlewares."""
        if None in self._joined:
            return self._joined[None].endpoint
        if not self._joined:
            return self._endpoint
        return self._dispatch(
            {name: one.endpoint for name, one in self._joined.items()}, self._endpoint
        )

    def around(self, endpoint: Endpoint) -> Endpoint:
        """Return the endpoint, with its middlewares, within the dependencies that last until the answer is sent."""
        if None in self._joined:
            return self._joined[None].around(endpoint)
        around = {name: one.around(endpoint) for name, one in self._joined.items()}
        if all(one is endpoint for one in around.values()):
            return endpoint
        return self._dispatch(around, endpoint)

    def prepare(self) -> None:
        """Plan what could not be planned yet. Raises TypeError if it still cannot."""
        for one in self._joined.values():
            one.prepare()

    @property
    def declared(self) -> Mapping[str | None, Plan]:
        """The plans of what declares something, by the methods of a view, or for None."""
        return {name: one.plan for name, one in self._joined.items()}

    @property
    def plans(self) -> Mapping[str | None, Plan]:
        """The plans of all, made now where nothing is declared. Raises Unresolved as `planning.plan` does."""
        return {
            name: self._joined[name].plan
            if name in self._joined
            else target.plan(self._path, self._overrides)
            for name, target in self._targets.items()
        }

    def _dispatch(self, endpoints: Mapping[str | None, Endpoint], other: Endpoint) -> Endpoint:
        method = self._method
        by_method = dict(endpoints)
        if "GET" in by_method and "HEAD" not in self._targets:
            by_method["HEAD"] = by_method["GET"]

        async def dispatch() -> Any:
            return await by_method.get(method(), other)()

        return dispatch
