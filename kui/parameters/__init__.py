"""Declared parameters and dependencies: markers for `Annotated`, planned when a route joins a router.

- `markers`: what is written. `signatures`, `shapes`: what a function and a type are. `planning`: from both to a plan.
- `plans`: what is known of a handler then; `router.plans(route)` gives it to what describes an API.
- `sources`, `bodies`, `validators`, `refusals`: from a request to values, or to 422.
- `resolving`, `calling`, `entering`, `app_scope`: a plan followed, and its dependencies entered and left.
- `answers`, `projection`: what is returned, written by its declared type.

pydantic is imported by `validators` and `answers`, when something is declared that needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kui.on_demand import on_demand

if TYPE_CHECKING:
    from .groups import task_group
    from .markers import Body, Cookie, Depends, Header, Path, Query, Security, SourceMarker
    from .plans import NO_DEFAULT, Call, Dependency, DependencyKind, Parameter, Plan
    from .refusals import Fault, RequestValidationError
else:  # what many applications do without
    __getattr__, __dir__ = on_demand(
        __name__,
        {
            ".groups": ["task_group"],
            ".markers": [
                "Body",
                "Cookie",
                "Depends",
                "Header",
                "Path",
                "Query",
                "Security",
                "SourceMarker",
            ],
            ".plans": ["NO_DEFAULT", "Call", "Dependency", "DependencyKind", "Parameter", "Plan"],
            ".refusals": ["Fault", "RequestValidationError"],
        },
    )

__all__ = [
    "NO_DEFAULT",
    "Body",
    "Call",
    "Cookie",
    "Dependency",
    "DependencyKind",
    "Depends",
    "Fault",
    "Header",
    "Parameter",
    "Path",
    "Plan",
    "Query",
    "RequestValidationError",
    "Security",
    "SourceMarker",
    "task_group",
]
