"""Declared parameters and dependencies in Litestar."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Litestar, MediaType, get, post
from litestar.di import Provide
from litestar.params import Parameter
from pydantic import BaseModel


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


async def b(a: int) -> int:
    return a + 1


async def c(a: int, b: int) -> int:
    return a + b


def d(c: int) -> int:
    return c + 1


async def e(b: int, d: int) -> int:
    return b + d


@get("/items/{id:int}", media_type=MediaType.TEXT)
async def parameters(
    id: int, color: str, size: int, token: Annotated[str, Parameter(header="X-Token")]
) -> str:
    return f"{id} {color} {size} {token}"


@post("/model", media_type=MediaType.TEXT, status_code=200)
async def model(data: Order) -> str:
    return f"{data.id} {data.quantities[-1]}"


@post("/struct", media_type=MediaType.TEXT, status_code=200)
async def struct(data: OrderStruct) -> str:
    return f"{data.id} {data.quantities[-1]}"


PROVIDED = {
    "a": Provide(a),
    "b": Provide(b),
    "c": Provide(c),
    "d": Provide(d, sync_to_thread=False),
    "e": Provide(e),
}


@get("/graph", media_type=MediaType.TEXT, dependencies=PROVIDED)
async def graph(e: int, a: int) -> str:
    return f"{e} {a}"


def build(site: str) -> Any:
    return Litestar([parameters, model, struct, graph], openapi_config=None)
