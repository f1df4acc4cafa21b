"""Dependencies with `scope="app"`: entered once, when the app starts, and shared by all its requests."""

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
    """A context in which they are there, in the order in which they need each other.

    - `plans`: gives the plans of all handlers; called once, at the start.
    - `values`: where the values are put, by `identity`.
    - `stop_services`: ends the app's own tasks, which may use them; they are left after it.

    Each may hold a task group open: the whole of it is entered and left by one task.
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
