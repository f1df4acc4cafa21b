"""What the benchmarks ask, Kui and the bare functions answer; how long that takes is not looked at."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.calls import Figures
from benchmarks.cases import CASES, Case
from benchmarks.chart import chart
from benchmarks.driver import Client, WrongAnswer, lifespan
from benchmarks.frameworks import FRAMEWORKS
from benchmarks.frameworks.kui_ import build
from benchmarks.loads import Load
from benchmarks.parts import CANCELLING, HANDLERS, PARTS, parts_tables
from benchmarks.passages import REQUESTS, counted
from benchmarks.plain import BETWEEN, plain_tables, steps
from benchmarks.publish import dumps
from benchmarks.report import as_json, tables, targets_table
from benchmarks.sockets import PLAIN, WAYS, Sockets, Way, serving
from benchmarks.sockets import tables as sockets_tables
from benchmarks.targets import verdicts
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


async def test_each_part_of_the_other_profiles_still_runs() -> None:
    text = await parts_tables(count=1, rounds=1)
    handlers = [title for does in HANDLERS.values() for _, title in does]
    assert all(title in text for title in [*(part.title for part in PARTS), *handlers, *CANCELLING])
    assert text.count("| Kui ") == 2


async def test_each_step_to_a_plain_request_gives_the_whole_answer() -> None:
    app = build("main")
    async with lifespan(app):
        for _, each in steps(app):
            await Client(each, CASES["plain"], {}).check()
    text = await plain_tables(count=1, rounds=1)
    assert all(title in text for title in [*(title for title, _ in steps(app)), *BETWEEN])


@pytest.fixture
def figures() -> Figures:
    """Kui takes 2 microseconds, its peers 3, 4, ..., and the bare function 1."""
    order = ["bare", "kui", "blacksheep", *(name for name in FRAMEWORKS)]
    took = {
        (name, loop): [order.index(name) + 1.0] * 3
        for name, framework in FRAMEWORKS.items()
        for loop in framework.loops
    }
    return Figures({"plain": dict(took), "missing": dict(took)})


def test_a_framework_that_has_one_loop_is_beside_kui_on_both(figures: Figures) -> None:
    found = {(each.case, each.loop, each.beside): each for each in verdicts(figures)}
    for loop in ("asyncio", "trio"):
        assert found["missing", loop, "best"].got == 1.5
        assert found["missing", loop, "best"].reached
        assert found["plain", loop, "bare"].reached
    assert "**not reached**" not in targets_table(figures)
    slow = Figures({"json": figures.rounds["plain"]})
    assert not any(each.reached for each in verdicts(slow))
    assert "0.50 **not reached**" in targets_table(slow)


def test_the_tables_tell_calls_a_second_and_ratios(figures: Figures) -> None:
    found = dict(tables(figures))
    assert set(found) == {"asyncio", "trio"}
    for text in found.values():
        row = next(line for line in text.splitlines() if "404" in line)
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[:3] == ["404", "1.00 M", "500 k"]
        assert cells[-2:] == ["0.50", "1.50 (BlackSheep)"]


def test_the_figures_are_json_and_the_chart_is_xml(figures: Figures) -> None:
    document = json.loads(dumps(as_json(figures), 4))
    assert document["cases"]["plain"]["trio"]["kui"]["to_bare"] == 0.5
    drawing = ElementTree.fromstring(chart(figures))
    dots = [each for each in drawing.iter() if each.tag.endswith("circle")]
    measured_dots = len(figures.rounds) * (len(figures.rounds["plain"]) - 2)
    assert len(dots) == measured_dots + len(FRAMEWORKS) - 1


def test_what_was_measured_over_sockets_is_shown_for_each_way_to_ask() -> None:
    slow = Load(1000.0, 900.0, 2000.0, cost=80.0, answers=1000)
    fast = Load(2000.0, 400.0, 900.0, cost=40.0, answers=2000)
    measured = Sockets(
        {
            (server, app, way): [slow if app == "kui" else fast] * 3
            for server in ("kui run, trio", "uvicorn")
            for app in ("bare", "kui")
            for way in WAYS
        }
    )
    text = sockets_tables(measured)
    rows = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in row] for row in rows]
    assert ["kui run, trio", *["1.00 k"] * len(PLAIN)] in cells
    for way in WAYS:
        assert [str(way), "40 / 80", "40 / 80"] in cells
    assert ["kui run, trio: plain text", "0.85", "0.50 **not reached**"] in cells
    assert ["kui run, asyncio: HTTP/2 beside hypercorn", "3", "-"] in cells


@pytest.mark.parametrize("work", ["chunked-in", "websocket", "http2"])
def test_a_server_is_asked_and_its_time_is_counted(work: str) -> None:
    with serving("kui run, asyncio", "bare") as served:
        load = served.ask(Way(2, work=work), seconds=1)
    assert load.answers > 0 and load.rate > 0
    assert load.cost > 0 or not Path("/proc").exists()


async def test_a_request_is_followed_through_the_modules_of_kui() -> None:
    found = await counted()
    assert set(found) == set(REQUESTS)
    for passages in found.values():
        assert passages.count >= len(passages.modules) > 1
