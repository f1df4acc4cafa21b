"""Declared parameters and dependencies in Kui."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from pydantic import BaseModel

from kui.asgi import Body, Depends, Header, Kui, Query


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


class OrderStruct(msgspec.Struct):
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


def d(c: Annotated[int, Depends(c)]) -> int:
    return c + 1


async def e(b: Annotated[int, Depends(b)], d: Annotated[int, Depends(d)]) -> int:
    return b + d


def build(site: str) -> Any:
    app = Kui()

    @app.router.http.get("/items/{id:int}")
    async def parameters(
        id: int,
        color: Annotated[str, Query()],
        x_token: Annotated[str, Header()],
        size: Annotated[int, Query()],
    ) -> str:
        return f"{id} {color} {size} {x_token}"

    @app.router.http.post("/model")
    async def model(order: Annotated[Order, Body(exclusive=True)]) -> str:
        return f"{order.id} {order.quantities[-1]}"

    @app.router.http.post("/struct")
    async def struct(order: Annotated[OrderStruct, Body(exclusive=True)]) -> str:
        return f"{order.id} {order.quantities[-1]}"

    @app.router.http.get("/graph")
    async def graph(e: Annotated[int, Depends(e)], a: Annotated[int, Depends(a)]) -> str:
        return f"{e} {a}"

    return app
