"""`task_group`: a task group for a handler, declared as a dependency."""

from __future__ import annotations

from anyio.abc import TaskGroup

__all__ = ["task_group"]


def task_group() -> TaskGroup:
    """Declare a task group around the handler: `Annotated[TaskGroup, Depends(task_group)]`.

    - When the handler has returned, its children are waited for.
    - If the handler raises, the children are cancelled, and its exception is raised unchanged.
    - If a child raises, the handler is cancelled, and the child's exception is raised unchanged.
    - If the client leaves, the children are cancelled, but not the handler, so that a POST is not cut in half.
    - With `until="sent"` the children go on while the response is sent, and are cancelled after it.

    :raises RuntimeError: always, because it must be declared and not called.

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
