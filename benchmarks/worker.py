"""One framework on one event loop, in a process of its own that does what it is told.

`python -m benchmarks.worker kui trio` reads a line of JSON for each block of calls, and writes one
with the result; it ends when there is nothing more to read. While it waits it takes no time from the
others.
"""

from __future__ import annotations

import gc
import json
import logging
import sys
from contextlib import AsyncExitStack
from importlib import import_module
from typing import Any

import anyio

from .cases import CASES, Case
from .driver import Client, lifespan

SLICE = 0.004
"""Seconds that the calls timed together take, at least one: short, so that some run undisturbed."""


ENOUGH = 0.2
"""Seconds by which a block may become longer, to have three slices of calls that take long."""


class Absent(Exception):
    """A framework has nothing for a case."""


class Sites:
    """The apps of a framework, each started when it is first asked for."""

    def __init__(self, framework: str, stack: AsyncExitStack) -> None:
        self.module = import_module(f"benchmarks.frameworks.{framework}_")
        self.stack = stack
        self.apps: dict[str, Any] = {}

    async def client(self, case: Case) -> Client:
        """Raises Absent where the framework has nothing for the case."""
        absent: dict[str, str] = getattr(self.module, "ABSENT", {})
        if case.name in absent:
            raise Absent(absent[case.name])
        if hasattr(self.module, "APPS"):  # the bare functions: there is no lifespan
            return Client(self.module.APPS[case.name], case, {})
        if case.site not in self.apps:
            app = self.module.build(case.site)
            self.apps[case.site] = app, await self.stack.enter_async_context(lifespan(app))
        app, state = self.apps[case.site]
        return Client(app, case, state)


class Blocks:
    """Measures blocks of calls; remembers for each case how many calls fill a slice."""

    def __init__(self, sites: Sites) -> None:
        self.sites = sites
        self.known: dict[str, tuple[Client, int]] = {}

    async def measure(self, case: Case, seconds: float) -> list[float]:
        """Microseconds for a call, slice by slice, for so long. The answer is checked before.

        Raises Absent, WrongAnswer, and whatever the app raises.
        """
        if case.name not in self.known:
            client = await self.sites.client(case)
            await client.check()
            calls, took = 1, await client.time(1)
            while took < SLICE / 2:
                calls *= 2
                took = await client.time(calls)
            self.known[case.name] = client, max(1, round(calls * SLICE / took))
        client, calls = self.known[case.name]
        if not case.heavy:
            await client.check()
        gc.collect()
        slices: list[float] = []
        while seconds > 0 or (len(slices) < 3 and seconds > -ENOUGH):
            took = await client.time(calls)
            seconds -= took
            slices.append(took / calls * 1e6)
        return slices


async def serve(framework: str) -> None:
    async with AsyncExitStack() as stack:
        blocks = Blocks(Sites(framework, stack))
        for line in iter(sys.stdin.readline, ""):
            order = json.loads(line)
            result: dict[str, Any]
            try:
                result = {"slices": await blocks.measure(CASES[order["case"]], order["seconds"])}
            except Absent as error:
                result = {"absent": str(error)}
            except Exception as error:
                result = {"failed": f"{type(error).__name__}: {error}"[:300]}
            print(json.dumps(result), flush=True)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    anyio.run(serve, sys.argv[1], backend=sys.argv[2])
