"""What bounds the cases that a profile was asked for: their parts, each measured alone.

A part is code of Kui's with the objects of the case; what it contains of other parts, or the bare
function does as well, is taken off. `python -m benchmarks.parts` prints microseconds, for one loop.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import anyio

from kui.asgi import (
    HTMLResponse,
    Jinja2Templates,
    Kui,
    PlainTextResponse,
    TemplateResponse,
    cancel_on_disconnect,
)
from kui.current import request as proxy
from kui.current import request_var
from kui.forms import parse_urlencoded
from kui.forms.boundaries import BoundaryRepair
from kui.forms.multipart import END, NOTHING, MultipartEvents
from kui.http.json import decode_json
from kui.http.media import RequestHeaders
from kui.http.urls import parse_query
from kui.requests import HttpRequest

from . import driver
from .cases import CASES, MESSAGE, ROWS
from .driver import Client, lifespan
from .files import templates
from .frameworks import bare_
from .frameworks.kui_ import adding, build
from .report import table

__all__ = ["CANCELLING", "HANDLERS", "PARTS", "parts_tables"]


@dataclass(frozen=True)
class Part:
    case: str
    title: str
    code: str
    less: str = "pass"


pages = Jinja2Templates(templates(), enable_async=False)
reads = Kui(templates=pages)


@reads.router.http.post("/nothing")
async def read_nothing() -> str:
    await proxy.exchange.next_chunk()
    return MESSAGE


@reads.router.http.post("/body")
async def read_body() -> str:
    await proxy.body
    return MESSAGE


@reads.router.http.post("/decoded")
async def read_and_decode() -> str:
    decode_json(await proxy.body)
    return MESSAGE


@reads.router.http.post("/json")
async def read_json() -> str:
    await proxy.json
    return MESSAGE


@reads.router.http.post("/parsed")
async def read_and_parse() -> str:
    from multipart import PushMultipartParser  # type: ignore[import-untyped]  # it has no types

    repair = BoundaryRepair(b"frontier", most_head=1 << 14)
    with PushMultipartParser(b"frontier") as parser:
        async for chunk in proxy.stream():
            if repaired := repair.feed(chunk):
                for _ in parser.parse(repaired):
                    pass
        for _ in parser.parse(repair.close()):
            pass
    return MESSAGE


@reads.router.http.post("/events")
async def read_events() -> str:
    events = MultipartEvents(proxy.stream(), proxy.content_type, proxy.limits)
    event = events.send(None)
    while event is not END:
        event = events.send(await events.receive() if event is NOTHING else None)
    return MESSAGE


@reads.router.http.post("/form")
async def read_form() -> str:
    await proxy.form
    return MESSAGE


@reads.router.http.get("/rendered")
async def rendered() -> HTMLResponse:
    return HTMLResponse(pages.get_template("rows.html").render(title="Rows", rows=ROWS))


@reads.router.http.get("/page")
async def page() -> Any:
    return TemplateResponse("rows.html", {"title": "Rows", "rows": ROWS})


@reads.router.http.post("/fields")
async def read_fields() -> str:
    parse_urlencoded(await proxy.body)
    return MESSAGE


@reads.router.http.get("/response")
async def respond() -> PlainTextResponse:
    return PlainTextResponse(MESSAGE)


@reads.router.http.get("/headers")
async def respond_with_headers() -> PlainTextResponse:
    response = PlainTextResponse(MESSAGE)
    for name in ("x-one", "x-two", "x-three"):
        response.headers[name] = "1"
    return response


@reads.router.http.get(
    "/around", middlewares=[adding(name) for name in ("x-one", "x-two", "x-three")]
)
async def around() -> str:
    return MESSAGE


@reads.router.http.get("/scope")
async def in_a_scope() -> str:
    with anyio.CancelScope():  # noqa: ASYNC100 (what it takes is all that is wanted)
        return MESSAGE


@reads.router.http.get("/cancelling", middlewares=[cancel_on_disconnect])
async def cancelling() -> str:
    return MESSAGE


CANCELLING = (
    "a plain request, with the task that it has for itself",
    "a cancel scope of anyio's, the first in its task",
    "the group around the watch, and a look whether the handler waits",
)
_RECEIVED = ("/nothing", "the message is received, by the one reader that a request has")
_BODY = (
    "/body",
    "its length is looked for in the headers, and has a limit; it is read once, however often it is asked for",
)

HANDLERS = {
    "json-in-1k": (
        _RECEIVED,
        _BODY,
        ("/decoded", "msgspec decodes it, which takes the standard library three times as long"),
        ("/json", "the type has to be JSON's; the value is kept for further callers"),
    ),
    "form": (
        _RECEIVED,
        _BODY,
        ("/fields", "its fields are counted and parsed"),
        ("/form", "the type has to be a form's; the mapping is kept for further callers"),
    ),
    "multipart-1k": (
        _RECEIVED,
        ("/parsed", "the parts are found, in a stream"),
        (
            "/events",
            "the type is parsed, limits are held, names are read",
        ),
        (
            "/form",
            "a text, and a file that is closed however the request ends; kept for further callers",
        ),
    ),
    "middlewares": (
        ("/response", "a response object is made where a text would do"),
        ("/headers", "three headers are checked, set and encoded"),
        ("/around", "three functions are awaited, each of which makes sure that it has a response"),
    ),
    "template": (
        ("/rendered", "the template is found and rendered, in the environment that Kui makes"),
        (
            "/page",
            "a response that is rendered while it is sent, where its errors are caught, with `request` and `url_for`",
        ),
    ),
}
"""For each case handlers of which each does more than the one before, and what that is."""

PARTS = (
    Part("parameters", "the path is looked up, and its number converted", "app._endpoint(made)"),
    Part("parameters", "an HttpRequest is made", "HttpRequest(scope, receive, send)"),
    Part(
        "parameters",
        "three attributes are read through the proxy `request`",
        "proxy.method; proxy.method; proxy.method",
        "made.method; made.method; made.method",
    ),
    Part(
        "parameters",
        "the query is parsed, its fields counted before",
        "parse_query(b'color=red&size=4')['color']",
    ),
    Part(
        "parameters",
        "the headers are looked through, and one is decoded",
        "RequestHeaders(raw)['x-token']",
    ),
)


def timed(code: str, names: dict[str, Any]) -> Callable[[int], Awaitable[float]]:
    """A function that runs the code so many times, and returns the seconds that this took."""
    source = (
        f"async def timed(count, *, {', '.join(f'{name}={name}' for name in names)}):\n"
        "    began = perf_counter()\n"
        "    for _ in range(count):\n"
        f"{textwrap.indent(textwrap.dedent(code).strip(), ' ' * 8)}\n"
        "    return perf_counter() - began\n"
    )
    found = {**names, "perf_counter": perf_counter}
    exec(source, found)
    made: Callable[[int], Awaitable[float]] = found["timed"]
    return made


async def _best(
    timers: list[Callable[[int], Awaitable[float]]], count: int, rounds: int
) -> list[float]:
    """Microseconds of each, the best of its rounds."""
    best = [float("inf")] * len(timers)
    for _ in range(rounds):
        best = [min(known, await timer(count)) for known, timer in zip(best, timers, strict=True)]
    return [took / count * 1e6 for took in best]


async def _of_a_request(app: Any, case: str, count: int, rounds: int) -> str:
    client = Client(app, CASES[case], {})
    scope = client.scope()
    scope["app"] = app

    async def give() -> dict[str, Any]:
        raise AssertionError("it has no body")

    async def send(message: object) -> None:
        pass

    made = HttpRequest(scope, give, send)
    token = request_var.set(made)
    names = {
        **{"app": app, "scope": scope, "path": scope["path"], "receive": give, "send": send},
        **{"raw": client.headers, "made": made, "proxy": proxy},
        **{
            "HttpRequest": HttpRequest,
            "RequestHeaders": RequestHeaders,
            "parse_query": parse_query,
        },
    }
    parts = [part for part in PARTS if part.case == case]
    codes = [code for part in parts for code in (part.code, part.less)]
    bare = Client(bare_.APPS[case], CASES[case], {})
    whole, alone, *took = await _best(
        [client.time, bare.time, *(timed(code, names) for code in codes)], count, rounds
    )
    request_var.reset(token)
    each = [one - less for one, less in zip(took[::2], took[1::2], strict=True)]
    rows = [[part.title, f"{one:.1f}"] for part, one in zip(parts, each, strict=True)]
    rest = whole - alone - sum(each)
    rows += [
        ["all else: the calls in between, and what a plain request has", f"{rest:.1f}"],
        ["the bare function", f"{alone:.1f}"],
    ]
    return table([CASES[case].title, "\u00b5s"], [*rows, ["all", f"{whole:.1f}"]])


async def _of_handlers(
    plain: Any, name: str, does: tuple[tuple[str, str], ...], count: int, rounds: int
) -> str:
    case = CASES[name]
    clients = [Client(reads, replace(case, path=path), {}) for path, _ in does]
    clients = [Client(plain, CASES["plain"], {}), *clients, Client(bare_.APPS[name], case, {})]
    *took, alone = await _best([client.time for client in clients], count, rounds)
    titles = ["a plain request", *(title for _, title in does)]
    each = [one - less for one, less in zip(took, [0, *took], strict=False)]
    rows = [[title, f"{one:.1f}"] for title, one in zip(titles, each, strict=True)]
    rows += [["all", f"{took[-1]:.1f}"], ["the bare function, all of it", f"{alone:.1f}"]]
    return table([case.title, "\u00b5s"], rows)


def _in_a_task(app: Any) -> Any:
    """The app with a task for each request, as servers have it: the first scope in a task takes longer."""

    async def in_a_task(*connection: Any) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(app, *connection)

    return in_a_task


async def _of_cancelling(plain: Any, count: int, rounds: int) -> str:
    case = CASES["plain"]
    does = [(plain, case.path), (reads, "/scope"), (reads, "/cancelling")]
    clients = [Client(_in_a_task(app), replace(case, path=path), {}) for app, path in does]
    took = await _best([client.time for client in clients], count, rounds)
    each = [one - less for one, less in zip(took, [0, *took], strict=False)]
    rows = [[title, f"{one:.1f}"] for title, one in zip(CANCELLING, each, strict=True)]
    return table(["`cancel_on_disconnect`", "\u00b5s"], rows)


async def _of_a_stream(app: Any, count: int, rounds: int) -> str:
    rows = []
    for title, one in (("bare ASGI", bare_.APPS), ("Kui", None)):
        few, many = (
            Client(app if one is None else one[case], CASES[case], {})
            for case in ("stream-1", "stream-100")
        )
        first, all_ = await _best([few.time, many.time], max(count // 20, 1), rounds)
        rows.append([title, f"{first:.1f}", f"{(all_ - first) / 99:.2f}"])
    return table(["stream, \u00b5s", "with one chunk", "each further chunk"], rows)


async def _of_a_websocket(app: Any, count: int, rounds: int) -> str:
    rows = []
    echoes = driver.ECHOES
    for title, one in (("bare ASGI", bare_.APPS["websocket"]), ("Kui", app)):
        took = []
        for driver.ECHOES in (0, 1, 101):
            took += await _best(
                [Client(one, CASES["websocket"], {}).time], max(count // 20, 1), rounds
            )
        none, first, many = took
        rows.append([title, f"{none:.1f}", f"{first - none:.1f}", f"{(many - first) / 100:.2f}"])
    driver.ECHOES = echoes
    return table(["WebSocket, \u00b5s", "without an echo", "the first", "each further one"], rows)


async def parts_tables(count: int = 200, rounds: int = 300) -> str:
    """The tables, in Markdown."""
    app = build("main")
    async with lifespan(app):
        return "\n\n".join(
            [
                await _of_a_request(app, "parameters", count, rounds),
                *[
                    await _of_handlers(app, case, does, count // 4 or 1, rounds)
                    for case, does in HANDLERS.items()
                ],
                await _of_cancelling(app, count // 4 or 1, rounds),
                await _of_a_stream(app, count, rounds),
                await _of_a_websocket(app, count, rounds),
            ]
        )


if __name__ == "__main__":
    began = perf_counter()
    print(anyio.run(parts_tables, backend=sys.argv[1] if sys.argv[1:] else "asyncio"))
    print(f"\n{perf_counter() - began:.0f} s", file=sys.stderr)
