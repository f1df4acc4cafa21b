"""What a handler says of itself for the description, beside its parameters and its return annotation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

__all__ = ["Operation", "Responses", "operation", "operation_of"]

F = TypeVar("F", bound=Callable[..., Any])

_ATTRIBUTE: Final = "__kui_operation__"


class Responses:
    """The answers besides the first: `Annotated[Item, Responses({404: Problem, 201: Item})]`.

    Put it into the return annotation of a handler, or of a dependency, a security scheme or a middleware that answers
    by itself: the description of each handler around which they are has their answers.

    :param answers: from a status to the type of its body; None for an answer without a body; a str is a sentence
        about an answer of plain text.
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
    """What `operation` was given."""

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
    """Decorate a handler, or a method of a view, with what its description cannot know otherwise.

    :param id: the operation's id; by default the route's name, and its method if it has several.
    :param summary: by default the first sentence of the docstring.
    :param tags: by default the namespaces of its groups.
    :param deprecated: True if clients should stop using it.
    :param hidden: True to leave it out of the description.

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
    """Return what a handler was decorated with; an empty Operation if it was not."""
    found = getattr(handler, _ATTRIBUTE, None)
    return found if isinstance(found, Operation) else Operation()
