"""A service of notes on SQLite: what each handler needs is declared in its signature.

`kui run examples.api:app`, then:

    curl -H 'X-Key: ann' -d '{"text": "milk"}' -H 'Content-Type: application/json' localhost:8000/notes
    curl -H 'X-Key: ann' 'localhost:8000/notes?tag=shop&size=10'
"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterable, AsyncIterator
from typing import Annotated, Any, TypedDict

from anyio.abc import TaskGroup
from pydantic import MISSING, BaseModel, Field

from kui.asgi import (
    Body,
    Depends,
    HTTPException,
    Kui,
    Part,
    Query,
    Routes,
    Security,
    StreamResponse,
    abort,
    task_group,
)
from kui.openapi import OpenAPI, Responses
from kui.security import APIKey

from .settings import Settings, settings
from .store import NoSuchNote, Note, Store, open_store

__all__ = ["app"]

# What handlers need, by the names that they use: each is declared once.
Config = Annotated[Settings, Depends(settings, scope="app")]


key = APIKey("X-Key", description="One of the keys of the settings.")


async def current_user(config: Config, given: Annotated[str, Security(key)]) -> str:
    """Say who asks, before anything else is resolved: a stranger's upload is not read."""
    if given not in config.keys:
        raise HTTPException(401, {"WWW-Authenticate": key.challenge}, "There is no such key.")
    return config.keys[given]


async def store(config: Config) -> AsyncIterator[Store]:
    """The notes, in one transaction: kept if the handler returns, taken back if it raises."""
    async with open_store(config.database) as opened:
        yield opened


User = Annotated[str, Security(current_user)]
Notes = Annotated[Store, Depends(store)]
NotesUntilSent = Annotated[Store, Depends(store, until="sent")]
Tasks = Annotated[TaskGroup, Depends(task_group)]


class Draft(BaseModel):
    """A note as it is written."""

    text: str = Field(min_length=1, max_length=1000)
    tags: list[str] = Field([], max_length=10)


class Change(BaseModel):
    """The fields to change; what is not sent stays as it is."""

    text: Annotated[str, Field(min_length=1, max_length=1000)] | MISSING = MISSING
    due: str | MISSING | None = MISSING  # null takes it away


class Filters(BaseModel, extra="forbid"):
    """What may be asked of the notes; another name is refused."""

    tag: list[str] = []
    text: str | None = None
    page: int = Field(1, ge=1)
    size: int = Field(20, ge=1, le=100)


routes = Routes()


class Problem(TypedDict):
    title: str
    status: int
    detail: str


NoNote = Responses({404: Problem})
app = Kui(openapi=OpenAPI(title="Notes", version="1.0", description="Notes, each of one user."))


@app.exception_handler(NoSuchNote)
async def no_such_note(exc: NoSuchNote) -> Any:
    return {"title": "Not Found", "status": 404, "detail": str(exc)}, 404


@routes.http.get("")
async def find(
    user: User, notes: Notes, filters: Annotated[Filters, Query(exclusive=True)]
) -> list[Note]:
    """Find notes by tag and text, a page at a time."""
    return await notes.find(user, filters.tag, filters.text, filters.page, filters.size)


@routes.http.post("")
async def create(
    user: User, notes: Notes, draft: Annotated[Draft, Body(exclusive=True)]
) -> Annotated[tuple[Note, int], Responses({201: Note})]:
    """Write a note."""
    return await notes.add(user, draft.text, draft.tags), 201


@routes.http.get("/{id:int}")
async def show(id: int, user: User, notes: Notes) -> Annotated[Note, NoNote]:
    """Read a note."""
    return await notes.get(user, id)


@routes.http.patch("/{id:int}")
async def change(
    id: int, user: User, notes: Notes, change: Annotated[Change, Body(exclusive=True)]
) -> Annotated[Note, NoNote]:
    """Change what is given of a note."""
    return await notes.change(user, id, change.model_dump(exclude_unset=True))


@routes.http.delete("/{id:int}")
async def delete(
    id: int, user: User, notes: Notes
) -> Annotated[tuple[str, int], NoNote, Responses({204: None})]:
    """Delete a note."""
    await notes.delete(user, id)
    return "", 204


@routes.http.get("/export")
async def export(user: User, notes: NotesUntilSent) -> StreamResponse:
    """All notes as CSV, row by row: the store is open until the last one is sent, or the client has left."""

    async def rows() -> AsyncIterator[str]:
        async for note in notes.every(user):
            line = io.StringIO()
            csv.writer(line).writerow([note.id, note.text, " ".join(note.tags)])
            yield line.getvalue()

    return StreamResponse(rows(), content_type="text/csv")


@routes.http.post("/import")
async def import_files(
    user: User,
    notes: Notes,
    files: Annotated[AsyncIterable[Part], Body()],
    tag: Annotated[str, Body(max_length=40)] = "imported",
) -> dict[str, int]:
    """A note for each line of each file, as the files arrive: none of them is stored."""
    count = 0
    async for part in files:
        for line in (await part.text(limit=100_000)).splitlines():
            if count == 1000:
                abort(413, content="1,000 notes at once are enough.")
            if line.strip():
                await notes.add(user, line.strip()[:1000], [tag])
                count += 1
    return {"imported": count}


@routes.http.get("/{id:int}/links")
async def check_links(
    id: int, user: User, notes: Notes, config: Config, tasks: Tasks
) -> Annotated[dict[str, bool], NoNote]:
    """Which of a note's links can be reached. All are asked at once, and no more if the client leaves."""
    note = await notes.get(user, id)
    found: dict[str, bool] = {}

    async def ask(url: str) -> None:
        found[url] = await config.reachable(url)

    for word in set(note.text.split()):
        if word.startswith(("http://", "https://")):
            tasks.start_soon(ask, word)
    return found  # it is sent when all have been asked


app.router << "/notes" // routes
