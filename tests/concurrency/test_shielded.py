"""`shielded`: cleanup that no outer scope cancels, for a bounded time."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from kui.asgi import shielded

pytestmark = pytest.mark.anyio


async def test_an_outer_cancellation_waits_for_the_block() -> None:
    done: list[str] = []
    with anyio.CancelScope() as outer:
        outer.cancel()
        with shielded(5) as cleanup:
            await anyio.sleep(1)
            done.append("cleaned up")
        assert not cleanup.cancelled_caught
        await anyio.lowlevel.checkpoint()
        done.append("went on")
    assert done == ["cleaned up"]


async def test_what_overruns_is_cut_off_and_named(caplog) -> None:
    with shielded(1) as cleanup:
        await anyio.sleep(2)
    assert cleanup.cancelled_caught
    assert "test_what_overruns_is_cut_off_and_named took longer than 1 s" in caplog.text
    with shielded(1, "The pool of tests"):
        await anyio.sleep(2)
    assert "The pool of tests took longer" in caplog.text


async def test_what_the_block_raises_is_raised() -> None:
    with pytest.raises(KeyError), shielded():
        raise KeyError


async def test_no_time_is_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        shielded(0)
