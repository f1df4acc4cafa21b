"""One publisher and many subscribers of one worker: Kui's channels beside Litestar's and `broadcaster`.

`python3 benchmarks/run.py channels` prints a table, as JSON too with `--json FILE`. Each contender has a process of its
own for each round, and they take turns, so that what else the machine does disturbs all alike. Messages are the
same text of 200 characters, and each subscriber gets each of them. In memory, and over a `redis-server` that is
started for it where there is one.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import anyio
from anyio.abc import Process

from tests.support.redis_server import RedisServer

TEXT = "x" * 200
ONE = (sys.executable, "-m", "benchmarks.channels")
STORES = ("memory", "redis")
CONTENDERS = ("kui", "kui on trio", "litestar", "broadcaster")


@dataclass
class Bus:
    """What is measured: `publish(text)`, and `subscribe(got)`, which calls `got()` for each message."""

    publish: Callable[[str], Awaitable[object]]
    subscribe: Callable[[Callable[[], None]], Awaitable[None]]


@asynccontextmanager
async def kui(url: str | None) -> AsyncIterator[Bus]:
    from kui.channels import Channels

    async with Channels(url) as channels:

        async def subscribe(got: Callable[[], None]) -> None:
            async for _ in channels.subscribe("news"):
                got()

        yield Bus(partial(channels.publish, "news"), subscribe)


@asynccontextmanager
async def litestar(url: str | None) -> AsyncIterator[Bus]:
    from litestar.channels import ChannelsPlugin
    from litestar.channels.backends.memory import MemoryChannelsBackend
    from litestar.channels.backends.redis import RedisChannelsPubSubBackend
    from redis.asyncio import Redis

    backend: Any = MemoryChannelsBackend()
    if url is not None:
        backend = RedisChannelsPubSubBackend(redis=Redis.from_url(url))
    async with ChannelsPlugin(backend=backend, channels=["news"]) as plugin:

        async def publish(text: str) -> None:
            await plugin.wait_published(text, "news")

        async def subscribe(got: Callable[[], None]) -> None:
            async with plugin.start_subscription("news") as subscriber:
                async for _ in subscriber.iter_events():
                    got()

        yield Bus(publish, subscribe)


@asynccontextmanager
async def broadcaster(url: str | None) -> AsyncIterator[Bus]:
    from broadcaster import Broadcast

    async with Broadcast(url or "memory://") as broadcast:

        async def publish(text: str) -> None:
            await broadcast.publish("news", text)

        async def subscribe(got: Callable[[], None]) -> None:
            async with broadcast.subscribe("news") as subscriber:
                async for _ in subscriber:
                    got()

        yield Bus(publish, subscribe)


BUSES: dict[str, Callable[[str | None], AbstractAsyncContextManager[Bus]]] = {
    "kui": kui,
    "kui on trio": kui,
    "litestar": litestar,
    "broadcaster": broadcaster,
}


class Counted:
    """Counts to a number, and wakes who waits for it."""

    def __init__(self) -> None:
        self.expect(0)

    def expect(self, number: int) -> None:
        self.left = number
        self.reached = anyio.Event()

    def got(self) -> None:
        self.left -= 1
        if not self.left:
            self.reached.set()


async def rate(
    contender: str, url: str | None, subscribers: int, messages: int
) -> tuple[float, float]:
    """Messages that reach all subscribers, in a second and in a second of this process's processor time.

    From the first publish to the last delivery: some contenders queue all that is published before they deliver
    any of it. In memory the publisher is a task beside them; over Redis it is another process, which may be what is
    measured: then the second figure tells what the worker could deliver.
    """
    counted = Counted()
    async with BUSES[contender](url) as bus, anyio.create_task_group() as tasks:
        tasks.start_soon(bus.subscribe, counted.got)
        await anyio.sleep(0.5)  # broadcaster loses all but one of several first subscribers
        for _ in range(subscribers - 1):
            tasks.start_soon(bus.subscribe, counted.got)
        await anyio.sleep(1)
        counted.expect(subscribers)
        await bus.publish(TEXT)  # all are there
        await counted.reached.wait()
        counted.expect(subscribers * messages)
        publisher = None if url is None else await other_process(contender, url, messages)
        began, worked = perf_counter(), process_time()
        if publisher is None:
            tasks.start_soon(publish, bus, messages)
        else:
            assert publisher.stdin is not None
            await publisher.stdin.send(b"\n")
        await counted.reached.wait()
        took, worked = perf_counter() - began, process_time() - worked
        if publisher is not None:
            await publisher.aclose()
        tasks.cancel_scope.cancel()
    return messages / took, messages / worked


async def publish(bus: Bus, messages: int) -> None:
    for _ in range(messages):
        await bus.publish(TEXT)


async def other_process(contender: str, url: str, messages: int) -> Process:
    """Start a process that publishes once it is written a line to, and is connected already."""
    command = [*ONE, "--contender", contender, "--url", url, "--publish", str(messages)]
    process = await anyio.open_process(command, stderr=None)
    assert process.stdout is not None
    await process.stdout.receive()
    return process


async def publish_alone(contender: str, url: str, messages: int) -> None:
    async with BUSES[contender](url) as bus:
        print("connected", flush=True)
        await anyio.to_thread.run_sync(sys.stdin.readline)
        await publish(bus, messages)


async def memory(contender: str, subscribers: int) -> float:
    """Bytes of a subscriber that waits, over a task that waits for something else."""
    tracemalloc.start()

    async def waiting(wait: Callable[[], Awaitable[object]]) -> int:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            before = tracemalloc.get_traced_memory()[0]
            for _ in range(subscribers):
                tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            used = tracemalloc.get_traced_memory()[0] - before
            tasks.cancel_scope.cancel()
        return used

    await waiting(anyio.Event().wait)  # what is made once is not counted
    idle = await waiting(anyio.Event().wait)
    async with BUSES[contender](None) as bus:
        return (await waiting(partial(bus.subscribe, lambda: None)) - idle) / subscribers


def measure(options: argparse.Namespace) -> None:
    """What a process of its own does: one contender, once."""
    if options.publish:
        anyio.run(publish_alone, options.contender, options.url, options.publish)
        return
    loop = "trio" if options.contender.endswith("trio") else "asyncio"
    found = anyio.run(
        rate,
        options.contender,
        options.url,
        options.subscribers,
        options.messages,
        backend=loop,
    )
    used = anyio.run(memory, options.contender, options.subscribers, backend=loop)
    print(json.dumps({"rate": found[0], "of processor": found[1], "memory": used}))


def ask(options: argparse.Namespace, contender: str, url: str | None) -> dict[str, float]:
    command = [*ONE, "--contender", contender]
    for name in ("subscribers", "messages"):
        command += [f"--{name}", str(getattr(options, name))]
    command += [] if url is None else ["--url", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def compare(options: argparse.Namespace) -> list[dict[str, Any]]:
    """All rounds; the medians."""
    results = []
    with ExitStack() as stack:
        urls: dict[str, str | None] = {"memory": None}
        if "redis" in options.stores:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            urls["redis"] = stack.enter_context(RedisServer(folder)).url
        for store in options.stores:
            rounds = [
                {
                    contender: ask(options, contender, urls[store])
                    for contender in options.contenders
                }
                for _ in range(options.rounds)
            ]
            for contender in options.contenders:
                of = [each[contender] for each in rounds]
                median = {key: statistics.median(one[key] for one in of) for key in of[0]}
                results.append({"store": store, "contender": contender, **median})
    return results


def table(results: Sequence[dict[str, Any]], subscribers: int) -> str:
    lines = [
        f"| {subscribers:,} subscribers | messages a second | a second of the processor | of Kui's"
        " | bytes a subscriber |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    of = "of processor"
    own = {each["store"]: each[of] for each in results if each["contender"] == "kui"}
    for each in results:
        share = f"{each[of] / own[each['store']]:.2f}" if each["store"] in own else ""
        lines.append(
            f"| {each['store']}, {each['contender']} | {each['rate']:,.0f} | {each[of]:,.0f}"
            f" | {share} | {each['memory']:,.0f} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python3 benchmarks/run.py channels", description=__doc__)
    add = parser.add_argument
    add("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    stores = STORES if shutil.which("redis-server") else STORES[:1]
    add("--stores", nargs="+", choices=STORES, default=list(stores))
    add("--subscribers", type=int, default=1000)
    add("--messages", type=int, default=1000)
    add("--rounds", type=int, default=5)
    add("--json", type=Path, metavar="FILE")
    add("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    add("--url", help=argparse.SUPPRESS)
    add("--publish", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.contender is not None:
        measure(options)
        return
    results = compare(options)
    print(table(results, options.subscribers))
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
