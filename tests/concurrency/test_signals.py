"""How the app learns that the server stops."""

from __future__ import annotations

import os
import signal
import threading

import anyio
import anyio.lowlevel
import pytest

from kui.concurrency import ExitSignal, chained_signals

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_it_is_not_set_before_set_is_called() -> None:
    exit_signal = ExitSignal()
    assert not exit_signal.is_set
    exit_signal.set()
    exit_signal.set()
    assert exit_signal.is_set


async def test_listeners_are_called_once_and_late_ones_at_once() -> None:
    exit_signal = ExitSignal()
    called: list[str] = []
    exit_signal.listen(lambda: called.append("early"))
    exit_signal.set()
    exit_signal.set()
    exit_signal.listen(lambda: called.append("late"))
    assert called == ["early", "late"]


async def test_who_no_longer_listens_is_not_called() -> None:
    exit_signal = ExitSignal()
    called: list[str] = []

    def listener() -> None:
        called.append("called")

    exit_signal.listen(listener)
    exit_signal.unlisten(listener)
    exit_signal.unlisten(listener)
    exit_signal.set()
    assert called == []


async def test_those_who_wait_go_on() -> None:
    exit_signal = ExitSignal()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(exit_signal.wait)
        tasks.start_soon(exit_signal.wait)
        await anyio.wait_all_tasks_blocked()
        exit_signal.set()
    await exit_signal.wait()


async def test_it_can_begin_anew() -> None:
    exit_signal = ExitSignal()
    exit_signal.set()
    exit_signal.clear()
    assert not exit_signal.is_set
    with anyio.move_on_after(0) as scope:
        await exit_signal.wait()
    assert scope.cancelled_caught


# Signals.


# anyio's plugin runs trio in another thread, where no signal arrives: tests/trio has that loop's test.
in_main_thread = pytest.mark.parametrize("anyio_backend", ["asyncio"])


@in_main_thread
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_is_noticed_in_the_loop_and_the_server_gets_it_too(servers, number) -> None:
    noticed = anyio.Event()
    with chained_signals(noticed.set) as chained:
        assert chained
        os.kill(os.getpid(), number)
        with anyio.fail_after(5):
            await noticed.wait()
    assert servers == [number]


@in_main_thread
async def test_the_servers_handler_is_put_back(servers) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with chained_signals(lambda: None):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


@in_main_thread
async def test_it_is_not_put_back_over_another_one(servers) -> None:
    def another(number: int, frame: object) -> None: ...

    with chained_signals(lambda: None):
        signal.signal(signal.SIGTERM, another)
    assert signal.getsignal(signal.SIGTERM) is another


@in_main_thread
@pytest.mark.parametrize("handler", [signal.SIG_DFL, signal.SIG_IGN])
async def test_where_no_handler_is_installed_there_is_nothing_to_chain(servers, handler) -> None:
    signal.signal(signal.SIGTERM, handler)
    signal.signal(signal.SIGINT, handler)
    with chained_signals(lambda: None) as chained:
        assert not chained
        assert signal.getsignal(signal.SIGTERM) is handler


def test_outside_of_the_main_thread_nothing_is_touched(servers) -> None:
    before = signal.getsignal(signal.SIGTERM)
    found: list[object] = []

    async def main() -> None:
        with chained_signals(lambda: None) as chained:
            found.extend([chained, signal.getsignal(signal.SIGTERM)])

    thread = threading.Thread(target=anyio.run, args=[main])
    thread.start()
    thread.join()
    assert found == [False, before]
