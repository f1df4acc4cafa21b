"""Where the time of one plain request goes: each step of its straight way, measured alone.

The steps are those of `Kui.__call__`, in its order and with its objects, for a handler that returns a
text. `python -m benchmarks.steps` prints them in nanoseconds.
"""

from __future__ import annotations

import textwrap
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import anyio

from kui.admission import RULED
from kui.connections import calls
from kui.responses.base import content_length

from .cases import CASES
from .driver import Client, Exchange, lifespan
from .frameworks.bare_ import plain
from .frameworks.kui_ import build
from .report import table

__all__ = ["STEPS", "measured", "steps_table", "timed"]


@dataclass(frozen=True)
class Step:
    title: str
    why: str
    code: str


STEPS = (
    Step(
        "which kind of scope it is",
        "one app serves requests, WebSockets and the lifespan, and may have ASGI middlewares around",
        """
        if app._around is not None:
            pass
        if scope["type"] != "http":
            pass
        scope["app"] = app
        """,
    ),
    Step(
        "the current request",
        "`request` means this one wherever it is read; an HttpRequest is made only then",
        """
        call = [None, scope, receive, send]
        token = enter(call)
        leave(token)
        """,
    ),
    Step(
        "requests in flight",
        "the end of the app waits until there are none",
        """
        app.in_flight += 1
        app.in_flight -= 1
        """,
    ),
    Step(
        "whether it is a simple one",
        "headers tell of a body, of an upgrade, of a second host: then other rules hold",
        """
        method = scope["method"]
        simple = scope["http_version"] == "1.1" and not scope["root_path"]
        host = None
        bare = True
        for name, value in scope["headers"]:
            if name in RULED:
                if name != b"host":
                    bare = False
                elif host is None:
                    host = value
        """,
    ),
    Step("whether the host is allowed", "a wrong Host header is refused", "app._admitted[host]"),
    Step(
        "the route",
        "a path without parameters is found at once",
        """
        found = app._fixed.get(scope["path"])
        endpoint = found[method][0]
        """,
    ),
    Step("the handler", "what the user wrote", "value = await endpoint()"),
    Step(
        "what it returned becomes a response",
        "by its type; the length has to be in the headers",
        """
        encode, content_type = app._plain[type(value)]
        body = encode(value)
        headers = [content_type, content_length[len(body)]]
        """,
    ),
    Step(
        "two messages are sent",
        "ASGI's; the bare function sends the same",
        """
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        """,
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


async def measured(count: int = 500, rounds: int = 400) -> tuple[list[float], float, float]:
    """Nanoseconds of each step, of a whole call of Kui, and of one of the bare function.

    Each is the best of its rounds, for a step is so short that it can only be disturbed.
    """
    app, case = build("main"), CASES["plain"]
    async with lifespan(app) as state:
        client, bare = Client(app, case, state), Client(plain, case, {})
        await client.check()
        exchange = Exchange(())
        scope = client.scope()
        found = app._fixed[scope["path"]]
        names = {
            "app": app,
            "scope": scope,
            "receive": exchange.receive,
            "send": exchange.send,
            "enter": calls.set,
            "leave": calls.reset,
            "RULED": RULED,
            "host": b"127.0.0.1:8000",
            "method": "GET",
            "endpoint": found["GET"][0],
            "value": "Hello, world!",
            "content_length": content_length,
            "headers": [(b"content-type", b"text/plain; charset=utf-8"), content_length[13]],
            "body": b"Hello, world!",
        }
        codes = ["pass", *(step.code for step in STEPS)]
        timers = [client.time, bare.time, *(timed(code, names) for code in codes)]
        best = [float("inf")] * len(timers)
        for _ in range(rounds):
            best = [
                min(so_far, await timer(count)) for so_far, timer in zip(best, timers, strict=True)
            ]
        whole, alone, nothing, *each = (took / count * 1e9 for took in best)
        return [took - nothing for took in each], whole, alone


def steps_table() -> str:
    """The steps as a table in Markdown, and below it what they are to be compared with."""
    each, whole, bare = anyio.run(measured)
    rows = [
        [f"{step.title}: {step.why}", f"{took:.0f}"] for step, took in zip(STEPS, each, strict=True)
    ]
    listed = table(["step of a plain request", "ns"], [*rows, ["sum", f"{sum(each):.0f}"]])
    return (
        f"{listed}\n\n"
        f"A whole call takes {whole:.0f} ns, one of the bare function {bare:.0f} ns, which is {whole - bare:.0f} ns "
        "less;\nboth contain the sending, and what the benchmark does in the place of a server."
    )


if __name__ == "__main__":
    print(steps_table())
