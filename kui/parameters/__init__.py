"""Declared parameters and dependencies: markers for `Annotated`, planned when a route is added to a router.

- `markers`: the markers. `signatures`, `shapes`: inspect functions and types. `planning`: makes a plan of them.
- `plans`: the plan of a handler. `router.plans(route)` returns it, for example for the OpenAPI description.
- `sources`, `bodies`, `validators`, `refusals`: make values of a request, or refuse it with 422.
- `resolving`, `calling`, `entering`, `app_scope`: follow a plan, enter its dependencies and leave them.
- `answers`, `projection`: write the returned value by its declared type.

`validators` and `answers` import pydantic only if a declaration needs it.
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
