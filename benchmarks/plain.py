"""What a plain request takes: step by step, and while other code runs between two of them, as under a server.

Each step is an ASGI app that does what the one before does, and one thing more. `python -m benchmarks.plain` prints
microseconds, for one loop.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable
from fractions import Fraction
from time import perf_counter
from typing import Any

import anyio

from kui.asgi import Kui
from kui.connections import request_var
from kui.http.hosts import AllowedHosts
from kui.http.urls import route_path
from kui.lifetime import lifetime_of
from kui.requests import HttpRequest
from kui.responses.base import HttpResponse

from .cases import CASES, MESSAGE
from .driver import Client, Exchange, lifespan
from .frameworks import bare_
from .frameworks.kui_ import build
from .report import table

__all__ = ["BETWEEN", "plain_tables", "steps"]

START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"13")],
}
LAST = {"type": "http.response.body", "body": MESSAGE.encode()}


def steps(app: Kui) -> list[tuple[str, Any]]:
    """Return an app for each step, with what it adds to the one before; the last is `app`."""
    hosts, routes = AllowedHosts(), app.router.http_routes
    convert = app.response_converter.convert

    def find(request: HttpRequest) -> Any:
        scope = request.scope
        hosts.allow(request.fields, scope["headers"])
        found = routes.search(route_path(scope), scope["method"], scope["headers"])
        assert found is not None
        return found[0]

    def messages(response: HttpResponse) -> Any:
        return response.messages("GET", response.body or b"")

    async def made(scope: Any, receive: Any, send: Any) -> None:
        HttpRequest(scope, receive, send)
        await send(START)
        await send(LAST)

    async def _sent(request: HttpRequest, send: Any) -> None:
        await send(START)
        await send(LAST)

    async def _routed(request: HttpRequest, send: Any) -> None:
        await find(request)()
        await send(START)
        await send(LAST)

    async def _converted(request: HttpRequest, send: Any) -> None:
        start, last = messages(convert(await find(request)()))
        await send(start)
        await send(last)

    async def _exchanged(request: HttpRequest, send: Any) -> None:
        await request.exchange.send_whole(*messages(convert(await find(request)())))

    def living(work: Callable[[HttpRequest, Any], Any]) -> Any:
        async def lives(scope: Any, receive: Any, send: Any) -> None:
            request = HttpRequest(scope, receive, send)
            await lifetime_of(request, request_var, work(request, send))

        return lives

    return [
        ("the bare function", bare_.APPS["plain"]),
        ("a request is made, with its headers by name and the owner of `receive` and `send`", made),
        ("it is the current one until it ends, and is let go of then", living(_sent)),
        ("its Host is checked, its route looked up, its handler awaited", living(_routed)),
        ("a response is made of the text, and its messages", living(_converted)),
        ("they are sent by the owner: states, a limit of time (asyncio)", living(_exchanged)),
        ("the app: requests are counted, exceptions caught, a lifespan, CORS and bodies", app),
    ]


def other_code() -> None:
    """Run some Python of the standard library, as a server runs its own between two requests."""
    Fraction("3/7")
    textwrap.fill("hello world " * 3, 20)


BETWEEN: dict[str, Callable[[], object]] = {
    "nothing": lambda: None,
    "other Python code": other_code,
}
"""What runs between two requests: see `_of_between`."""


async def _of_steps(app: Kui, count: int, rounds: int) -> str:
    titles, apps = zip(*steps(app), strict=True)
    clients = [Client(each, CASES["plain"], {}) for each in apps]
    took: list[list[float]] = [[] for _ in clients]
    for _ in range(rounds):
        for client, seconds in zip(clients, took, strict=True):
            seconds.append(await client.time(count) / count * 1e6)
    best = [min(each) for each in took]
    each = [one - less for one, less in zip(best, [0, *best], strict=False)]
    rows = [[title, f"{one:.1f}"] for title, one in zip(titles, each, strict=True)]
    return table(["plain text", "\u00b5s"], [*rows, ["all", f"{best[-1]:.1f}"]])


async def _time_alone(client: Client, between: Callable[[], object], count: int) -> float:
    """Return the microseconds of a call, without those of `between`, which runs before each."""
    app, spent = client.app, 0.0
    for _ in range(count):
        between()
        scope, exchange = client.scope(), Exchange(client.case.body)
        receive, send = exchange.receive, exchange.send
        began = perf_counter()
        await app(scope, receive, send)
        spent += perf_counter() - began
    return spent / count * 1e6


async def _of_between(app: Kui, count: int, rounds: int) -> str:
    clients = [Client(each, CASES["plain"], {}) for each in (bare_.APPS["plain"], app)]
    took: dict[tuple[str, int], list[float]] = {}
    for _ in range(rounds):
        for name, between in BETWEEN.items():
            for which, client in enumerate(clients):
                spent = await _time_alone(client, between, count)
                took.setdefault((name, which), []).append(spent)
    rows = []
    for name in BETWEEN:
        bare, kui = min(took[name, 0]), min(took[name, 1])
        rows.append([name, f"{bare:.1f}", f"{kui:.1f}", f"{kui - bare:.1f}"])
    return table(["between two requests runs", "bare, \u00b5s", "Kui, \u00b5s", "more"], rows)


async def plain_tables(count: int = 400, rounds: int = 200) -> str:
    """Return the tables, in Markdown."""
    app = build("main")
    async with lifespan(app):
        return "\n\n".join(
            [await _of_steps(app, count, rounds), await _of_between(app, count, rounds // 10 or 1)]
        )


if __name__ == "__main__":
    print(anyio.run(plain_tables, backend=sys.argv[1] if sys.argv[1:] else "asyncio"))
