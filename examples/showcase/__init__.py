"""A page on which each thing is seen at work: `python3 tasks.py serve`, or `kui run examples.showcase:app`.

activity.py    what the server is running now
live.py        the one event stream of a page: that list, and a chart
chat.py        a WebSocket
transfers.py   an upload and a download
work.py        an answer that streams, a computation that is cancelled
source.py      the code on the page
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import sniffio
from anyio import to_thread

from kui.asgi import (
    Files,
    HttpResponse,
    HttpRoute,
    Jinja2Templates,
    Kui,
    Mount,
    TemplateResponse,
)

from . import chat, live, transfers, work
from .activity import Activity
from .source import highlighted

__all__ = ["app"]

CODE = {
    "live": highlighted(live.live, live.story),
    "activity": highlighted(Activity.running),
    "chat": highlighted(chat.chat),
    "upload": highlighted(transfers.upload),
    "download": highlighted(transfers.download),
    "assistant": highlighted(work.assistant),
    "primes": highlighted(work.count_primes),
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def server_name() -> str:
    """Return the event loop and the server that run the app, as the badge shows them."""
    loop = sniffio.current_async_library()
    if loop == "asyncio" and "uvloop" in sys.modules:
        loop = "uvloop"
    server = Path(sys.argv[0]).stem
    return f"{loop} · {'kui run' if server in ('kui', '__main__') else server}"


async def life(app: Kui) -> AsyncGenerator[None, None]:
    """Keep what all pages share, for as long as the app lives."""
    app.state.activity = Activity()
    app.state.readings = live.Readings()
    app.state.server = server_name()
    with tempfile.TemporaryDirectory() as directory:
        app.state.file = await to_thread.run_sync(transfers.make_file, directory)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(live.measure, app.state.readings, app.state.activity)
            yield
            tasks.cancel_scope.cancel()


async def index() -> HttpResponse:
    page = TemplateResponse("index.html", {"code": CODE, "server": app.state.server})
    page.headers["content-security-policy"] = POLICY
    return page


app = Kui(
    templates=Jinja2Templates("examples.showcase:templates"),
    lifespan=life,
    routes=[
        HttpRoute("/", index, methods=["GET"], name="index"),
        Mount("/static", Files("examples.showcase:static"), name="static"),
        *live.routes,
        *chat.routes,
        *transfers.routes,
        *work.routes,
    ],
)
