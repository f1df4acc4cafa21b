"""The fixtures `kui_backend` and `kui_client`, under pytest alone, pytest-trio and anyio's plugin at once.

Who runs an async test is not ours to say: its marker does. What has none is run here. The client is
opened by whoever runs the test, in the test's own loop.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from typing import Any, Literal, TypeAlias

import pytest

__all__ = ["kui_backend", "kui_client"]

Backend: TypeAlias = str | tuple[str, dict[str, Any]]
Runner: TypeAlias = Literal["sync", "trio", "anyio", "kui"]


def _runner(function: object, node: pytest.Item, names: list[str]) -> Runner:
    """Who runs this test?"""
    inner = getattr(getattr(function, "hypothesis", None), "inner_test", function)
    if not inspect.iscoroutinefunction(inner):
        return "sync"
    if node.config.pluginmanager.has_plugin("trio"):
        if node.get_closest_marker("trio") is not None or node.config.getini("trio_mode"):
            return "trio"
    if "anyio_backend" in names:
        return "anyio"
    return "kui"


def _runner_of(request: pytest.FixtureRequest) -> Runner:
    return _runner(request.function, request.node, request.fixturenames)


# ---- the fixtures


@pytest.fixture
def kui_backend(request: pytest.FixtureRequest) -> Backend:
    """The event loop of the test: it runs once on asyncio and once on trio.

    "asyncio" or "trio", or one of them with options, as `kui.testing.virtual_clock` gives it. Under
    pytest-trio it is "trio"; under anyio's plugin it is what the fixture `anyio_backend` says; else
    define a fixture of this name to say something different.
    """
    if "anyio_backend" in request.fixturenames:
        backend: Backend = request.getfixturevalue("anyio_backend")
        return backend
    default = "trio" if _runner_of(request) == "trio" else "asyncio"
    backend = getattr(request, "param", default)
    return backend


@pytest.fixture
def kui_client(request: pytest.FixtureRequest, kui_backend: Backend, app: Any) -> Iterator[Any]:
    """A client of the test suite's own fixture `app`: an open `AsyncTestClient`.

    In a test that is not async it is a `TestClient`.
    """
    if _runner_of(request) == "sync":
        from .sync import TestClient

        with TestClient(app, backend=kui_backend) as client:
            yield client
    else:  # `pytest_pyfunc_call` opens it
        from .client import AsyncTestClient

        yield AsyncTestClient(app, deadline=None)


async def _open_client(
    request: pytest.FixtureRequest, kui_backend: Backend, app: Any
) -> AsyncGenerator[Any, None]:
    """`kui_client`, as a fixture that pytest-trio and anyio's plugin take.

    It yields in a task group whose tasks keep their exceptions, and in no cancel scope that anybody
    cancels: the deadline is around the test, not around the fixture.
    """
    from .client import AsyncTestClient

    async with AsyncTestClient(app, deadline=None) as client:
        yield client


# ---- the hooks


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test on both loops, where nobody else says on which."""
    if "kui_backend" not in metafunc.fixturenames or "anyio_backend" in metafunc.fixturenames:
        return
    # There is no public way to ask whether a fixture is overridden; then it says what it wants.
    definitions = metafunc._arg2fixturedefs.get("kui_backend", ())  # noqa: SLF001  # pytest has no public way
    if not definitions or definitions[-1].func.__module__ != __name__:
        return
    for marker in metafunc.definition.iter_markers("parametrize"):
        names = marker.args[0] if marker.args else marker.kwargs["argnames"]
        if "kui_backend" in (
            names.replace(" ", "").split(",") if isinstance(names, str) else names
        ):
            return
    node = metafunc.definition
    if _runner(metafunc.function, node, list(metafunc.fixturenames)) != "trio":
        metafunc.parametrize("kui_backend", ["asyncio", "trio"], indirect=True)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    """Give `kui_client` the form that whoever runs the test takes."""
    original = fixturedef.func
    if (
        fixturedef.argname == "kui_client"
        and original.__module__ == __name__
        and _runner_of(request) in ("anyio", "trio")
    ):
        # It is declared final, for lack of another way to have a fixture of two forms.
        fixturedef.func = _open_client  # type: ignore[misc]  # as said: final, and no other way
    try:
        return (yield)
    finally:
        fixturedef.func = original  # type: ignore[misc]  # as above


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Put the deadline around an async test."""
    seconds = float(item.config.getini("kui_deadline"))
    if (
        not isinstance(item, pytest.Function)
        or not {"kui_client", "kui_backend"} & set(item.fixturenames)
        or not inspect.iscoroutinefunction(item.obj)
        or not seconds
    ):
        return (yield)
    original = item.obj
    item.obj = _within(seconds, original)
    try:
        return (yield)
    finally:
        item.obj = original


def _within(seconds: float, test: Callable[..., Any]) -> Callable[..., Any]:
    from .client import AsyncTestClient
    from .deadlines import Deadline
    from .errors import DeadlineExceeded

    @functools.wraps(test)
    async def wrapper(*args: Any, **kwargs: Any) -> None:
        clients = [value for value in kwargs.values() if isinstance(value, AsyncTestClient)]
        deadline = Deadline(seconds, lambda: "; ".join(client.story() for client in clients))
        with deadline:
            await test(*args, **kwargs)
        if deadline.caught:
            for client in clients:
                client.give_up()
            raise DeadlineExceeded(f"the test took longer than {seconds:g} s: {deadline.story}")

    return wrapper


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an async test that nobody else runs."""
    if "kui_backend" not in pyfuncitem.fixturenames:
        return None
    if _runner(pyfuncitem.obj, pyfuncitem, list(pyfuncitem.fixturenames)) != "kui":
        return None
    import anyio

    from .client import AsyncTestClient

    arguments: dict[str, Any] = pyfuncitem.funcargs
    test = pyfuncitem.obj
    wanted = {name: arguments[name] for name in inspect.signature(test).parameters}
    backend: Backend = arguments["kui_backend"]
    name, options = backend if isinstance(backend, tuple) else (backend, None)
    client = arguments.get("kui_client")

    async def run() -> None:
        if isinstance(client, AsyncTestClient):
            async with client:
                await test(**wanted)
        else:
            await test(**wanted)

    anyio.run(run, backend=name, backend_options=options)
    return True
