"""Declared parameters and dependencies in FastAPI."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel

ABSENT = {"struct": "its bodies are pydantic's models"}


class Order(BaseModel):
    id: int
    name: str
    email: str
    street: str
    city: str
    note: str
    price: float
    paid: bool
    tags: list[str]
    quantities: list[int]


async def a() -> int:
    return 1


async def b(a: Annotated[int, Depends(a)]) -> int:
    return a + 1


async def c(a: Annotated[int, Depends(a)], b: Annotated[int, Depends(b)]) -> int:
    return a + b


async def d(c: Annotated[int, Depends(c)]) -> int:  # a def would run in a thread
    return c + 1


async def e(b: Annotated[int, Depends(b)], d: Annotated[int, Depends(d)]) -> int:
    return b + d


def build(site: str) -> Any:
    app = FastAPI(openapi_url=None)

    @app.get("/items/{id}")
    async def parameters(id: int, color: str, size: int, x_token: Annotated[str, Header()]) -> Any:
        return PlainTextResponse(f"{id} {color} {size} {x_token}")

    @app.post("/model")
    async def model(order: Order) -> Any:
        return PlainTextResponse(f"{order.id} {order.quantities[-1]}")

    @app.get("/graph")
    async def graph(e: Annotated[int, Depends(e)], a: Annotated[int, Depends(a)]) -> Any:
        return PlainTextResponse(f"{e} {a}")

    return app
