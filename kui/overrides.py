"""`app.overrides`: replace entries of the state, handlers or dependencies during a test.

A handler is replaced in the table of endpoints, so that requests pay nothing for it. This module does not import
httpx2, so that an app can use it without the extra `testing`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, MutableMapping
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

from .argument_checks import describe
from .connections import State
from .lifespan import Callbacks, Lifespan
from .parameters.planning import identity
from .routing import RouteTable

__all__ = ["overrides"]


class Overridden(Protocol):
    """An app of which parts can be replaced. `Kui` implements it."""

    state: State

    @property
    def router(self) -> RouteTable:
        """The routes."""

    @property
    def lifespan(self) -> Lifespan:
        """The lifespan."""

    @property
    def on_startup(self) -> Callbacks:
        """The functions that are called before the first request."""

    @property
    def on_shutdown(self) -> Callbacks:
        """The functions that are called after the last request."""


@contextmanager
def overrides(
    app: Overridden,
    *,
    state: Mapping[str, Any] | None = None,
    handlers: Mapping[Callable[..., Any], Callable[..., Any]] | None = None,
    dependencies: Mapping[Callable[..., Any], Callable[..., Any]] | None = None,
) -> Generator[None, None, None]:
    """Replace entries of `app.state`, handlers or dependencies while the block lasts.

    Blocks may be nested; the inner one wins. Requests that are being answered when a block begins or ends keep their
    handler.

    :param state: a mapping from names to the values that `app.state` returns for them, also after a start-up has set
        them. What is written meanwhile is there when the block has ended.
    :param handlers: a mapping from a handler to its replacement on all its routes, which keep their paths, names,
        methods and middlewares; or from a function of `on_startup` or `on_shutdown` to its replacement.
    :param dependencies: a mapping from the function in a `Depends` to its replacement, which declares its own
        parameters. The options of the `Depends` still apply.
    :raises LookupError: the app has no such handler or dependency.
    :raises TypeError: a replacement cannot work in this place.
    :raises RuntimeError: a dependency with `scope="app"` cannot be replaced while the app is running.

    Example::

        with app.overrides(state={"db": FakeDatabase()}, handlers={send_mail: note_mail}):
            async with AsyncTestClient(app) as client:
                await client.post("/orders", json=order)
    """
    with ExitStack() as stack:
        for handler, replacement in (handlers or {}).items():
            callbacks = [one for one in (app.on_startup, app.on_shutdown) if handler in one]
            for functions in callbacks:
                stack.callback(_set, functions, functions.copy())
                _set(functions, [replacement if one == handler else one for one in functions])
            if not callbacks:
                stack.callback(app.router.substitute(handler, replacement))
        if dependencies:
            stack.callback(_override(app, dependencies))
        if state:
            below = app.state
            stack.callback(setattr, app, "state", below)
            app.state = State(_Pinned(state, below))
        yield


def _override(
    app: Overridden, dependencies: Mapping[Callable[..., Any], Callable[..., Any]]
) -> Callable[[], None]:
    for real, fake in dependencies.items():
        found = [
            one
            for plan in app.router.declared()
            for one in plan.dependencies
            if identity(one.declared) == identity(real)
        ]
        if not found:
            raise LookupError(f"no route depends on {describe(real)}")
        if not callable(fake):
            raise TypeError(f"the place of a dependency is taken by a function, not {fake!r}")
        if app.lifespan.alive and any(one.until == "app" for one in found):
            raise RuntimeError(
                f"{describe(real)} was entered when the app started: override it before that"
            )
    return app.router.override({identity(real): fake for real, fake in dependencies.items()})


def _set(functions: list[Callable[..., Any]], to: list[Callable[..., Any]]) -> None:
    functions[:] = to


class _Pinned(MutableMapping[str, Any]):
    """A state with some fixed entries. What is written to them goes to the state below."""

    def __init__(self, entries: Mapping[str, Any], below: State) -> None:
        self._entries = dict(entries)
        self._below = below

    def __getitem__(self, name: str) -> Any:
        if name in self._entries:
            return self._entries[name]
        if name in self._below:
            return getattr(self._below, name)
        raise KeyError(name)

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self._below, name, value)

    def __delitem__(self, name: str) -> None:
        if name in self._below:
            delattr(self._below, name)
        elif name not in self._entries:
            raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in self._below

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
