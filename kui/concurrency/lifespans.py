"""The lifespans of the apps that are mounted in an app. Each runs in a task of its own, as under a server.

The app around them says which apps there are, and raises what fails.
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
    """Start the apps in order; when the block ends, stop them in reverse order.

    An app that raises before it has received a message, or that returns at once, has no lifespan, and is skipped.

    :param apps: pairs of an app and the mapping for its `scope["state"]`.
    :param extensions: becomes `scope["extensions"]` of each app.
    :raises LifespanFailed: an app has answered that its start-up or its shutdown failed, and raised no exception.
        The apps that have started already are stopped first.
    :raises Exception: an app has raised it at its start-up, at its shutdown, or in between; in the last case the
        block is cancelled. The exception is in no group.

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
    """Stop all apps, also after one has failed; return the first failure."""
    first = None
    for driver in reversed(drivers):
        if driver.up:
            driver.ask_to_stop()
            await driver.stopped.wait()
            await _end(driver)
        first = first or driver.failure("shutdown")
    return first


async def _end(driver: LifespanDriver) -> None:
    """Wait up to 5 s until an app that has given its last answer returns or raises."""
    with anyio.move_on_after(GRACE):
        await driver.ended.wait()
