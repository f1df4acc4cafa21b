"""What the benchmarks ask, Kui and the bare functions answer; how long that takes is not looked at."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from benchmarks.cases import CASES, Case
from benchmarks.driver import WrongAnswer
from benchmarks.worker import Sites

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("framework", ["kui", "bare"])
@pytest.mark.parametrize("case", CASES.values(), ids=lambda case: str(case.name))
async def test_a_case_is_answered_as_it_should_be(case: Case, framework: str) -> None:
    async with AsyncExitStack() as stack:
        client = await Sites(framework, stack).client(case)
        await client.check()
        assert await client.time(1) > 0


async def test_a_wrong_answer_is_not_measured() -> None:
    async with AsyncExitStack() as stack:
        sites = Sites("bare", stack)
        client = await sites.client(CASES["stream-1"])
        client.app = (await sites.client(CASES["plain"])).app
        with pytest.raises(WrongAnswer):
            await client.check()
        client.app = (await sites.client(CASES["missing"])).app
        with pytest.raises(WrongAnswer):
            await client.time(1)
