"""How the time of a lookup grows: with the number of routes, and with the length of a path.

`python -m benchmarks.lookup` prints both curves, from this machine, as tables. Each number is the best
of some rounds, in nanoseconds, for one `search` of a router as a Kui app has it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

from kui.routing import HttpRoute, RouteTable

ROUTES = (10, 100, 1_000, 10_000)
LENGTHS = (1_000, 10_000, 100_000, 1_000_000)


async def handler() -> str:
    return "ok"


# What a service's routes look like: the path of the route with a number, and a request for it.
SHAPES: dict[str, tuple[str, str]] = {
    "fixed": ("/part{n}/items", "/part{n}/items"),
    "a parameter": ("/part{n}/items/{{id:int}}", "/part{n}/items/7"),
    "two parameters": ("/part{n}/{{owner}}/items/{{id:int}}", "/part{n}/ann/items/7"),
    "a parameter first": ("/{{tenant}}/part{n}/items", "/town/part{n}/items"),
    "text in the segment": ("/part{n}-{{id:int}}.json", "/part{n}-7.json"),
    "the rest": ("/part{n}/{{rest:any}}", "/part{n}/a/b/c"),
    "not found": ("/part{n}/items/{{id:int}}", "/part{n}/items/x"),
}

# Patterns that backtracking would take long for, and what does not quite match them.
HARD: dict[str, tuple[list[str], Callable[[int], str]]] = {
    "many slashes": (["/{a}/{b}/{c}", "/{rest:any}"], lambda size: "/" * size),
    "many segments": (["/{a}/{b}/x", "/a/{b}/{c}/y"], lambda size: "/a" * (size // 2)),
    "one long segment": (["/{a:int}", "/{b:decimal}", "/{c:uuid}"], lambda size: "/" + "1" * size),
    "several placeholders": (["/{a}-{b}-{c}-{d}.x"], lambda size: "/" + "-" * size + "!"),
    "digits or digits": (["/{a:int}{b:int}{c:decimal}x"], lambda size: "/" + "1" * size + "!"),
    "nested and alike": (
        ["/a/{b}/c/{d}/e", "/{a}/b/{c}/d/{e}x", "/{a}/{b}/{c}/{d}/{e:int}"],
        lambda size: "/a/b/c/d/" + "e" * size,
    ),
    "all of a file": (["/static/{path:any}"], lambda size: "/static/" + "a/" * (size // 2)),
}


def best(call: Callable[[], object], seconds: float = 0.004, rounds: int = 60) -> float:
    """Nanoseconds for one call: the best of some rounds, each of about so many seconds."""
    count = 1
    while True:
        begin = time.perf_counter()
        for _ in range(count):
            call()
        took = time.perf_counter() - begin
        if took > seconds / 4:
            break
        count *= 4
    count = max(1, int(count * seconds / took))
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        for _ in range(count):
            call()
        times.append((time.perf_counter() - begin) / count)
    return min(times) * 1e9


def by_number() -> Iterator[tuple[str, list[float]]]:
    """For each shape, the time of a lookup among 10, 100, ... routes of that shape."""
    for name, (pattern, path) in SHAPES.items():
        times = []
        for number in ROUTES:
            router = RouteTable(
                [HttpRoute(pattern.format(n=n), handler, None) for n in range(number)]
            )
            search = router.http_routes.search
            asked = path.format(n=number // 2)
            assert (search(asked, "GET") is None) is (name == "not found")
            times.append(best(partial(search, asked, "GET")))
        yield name, times


def by_length() -> Iterator[tuple[str, list[float]]]:
    """For each hard set of patterns, the time of a lookup of paths of 1,000, 10,000, ... characters."""
    for name, (patterns, make) in HARD.items():
        router = RouteTable([HttpRoute(pattern, handler, None) for pattern in patterns])
        search = router.http_routes.search
        times = []
        for size in LENGTHS:
            path = make(size)
            times.append(best(partial(search, path, "GET"), rounds=15))
        yield name, times


def table(head: str, columns: tuple[int, ...], rows: Iterator[tuple[str, list[float]]]) -> None:
    print(f"| {head} | " + " | ".join(f"{column:,}" for column in columns) + " |")
    print("| --- |" + " ---: |" * len(columns))
    for name, times in rows:
        print(f"| {name} | " + " | ".join(f"{time:,.0f}" for time in times) + " |", flush=True)
    print()


if __name__ == "__main__":
    table("ns a lookup, among so many routes", ROUTES, by_number())
    table("ns a lookup, of so many characters", LENGTHS, by_length())
