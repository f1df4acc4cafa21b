"""The one stream of a page: what the server is running, and a chart that goes on where it was cut."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator
from itertools import count
from typing import Any, NamedTuple

import anyio

from kui.asgi import HTTPException, HttpResponse, HttpRoute, Kui, SendEventResponse, request

from .activity import Activity

__all__ = ["Readings", "live", "measure", "routes"]

INTERVAL = 0.25
"""Seconds between two readings."""
KEPT = 400
"""Readings that are kept for pages that come back."""


class Reading(NamedTuple):
    id: int
    late: float
    """Milliseconds between the time a sleep asked for and the time the loop woke it."""


class Readings:
    """The last readings, and the tabs whose stream was asked to be cut."""

    def __init__(self) -> None:
        self.kept: deque[Reading] = deque(maxlen=KEPT)
        self.cut: set[str] = set()
        self.ids = count(1)


async def measure(readings: Readings, activity: Activity) -> None:
    """Note how late the event loop wakes a sleeper, for as long as the app lives."""
    while True:
        begun = anyio.current_time()
        await anyio.sleep(INTERVAL)
        late = (anyio.current_time() - begun - INTERVAL) * 1000
        readings.kept.append(Reading(next(readings.ids), round(max(late, 0.0), 2)))
        activity.tell()


def tab_of_request() -> str:
    """Return the name that the page has given to its tab; 400 where there is none."""
    tab = request.query_params.get("tab", "")
    if not (0 < len(tab) <= 20 and tab.isalnum() and tab.isascii()):
        raise HTTPException(400, content="Name the tab: ?tab=, letters and digits, at most 20.")
    return tab


async def live() -> HttpResponse:
    seen = request.headers.get("last-event-id", "0")
    last = int(seen) if seen.isdecimal() and len(seen) < 16 else 0
    return SendEventResponse(story(request.app, tab_of_request(), last), ping_interval=3)


async def story(app: Kui, tab: str, last: int) -> AsyncGenerator[dict[str, Any], None]:
    activity, readings = app.state.activity, app.state.readings
    with activity.running("event stream", "this page", tab=tab):
        yield {"retry": 1000, "event": "hello", "data": app.state.server}
        version = -1
        while tab not in readings.cut:
            news = activity.news
            if version != activity.version:
                version = activity.version
                yield {"event": "activity", "data": activity.snapshot()}
            missed = [reading for reading in readings.kept if reading.id > last]
            if missed:
                last = missed[-1].id
                yield {"event": "readings", "id": last, "data": missed}
            await news.wait()
        readings.cut.discard(tab)


async def cut() -> tuple[str, int]:
    tab = tab_of_request()
    if any(entry.tab == tab for entry in request.app.state.activity.entries.values()):
        request.app.state.readings.cut.add(tab)
        request.app.state.activity.tell()
    return "", 204


routes = [
    HttpRoute("/live", live, methods=["GET"], name="live"),
    HttpRoute("/live/cut", cut, methods=["POST"], name="cut"),
]
