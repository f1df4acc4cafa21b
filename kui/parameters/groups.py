"""`task_group`: a task group for what a handler does at once, declared as a dependency."""

from __future__ import annotations

from anyio.abc import TaskGroup

__all__ = ["task_group"]


def task_group() -> TaskGroup:
    """A task group around the handler, to be declared and never called.

    When the handler has returned, its children are waited for; what the handler raises cancels them,
    and is raised as itself. A child that fails cancels the handler, and what it raised is raised as
    itself. A client that leaves cancels the children and not the handler, so that a POST is not cut in
    half. With `until="sent"` the children live on while the answer is sent, and are cancelled after it.

    Raises RuntimeError where it is called.

    Example::

        Group = Annotated[TaskGroup, Depends(task_group)]

        @app.router.http.get("/prices")
        async def prices(group: Group):
            found = {}
            for shop in shops:
                group.start_soon(ask, shop, found)
            ...
    """
    raise RuntimeError(
        "task_group is declared and not called: Annotated[TaskGroup, Depends(task_group)]"
    )
