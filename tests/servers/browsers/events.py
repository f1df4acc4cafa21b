"""The app of `test_event_source.py`: a page that listens to a hundred events, and says what it has heard."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio

from kui.asgi import HTMLResponse, Kui, SendEventResponse, request
from tests.servers.apps import say

__all__ = ["COUNT", "NAMES", "app", "make_event"]

COUNT = 100
NAMES = ("message", "news", "déjà vu")

PAGE = """<!doctype html>
<meta charset="utf-8">
<script>
  const heard = [], lost = [];
  const source = new EventSource("/events" + location.search);
  for (const name of %r)
    source.addEventListener(name, event => heard.push([event.lastEventId, event.type, event.data]));
  source.onerror = () => lost.push([heard.length, source.readyState]);
</script>
"""

app = Kui()


def make_event(number: int) -> dict[str, Any]:
    """Lines of both kinds, an empty one within, and one at the end."""
    event: dict[str, Any] = {
        "id": number,
        "data": f"event {number}\n\r\n: of {COUNT} - {'✓' * number}\n",
    }
    name = NAMES[number % len(NAMES)]
    if name != "message":
        event["event"] = name
    if number == 1:
        event["retry"] = 50
    return event


@app.router.http.get("/")
async def page() -> HTMLResponse:
    return HTMLResponse(PAGE % list(NAMES))


@app.router.http.get("/events")
async def events() -> SendEventResponse:
    last = request.headers.get("last-event-id")
    say("resumes after", last)
    return SendEventResponse(feed(int(last or 0), int(request.query_params.get("fail_after", 0))))


async def feed(last: int, fail_after: int) -> AsyncIterator[dict[str, Any]]:
    for number in range(last + 1, COUNT + 1):
        yield make_event(number)
        if last < number == fail_after:
            await failure.wait()
            raise LookupError("the source of the events is gone")
    await anyio.sleep_forever()


failure = anyio.Event()


@app.router.http.post("/fail")
async def fail() -> str:
    failure.set()
    return "it will"
