"""The pytest plugin, seen from a test suite: alone, with pytest-trio and with anyio's plugin, and all at once."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest_plugins = ["pytester"]

CONFTEST = """
    import pytest

    async def serve(scope, receive, send):
        import trio
        loop = b"trio" if trio.lowlevel.in_trio_run() else b"asyncio"
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["path"] == "/fails":
            raise KeyError("a")
        elif scope["path"] == "/hangs":
            import anyio
            await anyio.sleep_forever()
        else:
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": loop})

    @pytest.fixture
    def app():
        return serve
"""


@pytest.fixture(autouse=True)
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pytester.makeconftest(CONFTEST)
    # It warns where it is not configured, and most suites do not have it.
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:asyncio")
    pytester.makeini("[pytest]\nfilterwarnings = error\n")


def outcomes(pytester: pytest.Pytester, source: str, *arguments: str, **counts: int) -> list[str]:
    """The ids of the tests that passed."""
    pytester.makepyfile(source)
    result = pytester.runpytest("-v", "-p", "no:cacheprovider", *arguments)
    result.assert_outcomes(**counts)
    return [
        line.partition("::")[2].partition(" ")[0] for line in result.outlines if " PASSED" in line
    ]


def test_an_async_test_needs_no_marker(pytester: pytest.Pytester) -> None:
    passed = outcomes(
        pytester,
        """
        from kui.testing import AsyncTestClient

        async def test_it(kui_client, kui_backend):
            assert isinstance(kui_client, AsyncTestClient)
            assert (await kui_client.get("/")).text == kui_backend
        """,
        passed=2,
    )
    assert passed == ["test_it[asyncio]", "test_it[trio]"]


def test_a_test_that_is_not_async_has_a_client_that_is_not(pytester: pytest.Pytester) -> None:
    passed = outcomes(
        pytester,
        """
        from kui.testing import TestClient

        def test_it(kui_client, kui_backend):
            assert isinstance(kui_client, TestClient)
            assert kui_client.get("/").text == kui_backend
        """,
        passed=2,
    )
    assert passed == ["test_it[asyncio]", "test_it[trio]"]


def test_under_pytest_trio_a_test_runs_once(pytester: pytest.Pytester) -> None:
    passed = outcomes(
        pytester,
        """
        import pytest
        import trio

        @pytest.fixture
        async def logged_in(kui_client, nursery):
            await kui_client.get("/")
            return kui_client

        @pytest.mark.trio
        async def test_it(logged_in, kui_backend, autojump_clock):
            await trio.sleep(1000)
            assert (await logged_in.get("/")).text == kui_backend == "trio"
        """,
        passed=1,
    )
    assert passed == ["test_it"]


def test_in_trio_mode_too(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nfilterwarnings = error\ntrio_mode = true\n")
    passed = outcomes(
        pytester,
        """
        async def test_it(kui_client, kui_backend):
            assert (await kui_client.get("/")).text == kui_backend == "trio"
        """,
        passed=1,
    )
    assert passed == ["test_it"]


def test_an_app_that_is_made_by_an_async_fixture(pytester: pytest.Pytester) -> None:
    outcomes(
        pytester,
        """
        import anyio
        import pytest

        @pytest.fixture
        async def app(app):
            await anyio.sleep(0)
            return app

        @pytest.mark.trio
        async def test_trio(kui_client):
            assert (await kui_client.get("/")).text == "trio"

        @pytest.mark.anyio
        async def test_anyio(kui_client, anyio_backend):
            assert (await kui_client.get("/")).text == anyio_backend
        """,
        passed=3,
    )


def test_under_anyios_plugin_a_test_runs_on_its_backends(pytester: pytest.Pytester) -> None:
    passed = outcomes(
        pytester,
        """
        import pytest

        pytestmark = pytest.mark.anyio

        @pytest.fixture
        async def logged_in(kui_client):
            await kui_client.get("/")
            return kui_client

        async def test_it(logged_in, kui_backend, anyio_backend):
            assert (await logged_in.get("/")).text == kui_backend == anyio_backend

        def test_that_is_not_async(kui_client, kui_backend):
            assert kui_client.get("/").text == kui_backend
        """,
        passed=4,
    )
    assert sorted(passed) == [
        "test_it[asyncio]",
        "test_it[trio]",
        "test_that_is_not_async[asyncio]",
        "test_that_is_not_async[trio]",
    ]


def test_all_three_in_one_module(pytester: pytest.Pytester) -> None:
    passed = outcomes(
        pytester,
        """
        import pytest

        async def test_kui(kui_client):
            await kui_client.get("/")

        @pytest.mark.trio
        async def test_trio(kui_client):
            await kui_client.get("/")

        @pytest.mark.anyio
        async def test_anyio(kui_client):
            await kui_client.get("/")
        """,
        passed=5,
    )
    assert "test_trio" in passed


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_suite_says_on_which_loop_it_runs(pytester: pytest.Pytester, backend: str) -> None:
    passed = outcomes(
        pytester,
        f"""
        import pytest
        from kui.testing import virtual_clock

        @pytest.fixture
        def kui_backend():
            return virtual_clock("{backend}")

        async def test_it(kui_client):
            import anyio
            await anyio.sleep(10000)
            assert (await kui_client.get("/")).text == "{backend}"

        def test_that_is_not_async(kui_client):
            assert kui_client.get("/").text == "{backend}"
        """,
        passed=2,
    )
    assert passed == ["test_it", "test_that_is_not_async"]


def test_a_test_says_on_which_loop_it_runs(pytester: pytest.Pytester) -> None:
    outcomes(
        pytester,
        """
        import pytest

        @pytest.mark.parametrize("kui_backend", ["trio"], indirect=True)
        async def test_it(kui_client):
            assert (await kui_client.get("/")).text == "trio"

        @pytest.mark.parametrize("other, kui_backend", [(1, "trio")])
        async def test_other(kui_client, other):
            assert (await kui_client.get("/")).text == "trio"
        """,
        passed=2,
    )


def test_without_the_other_plugins(pytester: pytest.Pytester) -> None:
    source = """
        async def test_it(kui_client, kui_backend):
            assert (await kui_client.get("/")).text == kui_backend

        class TestClass:
            async def test_method(self, kui_client):
                await kui_client.get("/")
    """
    outcomes(pytester, source, "-p", "no:trio", "-p", "no:anyio", passed=4)


@pytest.fixture(params=["strict"])
def asyncio_mode(
    request: pytest.FixtureRequest, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pytest-asyncio is there, in this mode."""
    monkeypatch.delenv("PYTEST_ADDOPTS")
    lines = f"asyncio_mode = {request.param}\nasyncio_default_fixture_loop_scope = function\n"
    pytester.makeini(f"[pytest]\nfilterwarnings = error\n{lines}")


in_auto_mode = pytest.mark.parametrize("asyncio_mode", ["auto"], indirect=True)


@in_auto_mode
@pytest.mark.usefixtures("asyncio_mode")
def test_beside_pytest_asyncio_in_auto_mode(pytester: pytest.Pytester) -> None:
    passed = outcomes(
        pytester,
        """
        import asyncio

        import pytest
        from kui.testing import AsyncTestClient, TestClient

        @pytest.fixture
        async def token(kui_client):
            await asyncio.sleep(0)
            yield (await kui_client.get("/")).text
            await kui_client.get("/")

        async def test_it(kui_client, token, kui_backend):
            assert isinstance(kui_client, AsyncTestClient)
            await asyncio.sleep(0)
            assert (await kui_client.get("/")).text == token == kui_backend == "asyncio"

        async def test_without_a_fixture_of_ours():
            await asyncio.sleep(0)

        async def test_an_exception_of_the_app(kui_client):
            with pytest.raises(KeyError):
                await kui_client.get("/fails")

        def test_that_is_not_async(kui_client):
            assert isinstance(kui_client, TestClient)
        """,
        passed=5,
    )
    assert passed[0] == "test_it"


@pytest.mark.usefixtures("asyncio_mode")
def test_beside_pytest_asyncio_in_strict_mode(pytester: pytest.Pytester) -> None:
    passed = outcomes(
        pytester,
        """
        import pytest
        import pytest_asyncio

        @pytest_asyncio.fixture
        async def token(kui_client):
            return (await kui_client.get("/")).text

        @pytest.mark.asyncio
        async def test_asyncio(kui_client, token):
            assert (await kui_client.get("/")).text == token == "asyncio"

        async def test_kui(kui_client):
            await kui_client.get("/")

        @pytest.mark.anyio
        async def test_anyio(kui_client):
            await kui_client.get("/")
        """,
        passed=5,
    )
    assert "test_asyncio" in passed


@in_auto_mode
@pytest.mark.usefixtures("asyncio_mode")
@pytest.mark.parametrize(("mark", "plugin"), [("trio", "pytest-trio"), ("anyio", "anyio's plugin")])
def test_what_pytest_asyncio_takes_away_from_others_is_told(
    pytester: pytest.Pytester, mark: str, plugin: str
) -> None:
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.mark.{mark}
        async def test_it(kui_client):
            await kui_client.get("/")
        """
    )
    result = pytester.runpytest("-p", "no:cacheprovider")
    line = f"*pytest-asyncio takes this test away from {plugin}: set asyncio_mode = strict*"
    result.stdout.fnmatch_lines([line])


@in_auto_mode
@pytest.mark.usefixtures("asyncio_mode")
def test_a_loop_that_pytest_asyncio_does_not_have_is_told(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("kui_backend", ["trio"], indirect=True)
        async def test_it(kui_client):
            await kui_client.get("/")
        """
    )
    result = pytester.runpytest("-p", "no:cacheprovider")
    result.stdout.fnmatch_lines(["*runs this test on asyncio only: set asyncio_mode = strict*"])


TOKEN = """
    import pytest

    @pytest.fixture
    async def token(kui_client):
        return (await kui_client.get("/")).text

    async def test_it(kui_client, token, kui_backend):
        assert (await kui_client.get("/")).text == token == kui_backend
"""


def test_in_anyios_auto_mode(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nfilterwarnings = error\nanyio_mode = auto\n")
    passed = outcomes(pytester, TOKEN, passed=2)
    assert sorted(passed) == ["test_it[asyncio]", "test_it[trio]"]


def test_an_async_fixture_that_nothing_runs_is_told_what_to_set(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TOKEN)
    result = pytester.runpytest("-p", "no:cacheprovider")
    line = "*the fixture 'token' is async: write @pytest.mark.anyio above the test, or*"
    result.stdout.fnmatch_lines([line, line])  # on both loops
    result.assert_outcomes(errors=2)


RUNNERS = ["", "@pytest.mark.trio", "@pytest.mark.anyio"]


@pytest.mark.parametrize("marker", RUNNERS)
def test_every_async_test_has_a_deadline(pytester: pytest.Pytester, marker: str) -> None:
    pytester.makeini("[pytest]\nkui_deadline = 1\n")
    pytester.makepyfile(
        f"""
        import anyio
        import pytest

        {marker}
        async def test_it(kui_client):
            await kui_client.get("/hangs")
        """
    )
    result = pytester.runpytest()
    result.stdout.fnmatch_lines(["*test took longer than 1 s: GET /hangs: the app is in serve*"])
    assert "passed" not in result.stdout.str()
    assert "error" not in result.stdout.str().splitlines()[-1]


@pytest.mark.parametrize("marker", RUNNERS)
def test_an_exception_of_the_app_is_raised_in_the_test(
    pytester: pytest.Pytester, marker: str
) -> None:
    outcomes(
        pytester,
        f"""
        import pytest

        {marker}
        async def test_it(kui_client):
            with pytest.raises(KeyError):
                await kui_client.get("/fails")
        """,
        passed=1 if "trio" in marker else 2,
    )


def test_a_parameter_of_the_app_is_one_of_the_test(pytester: pytest.Pytester) -> None:
    outcomes(
        pytester,
        """
        import pytest

        @pytest.fixture(params=[1, 2])
        def app(request, app):
            return app

        async def test_it(kui_client):
            await kui_client.get("/")
        """,
        passed=4,
    )


def test_the_plugin_imports_nothing_of_kui_by_itself() -> None:
    code = (
        "import sys, kui.testing.plugin;"
        "print([name for name in sys.modules if name.startswith(('kui', 'httpx2', 'anyio', 'trio'))])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert shown.strip() == "['kui', 'kui.testing', 'kui.testing.plugin']"


def test_without_httpx2_there_are_no_fixtures(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def test_it(kui_client):
            pass
        """
    )
    pytester.makepyfile(
        nohttpx2="""
        import importlib.util

        find = importlib.util.find_spec
        importlib.util.find_spec = lambda name, *rest: None if name == "httpx2" else find(name, *rest)
        """
    )
    result = pytester.runpytest_subprocess("-p", "nohttpx2")
    result.stdout.fnmatch_lines(["*fixture 'kui_client' not found*"])
