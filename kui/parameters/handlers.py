"""Join a handler, a function or a view, with the path of its route.

Most handlers declare nothing. The modules that plan declarations and follow them are large, so the first handler that
declares something imports them.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from kui.argument_checks import own_signature
from kui.endpoints import Endpoint

from .targets import EMPTY, RoutePath, Target

if TYPE_CHECKING:
    from .joining import Joined
    from .plans import Plan

__all__ = ["JoinedHandler", "declares_answer"]

_NO_MODELS: Final = frozenset(
    "Any None str bytes int float bool dict list tuple set object Path URL Mapping Sequence Awaitable "
    "AsyncIterator AsyncGenerator AsyncIterable Iterator Generator Iterable NoReturn typing collections abc".split()
)


_PLAIN: Final = (
    inspect.Signature.empty,
    None,
    str,
    bytes,
    int,
    float,
    bool,
    dict,
    list,
    tuple,
    object,
)


def declares_answer(function: Callable[..., Any]) -> bool:
    """True if a function's return annotation may hold a model, as far as its unresolved text tells."""
    try:
        annotation = own_signature(function, as_text=True).return_annotation
    except (ValueError, NameError):
        return False
    if isinstance(annotation, str):
        names = re.findall(r"[A-Za-z_][A-Za-z_0-9]*", annotation)
        return not all(name in _NO_MODELS or name.endswith("Response") for name in names)
    if any(annotation is one for one in _PLAIN):
        return False
    from .answers import data_of_lines, data_of_stream, model_of_answer

    return any(
        model(annotation) is not inspect.Signature.empty
        for model in (model_of_answer, data_of_stream, data_of_lines)
    )


class JoinedHandler:
    """A handler, a function or a view, on one path.

    :param targets: one for each method of a view, or one under None for a function.
    :param endpoint: calls the handler if nothing is declared.
    :param method: returns the method of the current request.
    :param path: the path of the route.
    :param overrides: as for `planning.plan`.
    :raises TypeError: a declaration cannot work.
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
        declared = {name: target for name, target in targets.items() if target.declared}
        self._joined: dict[str | None, Joined] = {}
        if declared:
            from .joining import Joined

            self._joined = {name: Joined(one, path, overrides) for name, one in declared.items()}

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint: it calls the handler with what it declares. The middlewares must be around it."""
        if None in self._joined:
            return self._joined[None].endpoint
        if not self._joined:
            return self._endpoint
        return self._dispatch(
            {name: one.endpoint for name, one in self._joined.items()}, self._endpoint
        )

    def around(self, endpoint: Endpoint) -> Endpoint:
        """Return `endpoint`, with its middlewares, within the dependencies with `until="sent"`."""
        if None in self._joined:
            return self._joined[None].around(endpoint)
        around = {name: one.around(endpoint) for name, one in self._joined.items()}
        if all(one is endpoint for one in around.values()):
            return endpoint
        return self._dispatch(around, endpoint)

    def prepare(self) -> None:
        """Plan what could not be planned before.

        :raises TypeError: an annotation is still not defined, or a declaration cannot work.
        """
        for one in self._joined.values():
            one.prepare()

    @property
    def declared(self) -> Mapping[str | None, Plan]:
        """The plans of the targets that declare something, by method of a view, or under None."""
        return {name: one.plan for name, one in self._joined.items()}

    @property
    def plans(self) -> Mapping[str | None, Plan]:
        """The plans of all targets, by method of a view, or under None. Raises what `planning.plan` raises."""
        from .joining import plan_of

        return {
            name: self._joined[name].plan
            if name in self._joined
            else plan_of(target, self._path, self._overrides)
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
