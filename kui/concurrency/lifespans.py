"""The lifespans of apps within an app: each in a task of its own, started and stopped as a server would.

Which apps there are, and what becomes of one that has failed, is decided by the app around them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
from baize.typing import ASGIApp

from .cleanup import GRACE, shielded
from .lifespan_driver import LifespanDriver
from .task_group import framework_tasks

__all__ = ["lifespans"]


@asynccontextmanager
async def lifespans(
    apps: Sequence[tuple[ASGIApp, dict[str, Any]]],
    extensions: Mapping[str, Any] | None = None,
) -> AsyncIterator[None]:
    """Start each app, the first first; when the block ends, stop each, the last first.

    An app that raises before it has received anything, or that returns, knows no lifespan, which
    is all right.

    :param apps: each with the mapping for its `scope["state"]`.
    :param extensions: what each finds under `scope["extensions"]`.
    :raises LifespanFailed: an app has said that its start-up or its shutdown failed, and raised
        nothing. Those that have started already are stopped.

    What an app raises at its start-up, while it is up (the block is cancelled then) or at its
    shutdown is raised as itself.

    ::

        async with lifespans([(admin, {}), (shop, {})]):
            await serve()
    """
    drivers: list[LifespanDriver] = []
    async with framework_tasks() as group:
        try:
            # A crash cancels the block, but not the other apps, which must be stopped in their order.
            with anyio.CancelScope() as block:
                for app, state in apps:
                    driver = LifespanDriver(app, state, extensions or {}, lambda _: block.cancel())
                    drivers.append(driver)
                    group.start_soon(driver.run)
                    await driver.started.wait()
                    if not driver.up:
                        await _end(driver)
                    failure = driver.failure("startup")
                    if failure is not None:
                        raise failure
                yield
        except BaseException:
            with shielded():
                await _stop(drivers)
            raise
        failure = await _stop(drivers)
        if failure is not None:
            raise failure


async def _stop(drivers: list[LifespanDriver]) -> Exception | None:
    """Stop all apps, whatever becomes of each; return the first failure."""
    first = None
    for driver in reversed(drivers):
        if driver.up:
            driver.ask_to_stop()
            await driver.stopped.wait()
            await _end(driver)
        first = first or driver.failure("shutdown")
    return first


async def _end(driver: LifespanDriver) -> None:
    """Let an app that has given its last answer return, or raise its own exception."""
    with anyio.move_on_after(GRACE):
        await driver.ended.wait()
