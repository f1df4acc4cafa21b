"""What `docs/streams.md` prints works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from kui.asgi import Kui
from kui.testing import AsyncTestClient
from tests.support.clocks import anyio_backend  # noqa: F401 - a fixture

pytestmark = pytest.mark.anyio

PAGE = Path(__file__).parents[3] / "docs" / "streams.md"


def printed(path: str) -> Kui:
    """The app of the example that has this path."""
    for source in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        if f'"{path}"' in source:
            names: dict[str, Any] = {"__name__": "example"}
            exec(compile(source, str(PAGE), "exec"), names)
            assert isinstance(names["app"], Kui)
            return names["app"]
    raise AssertionError(f"no example has {path}")


async def test_a_subscriber_who_comes_back_misses_nothing() -> None:
    async with AsyncTestClient(printed("/news")) as client:
        async with client.events("/news") as events:
            await client.post("/news", content="one\ntwo")
            event = await events.receive()
            assert (event.id, event.event, event.data) == ("1", "news", "one\ntwo")
        await client.post("/news", content="three")
        await client.post("/news", content="four")
        async with client.events("/news", last_event_id="1") as events:
            assert [(await events.receive()).data for _ in range(2)] == ["three", "four"]


async def test_two_tasks_send_into_one_stream() -> None:
    async with AsyncTestClient(printed("/prices")) as client, client.events("/prices") as events:
        seen = [(event.event, event.data) async for event in events]
    assert [data for metal, data in seen if metal == "gold"] == ["4100", "4101", "4102"]
    assert [data for metal, data in seen if metal == "silver"] == ["51", "52", "53"]
