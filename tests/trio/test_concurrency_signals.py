"""Signals reach the app under trio; the rest of it is the same on both loops: tests/concurrency/test_signals.py."""

from __future__ import annotations

import os
import signal

import pytest
import trio

from kui.concurrency import chained_signals


@pytest.mark.trio
async def test_a_signal_is_noticed_in_the_loop_and_the_server_gets_it_too(servers) -> None:
    noticed = trio.Event()
    with chained_signals(noticed.set) as chained:
        assert chained
        os.kill(os.getpid(), signal.SIGTERM)
        with trio.fail_after(5):
            await noticed.wait()
    assert servers == [signal.SIGTERM]


@pytest.mark.trio
async def test_trios_own_handler_of_ctrl_c_is_chained_and_still_interrupts() -> None:
    noticed = trio.Event()
    with pytest.raises(KeyboardInterrupt), chained_signals(noticed.set):
        os.kill(os.getpid(), signal.SIGINT)
        await trio.sleep(5)
    with trio.fail_after(5):
        await noticed.wait()
