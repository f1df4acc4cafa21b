"""A request that is over leaves nothing that only the garbage collector could find."""

from __future__ import annotations

import gc
from contextlib import AsyncExitStack

import pytest

from benchmarks.cases import CASES, Case
from benchmarks.worker import Sites

pytestmark = pytest.mark.anyio

HTTP = [case for case in CASES.values() if not case.websocket and len(b"".join(case.body)) < 2**20]


@pytest.mark.parametrize("case", HTTP, ids=lambda case: str(case.name))
async def test_what_a_request_has_made_goes_with_it(case: Case) -> None:
    async with AsyncExitStack() as stack:
        client = await Sites("kui", stack).client(case)
        await client.check()
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            await client.time(3)
            gc.collect()
            left = [type(each) for each in gc.garbage]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
    assert [kind for kind in left if kind.__module__.partition(".")[0] == "kui"] == []
