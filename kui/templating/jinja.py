"""The Jinja environment of `Jinja2Templates`, with subclasses of the three classes that Jinja allows to replace.

It closes the async generators that a template starts, does not access the disk for each page, and finds names faster.
Only `kui.templating` imports this module, and only when it is needed, because it imports Jinja.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import AsyncGenerator, Callable, Mapping
from contextvars import ContextVar
from inspect import isasyncgen
from time import monotonic
from typing import Any, Final, Never

import jinja2
import jinja2.runtime

__all__ = ["LOOK_AGAIN", "Environment", "opened"]

LOOK_AGAIN: Final = 0.25
"""Seconds after a check of its file during which a template counts as unchanged."""

opened: ContextVar[list[AsyncGenerator[object, Never]]] = ContextVar("kui.templates.opened")
"""The async generators that the template which is being rendered has started."""

_OF_A_DICT: Final = frozenset(dir(dict))


class Context(jinja2.runtime.Context):
    """Jinja's Context, which also records the async generators that a template starts, so that they can be closed.

    Jinja leaves a generator that it does not exhaust to the garbage collector, which closes it in another task.
    """

    def call(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        value = super().call(function, *args, **kwargs)
        if isasyncgen(value) and (started := opened.get(None)) is not None:
            started.append(value)
        return value


class Template(jinja2.Template):
    """Jinja's Template, which checks its file at most four times a second, and merges its globals by layers."""

    _looked = -LOOK_AGAIN

    @property
    def is_up_to_date(self) -> bool:
        """True if the file had not changed at the last check; used with `auto_reload`."""
        now = monotonic()
        if now - self._looked < LOOK_AGAIN:
            return True
        fresh = super().is_up_to_date
        if fresh:  # otherwise it is loaded again, and if that fails, also the next time
            self._looked = now
        return fresh

    def new_context(
        self,
        vars: dict[str, Any] | None = None,
        shared: bool = False,
        locals: Mapping[str, Any] | None = None,
    ) -> jinja2.runtime.Context:
        """Return a context for this template; see Jinja's."""
        if shared or locals or not isinstance(self.globals, ChainMap):
            return super().new_context(vars, shared, locals)
        names: dict[str, Any] = {}
        for layer in reversed(self.globals.maps):  # copying a ChainMap itself looks up each name
            names.update(layer)
        return self.environment.context_class(
            self.environment, {**names, **(vars or {})}, self.name, self.blocks, names
        )


class Environment(jinja2.Environment):
    """Jinja's Environment, with these classes."""

    context_class = Context
    template_class = Template

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return the value of `obj.attribute` in a template: the attribute, or the item, or undefined.

        For a dict it is usually an item, so it is first checked that dict has no such attribute, which is faster than
        an AttributeError.
        """
        if type(obj) is not dict or attribute in _OF_A_DICT:
            try:
                return getattr(obj, attribute)
            except AttributeError:
                pass
        try:
            return obj[attribute]
        except (TypeError, LookupError, AttributeError):
            return self.undefined(obj=obj, name=attribute)
