"""`Responses` and `operation`: what a handler adds to its description besides its parameters and return annotation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

__all__ = ["Operation", "Responses", "operation", "operation_of"]

F = TypeVar("F", bound=Callable[..., Any])

_ATTRIBUTE: Final = "__kui_operation__"


class Responses:
    """Declares further responses in a return annotation: `Annotated[Item, Responses({404: Problem, 201: Item})]`.

    The return annotation may be that of a handler. It may also be that of a dependency, a security scheme or a
    middleware that sends responses by itself; then the description of each handler that uses it has these responses.

    :param answers: a mapping from a status to the type of its body; None for no body, a str for a sentence about a
        response in plain text.
    :raises ValueError: a status is not from 200 to 599.

    Example::

        async def read(id: int) -> Annotated[Item, Responses({404: Problem})]: ...
    """

    __slots__ = ("answers",)

    def __init__(self, answers: Mapping[int, Any]) -> None:
        for status in answers:
            if not isinstance(status, int) or not 200 <= status <= 599:
                raise ValueError(f"a status is an int from 200 to 599, not {status!r}")
        self.answers: Final = dict(answers)

    def __repr__(self) -> str:
        return f"Responses({self.answers!r})"


@dataclass(frozen=True, slots=True)
class Operation:
    """The arguments of `operation`."""

    id: str | None = None
    summary: str | None = None
    tags: tuple[str, ...] | None = None
    deprecated: bool = False
    hidden: bool = False


def operation(
    *,
    id: str | None = None,
    summary: str | None = None,
    tags: Iterable[str] | None = None,
    deprecated: bool = False,
    hidden: bool = False,
) -> Callable[[F], F]:
    """Decorate a handler, or a method of a view, with details for its description.

    :param id: the operation's id; by default the route's name, with the method if the route has several.
    :param summary: by default the first line of the docstring.
    :param tags: by default the namespaces of the route's groups.
    :param deprecated: True if clients should stop using the operation.
    :param hidden: True to leave the operation out of the description.

    Example::

        @app.get("/old")
        @operation(deprecated=True)
        async def old() -> Item: ...
    """
    mark = Operation(id, summary, None if tags is None else tuple(tags), deprecated, hidden)

    def decorate(handler: F) -> F:
        setattr(handler, _ATTRIBUTE, mark)
        return handler

    return decorate


def operation_of(handler: Callable[..., Any]) -> Operation:
    """Return the `Operation` of a handler; an empty one if the handler is not decorated."""
    found = getattr(handler, _ATTRIBUTE, None)
    return found if isinstance(found, Operation) else Operation()
