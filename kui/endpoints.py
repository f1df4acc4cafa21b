"""The type of an endpoint, which routes, middlewares and dependencies pass to one another."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

__all__ = ["Endpoint"]

Endpoint: TypeAlias = Callable[[], Awaitable[Any]]
"""An async function without arguments that calls the handler of the current request and returns its value."""
