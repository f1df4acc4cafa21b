"""An app with one of each: what is described, and a record of what was cancelled."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, TypedDict

import anyio
import msgspec
from pydantic import BaseModel, Field

from kui.asgi import (
    Body,
    Cookie,
    Event,
    Header,
    HTTPException,
    HttpView,
    JSONLinesResponse,
    Kui,
    Query,
    Security,
    SendEventResponse,
    StreamResponse,
    UploadFile,
)
from kui.openapi import OpenAPI, Responses, operation
from kui.security import APIKey, BasicCredentials, HTTPBasic, OAuth2Password, any_of, same

__all__ = ["app", "cancelled"]


class Item(BaseModel):
    id: int = Field(ge=0)
    name: str = Field(min_length=1, description="what it is called")
    price: Decimal = Decimal(1)
    made: datetime | None = None


class Note(BaseModel):
    text: str = ""


class NotThere(BaseModel):
    missing: int


class Size(msgspec.Struct):
    width: int
    height: int = 1


@dataclasses.dataclass
class Upload:
    title: str
    size: int


class Count(TypedDict):
    count: int


class Filters(BaseModel):
    page: Annotated[int, Field(ge=1, le=1000)] = 1
    tag: list[str] = []


cancelled: list[str] = []
items = {1: Item(id=1, name="tea")}
app = Kui(openapi=OpenAPI(title="Shop", version="1.2", description="Tea, and how much of it."))

basic = HTTPBasic(realm="shop")
oauth = OAuth2Password("/token", scopes={"orders": "read orders"})
key = APIKey("x-key")


async def user(
    credentials: Annotated[Any, Security(any_of(oauth, basic))],
) -> Annotated[str, Responses({403: NotThere})]:
    if isinstance(credentials, BasicCredentials):
        if credentials.username == "ada" and same(credentials.password, "lovelace"):
            return credentials.username
    elif same(credentials, "token-of-ada"):
        return "ada"
    raise HTTPException(403, content={"missing": 0})


@app.get("/items/{id:int}", name="read_item")
async def read(
    id: int, trace: Annotated[str | None, Header(alias="x-trace")] = None
) -> Annotated[Item, Responses({404: NotThere})]:
    """Read an item.

    It has a price.
    """
    if id not in items:
        raise HTTPException(404, content=NotThere(missing=id))
    return items[id]


@app.get("/items")
async def search(
    filters: Annotated[Filters, Query(exclusive=True)],
    theme: Annotated[str, Cookie()] = "light",
) -> list[Item]:
    """Search items."""
    return list(items.values())


@app.post("/items")
async def create(
    item: Annotated[Item, Body(exclusive=True)],
) -> Annotated[Item, Responses({201: Item})]:
    items[item.id] = item
    return item, 201  # type: ignore[return-value]  # with its status


@app.put("/sizes")
async def sizes(size: Annotated[Size, Body(exclusive=True)]) -> Size:
    return size


@app.put("/notes")
async def notes(note: Annotated[Note, Body(exclusive=True)]) -> Note:
    return note


@app.post("/photos")
async def photos(title: Annotated[str, Body()], photo: Annotated[UploadFile, Body()]) -> Upload:
    return Upload(title, len(await photo.aread()))


@app.router.http("/count")
class Counted(HttpView):
    """The number of items."""

    async def get(self) -> Count:
        return {"count": len(items)}

    async def delete(self) -> Annotated[tuple[str, int], Responses({204: None})]:
        """Forget all."""
        items.clear()
        return "", 204


@app.get("/me")
async def me(name: Annotated[str, Security(user, scopes=["orders"])]) -> dict[str, str]:
    return {"name": name}


@app.get("/keyed")
async def keyed(
    given: Annotated[str, Security(key)], name: Annotated[str, Security(user)]
) -> dict[str, str]:
    return {"key": given, "name": name}


@app.post("/token")
@operation(tags=["login"])
async def token(
    username: Annotated[str, Body()], password: Annotated[str, Body()]
) -> Annotated[dict[str, str], Responses({400: "The name or the password is wrong."})]:
    if username != "ada" or not same(password, "lovelace"):
        raise HTTPException(400, content="The name or the password is wrong.")
    return {"access_token": "token-of-ada", "token_type": "bearer"}


@app.get("/ticks")
async def ticks() -> AsyncIterator[Event[Count]]:
    """Count, for as long as the client stays."""
    number = 0
    try:
        while True:
            number += 1
            yield {"id": number, "data": {"count": number}}
            await anyio.sleep(0.05)
    finally:
        cancelled.append("ticks")


@app.get("/lines")
async def lines() -> StreamResponse:
    """Lines, for as long as the client stays."""

    async def made() -> AsyncIterator[str]:
        number = 0
        try:
            while True:
                number += 1
                yield f"line {number}\n"
                await anyio.sleep(0.05)
        finally:
            cancelled.append("lines")

    return StreamResponse(made(), content_type="text/plain")


@app.get("/rows")
async def rows() -> JSONLinesResponse[Count]:
    """Rows, one a line."""
    return JSONLinesResponse({"count": number} for number in range(3))


@app.get("/cancelled")
async def get_cancelled() -> list[str]:
    return cancelled


@app.get("/old")
@operation(deprecated=True)
async def old() -> str:
    return "old"


@app.get("/hidden")
@operation(hidden=True)
async def hidden() -> SendEventResponse:
    return SendEventResponse([])
