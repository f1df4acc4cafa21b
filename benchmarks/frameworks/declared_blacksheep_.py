"""Declared parameters and dependencies in BlackSheep."""

from __future__ import annotations

from typing import Any

from blacksheep import Application, FromHeader, FromJSON, FromQuery
from blacksheep.server.responses import text
from blacksheep.server.routing import Router
from pydantic import BaseModel

ABSENT = {"struct": "its bodies are pydantic's models and dataclasses"}


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


class FromToken(FromHeader[str]):
    name = "X-Token"


class A:
    def __init__(self) -> None:
        self.value = 1


class B:
    def __init__(self, a: A) -> None:
        self.value = a.value + 1


class C:
    def __init__(self, a: A, b: B) -> None:
        self.value = a.value + b.value


class D:
    def __init__(self, c: C) -> None:
        self.value = c.value + 1


class E:
    def __init__(self, b: B, d: D) -> None:
        self.value = b.value + d.value


def build(site: str) -> Any:
    app = Application(router=Router())
    for kind in (A, B, C, D, E):
        app.services.add_scoped(kind)  # type: ignore[attr-defined]  # rodi's container

    async def parameters(
        id: int, color: FromQuery[str], size: FromQuery[int], token: FromToken
    ) -> Any:
        return text(f"{id} {color.value} {size.value} {token.value}")

    async def model(order: FromJSON[Order]) -> Any:
        return text(f"{order.value.id} {order.value.quantities[-1]}")

    async def graph(e: E, a: A) -> Any:
        return text(f"{e.value} {a.value}")

    for handler in (parameters, model, graph):  # annotations that are types, and not text
        names = {**globals(), **{"FromToken": FromToken}}
        handler.__annotations__ = {
            name: eval(kind, names) if isinstance(kind, str) else kind
            for name, kind in handler.__annotations__.items()
        }
    app.router.get("/items/{int:id}")(parameters)
    app.router.post("/model")(model)
    app.router.get("/graph")(graph)
    return app
