"""The fixtures `kui_backend` and `kui_client`, for pytest alone and together with plugins that run async tests.

The marker of an async test, or the mode of a plugin, decides which plugin runs it: pytest-trio, anyio's plugin or
pytest-asyncio. An async test that none of them runs is run here, on both loops. The client is opened in the loop of the
test.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from typing import Any, Literal, TypeAlias

import pytest

__all__ = ["kui_backend", "kui_client"]

Backend: TypeAlias = str | tuple[str, dict[str, Any]]
PluginName: TypeAlias = Literal["sync", "trio", "anyio", "asyncio", "kui"]


def _runner(function: object, node: pytest.Item, names: list[str]) -> PluginName:
    """Return the plugin that runs a test; "kui" if only this one does."""
    inner = getattr(getattr(function, "hypothesis", None), "inner_test", function)
    if not inspect.iscoroutinefunction(inner):
        return "sync"
    if node.config.pluginmanager.has_plugin("trio"):
        if node.get_closest_marker("trio") is not None or node.config.getini("trio_mode"):
            return "trio"
    if "anyio_backend" in names:
        return "anyio"
    return "asyncio" if _is_for_pytest_asyncio(node) else "kui"


def _is_for_pytest_asyncio(node: pytest.Item) -> bool:
    """True if pytest-asyncio runs an async test: by its marker, or because its mode is auto."""
    config = node.config
    if not config.pluginmanager.has_plugin("asyncio"):
        return False
    mode = config.getoption("asyncio_mode", None) or config.getini("asyncio_mode")
    return mode == "auto" or node.get_closest_marker("asyncio") is not None


def _runner_of(request: pytest.FixtureRequest) -> PluginName:
    return _runner(request.function, request.node, request.fixturenames)


# ---- the fixtures


@pytest.fixture
def kui_backend(request: pytest.FixtureRequest) -> Backend:
    """The event loop of the test, which runs once on asyncio and once on trio.

    It is "asyncio" or "trio", or one of them with options, as `kui.testing.virtual_clock` returns them. With
    pytest-trio it is "trio"; with anyio's plugin it is the value of the fixture `anyio_backend`. Otherwise define a
    fixture of this name to choose the loop.
    """
    _refuse_two_runners(request)
    if "anyio_backend" in request.fixturenames:
        backend: Backend = request.getfixturevalue("anyio_backend")
        return backend
    default = "trio" if _runner_of(request) == "trio" else "asyncio"
    backend = getattr(request, "param", default)
    return backend


@pytest.fixture
def kui_client(request: pytest.FixtureRequest, kui_backend: Backend, app: Any) -> Iterator[Any]:
    """An open `AsyncTestClient` for the app of your fixture `app`; in a synchronous test, a `TestClient`."""
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
    """`kui_client`, as a fixture for pytest-trio and anyio's plugin.

    It yields inside of a task group, which is safe here: the tasks do not raise, and no cancel scope around the yield
    is cancelled, because the deadline is around the test and not around the fixture.
    """
    from .client import AsyncTestClient

    async with AsyncTestClient(app, deadline=None) as client:
        yield client


async def _open_client_in_a_task(
    request: pytest.FixtureRequest, kui_backend: Backend, app: Any
) -> AsyncGenerator[Any, None]:
    """`kui_client`, as a fixture for pytest-asyncio, which begins and ends a fixture in different tasks.

    A task group must be left in the task that has entered it, so the client is open in a task of its own.
    """
    import asyncio

    from .client import AsyncTestClient

    client = AsyncTestClient(app, deadline=None)
    opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def hold() -> None:
        async with client:
            opened.set_result(None)
            await over.wait()

    task = asyncio.ensure_future(hold())
    await asyncio.wait([task, opened], return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()  # raises what the app has raised at its start-up
    try:
        yield client
    finally:
        over.set()
        await task


# ---- what cannot work


def _refuse_two_runners(request: pytest.FixtureRequest) -> None:
    """Fail with a hint if pytest-asyncio also runs a test that another plugin must run."""
    runner = _runner_of(request)
    if runner in ("trio", "anyio") and _is_for_pytest_asyncio(request.node):
        pytest.fail(
            f"pytest-asyncio takes this test away from {_PLUGINS[runner]}: set asyncio_mode = strict in "
            "pytest's configuration, and leave mark.asyncio away",
            pytrace=False,
        )
    if runner == "asyncio" and getattr(request, "param", "asyncio") != "asyncio":
        pytest.fail(
            "pytest-asyncio runs this test on asyncio only: set asyncio_mode = strict in pytest's "
            "configuration, and leave mark.asyncio away, so that kui.testing runs it",
            pytrace=False,
        )


_PLUGINS = {"trio": "pytest-trio", "anyio": "anyio's plugin"}


def _is_left_alone(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> bool:
    """True if a test uses an async fixture that no plugin runs."""
    return (
        "kui_backend" in request.fixturenames
        and (
            inspect.iscoroutinefunction(fixturedef.func)
            or inspect.isasyncgenfunction(fixturedef.func)
        )
        and _runner_of(request) == "kui"
    )


def _refuse_async_fixture(name: str, /, **_: object) -> None:
    """Fail with a hint, as the fixture's function: pytest does not clean up after what fails before it."""
    pytest.fail(
        f"the fixture {name!r} is async: write @pytest.mark.anyio above the test, or set "
        "anyio_mode = auto in pytest's configuration, and anyio's plugin runs both, on both loops",
        pytrace=False,
    )


# ---- the hooks


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test on both loops, if no other plugin or fixture chooses the loop."""
    if "kui_backend" not in metafunc.fixturenames or "anyio_backend" in metafunc.fixturenames:
        return
    # There is no public way to ask if a fixture is overridden; such a fixture chooses the loop.
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
    runner = _runner(metafunc.function, node, list(metafunc.fixturenames))
    if runner not in ("trio", "asyncio"):
        metafunc.parametrize("kui_backend", ["asyncio", "trio"], indirect=True)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    """Choose the function of `kui_client` that the plugin which runs the test accepts."""
    original = fixturedef.func
    if _is_left_alone(fixturedef, request):
        refuse = functools.partial(_refuse_async_fixture, fixturedef.argname)
        fixturedef.func = refuse  # type: ignore[misc]  # declared final, and there is no other way
    elif fixturedef.argname == "kui_client" and original.__module__ == __name__:
        runner = _runner_of(request)
        if runner in ("anyio", "trio"):
            fixturedef.func = _open_client  # type: ignore[misc]  # as above
        elif runner == "asyncio":
            fixturedef.func = _for_pytest_asyncio()  # type: ignore[misc]  # as above
    try:
        return (yield)
    finally:
        fixturedef.func = original  # type: ignore[misc]  # as above


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Wrap an async test in its deadline."""
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


@functools.cache
def _for_pytest_asyncio() -> Callable[..., AsyncGenerator[Any, None]]:
    """Return the fixture function, marked so that pytest-asyncio accepts it in each of its modes."""
    import pytest_asyncio

    pytest_asyncio.fixture(_open_client_in_a_task)  # marks it
    return _open_client_in_a_task


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
    """Run an async test that no other plugin runs."""
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
