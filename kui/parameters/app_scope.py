"""Dependencies with `scope="app"`, which are entered once, when the app starts, and shared by all requests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any

from kui.concurrency import shielded

from .calling import call_all, step_of
from .entering import Stack, enter, leave_all
from .planning import identity
from .plans import Dependency, Plan

__all__ = ["AppDependencies"]


class AppDependencies(AbstractAsyncContextManager[None]):
    """Enters these dependencies, each after those that it needs, and leaves them in reverse order.

    One task must enter and leave it, because a dependency may hold a task group open.

    :param plans: returns the plans of all handlers; called once, at the start.
    :param values: the mapping in which the values are stored, by `identity`.
    :param stop_services: ends the app's services, which may use the dependencies; awaited before they are left.
    """

    def __init__(
        self,
        plans: Callable[[], Iterable[Plan]],
        values: MutableMapping[Any, Any],
        stop_services: Callable[[], Awaitable[None]],
    ) -> None:
        self._plans = plans
        self._values = values
        self._stop_services = stop_services
        self._entered: Stack = []

    async def __aenter__(self) -> None:
        try:
            for plan in self._plans():
                slots = list(plan.slots)
                for one in plan.dependencies:
                    if one.until == "app":
                        key = identity(one.function)
                        if key in self._values:
                            slots[one.slot] = self._values[key]
                        else:
                            await call_all([step_of(one)], slots, self._enter)
                            self._values[key] = slots[one.slot]
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise

    async def _enter(self, one: Dependency, made: Any) -> Any:
        return await enter(one, made, self._entered)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._entered:
            with shielded():
                await self._stop_services()
        raised = await leave_all(self._entered, error)
        self._values.clear()
        if raised is not None and raised is not error:
            raise raised
