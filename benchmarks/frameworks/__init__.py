"""The same site in each framework, as its own documentation would have it written.

Each module has `build(site)`, which gives an ASGI app, and perhaps `ABSENT`: the cases that the
framework has nothing for, and why. The sites: `main`, `middlewares` (three that each add a header),
`routes` (1,000 of them), `cors`. `bare_` has `APPS` instead, a function for each case.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FRAMEWORKS", "Framework"]

BOTH = ("asyncio", "trio")


@dataclass(frozen=True)
class Framework:
    """A framework's title, the event loops that it runs on, and the packages that its site needs."""

    title: str
    loops: tuple[str, ...] = BOTH
    packages: tuple[str, ...] = ()


FRAMEWORKS = {
    "bare": Framework("bare ASGI"),
    "kui": Framework("Kui", packages=("kui",)),
    "starlette": Framework("Starlette", packages=("starlette", "sse-starlette")),
    "fastapi": Framework("FastAPI", packages=("fastapi",)),
    "litestar": Framework("Litestar", packages=("litestar",)),
    "blacksheep": Framework("BlackSheep", ("asyncio",), ("blacksheep",)),
    "quart": Framework("Quart", packages=("quart", "quart-trio")),
}
