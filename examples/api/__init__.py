"""A service of notes on SQLite: what each handler needs is declared in its signature.

`kui run examples.api:app`, then:

    curl -H 'X-Key: ann' -d '{"text": "milk"}' -H 'Content-Type: application/json' localhost:8000/notes
    curl -H 'X-Key: ann' 'localhost:8000/notes?tag=shop&size=10'
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

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
)
from kui.openapi import OpenAPI, Responses
from kui.security import APIKey

from .store import Note, Store, open_store

__all__ = ["Settings", "app", "settings"]


@dataclass(frozen=True)
class Settings:
    """The file of the notes, and the names of the users by their keys."""

    database: Path
    keys: dict[str, str] = field(default_factory=lambda: {"ann": "Ann", "bob": "Bob"})


async def settings() -> AsyncIterator[Settings]:
    """Read the settings from the environment. NOTES is the file; without it the notes are lost when the service ends."""
    with TemporaryDirectory() as folder:
        found = Settings(Path(os.environ.get("NOTES") or f"{folder}/notes.db"))
        async with open_store(found.database) as store:
            await store.make_table()
        yield found


Config = Annotated[Settings, Depends(settings, scope="app")]
key = APIKey("X-Key", description="One of the keys of the settings.")


async def current_user(config: Config, given: Annotated[str, Security(key)]) -> str:
    """Return the user's name. It is resolved first, so that the body of a request without a key is not read."""
    if given not in config.keys:
        raise HTTPException(401, {"WWW-Authenticate": key.challenge}, "There is no such key.")
    return config.keys[given]


async def store(config: Config) -> AsyncIterator[Store]:
    """Open the notes, in one transaction: committed if the handler returns, rolled back if it raises."""
    async with open_store(config.database) as opened:
        yield opened


Id = Annotated[int, Field(le=2**63 - 1)]  # what SQLite can store
Tag = Annotated[str, Field(pattern=r"^\S{1,40}$")]
User = Annotated[str, Security(current_user)]
Notes = Annotated[Store, Depends(store)]
NotesUntilSent = Annotated[Store, Depends(store, until="sent")]


class Draft(BaseModel):
    """A new note."""

    text: str = Field(min_length=1, max_length=1000)
    tags: list[Tag] = Field([], max_length=10)


class Change(BaseModel):
    """The fields to change. A field that is absent stays as it is."""

    text: Annotated[str, Field(min_length=1, max_length=1000)] | MISSING = MISSING
    due: Annotated[str, Field(max_length=40)] | MISSING | None = MISSING  # null removes it


class Filters(BaseModel, extra="forbid"):
    """The filters of a search. A name that is not declared is refused."""

    tag: list[Tag] = Field([], max_length=10)
    page: int = Field(1, ge=1, le=1_000_000)
    size: int = Field(20, ge=1, le=100)


app = Kui(openapi=OpenAPI(title="Notes", version="1.0", description="Notes, each of one user."))
routes = Routes()


@routes.http.get("")
async def find(
    user: User, notes: Notes, filters: Annotated[Filters, Query(exclusive=True)]
) -> list[Note]:
    """Find notes by their tags, a page at a time."""
    return await notes.find(user, filters.tag, filters.page, filters.size)


@routes.http.post("")
async def create(
    user: User, notes: Notes, draft: Annotated[Draft, Body(exclusive=True)]
) -> Annotated[tuple[Note, int], Responses({201: Note})]:
    """Write a note."""
    return await notes.add(user, draft.text, draft.tags), 201


@routes.http.get("/{id:int}")
async def show(id: Id, user: User, notes: Notes) -> Note:
    """Read a note."""
    return await notes.get(user, id)


@routes.http.patch("/{id:int}")
async def change(
    id: Id, user: User, notes: Notes, change: Annotated[Change, Body(exclusive=True)]
) -> Note:
    """Change some fields of a note."""
    return await notes.change(user, id, change.model_dump(exclude_unset=True))


@routes.http.delete("/{id:int}")
async def delete(
    id: Id, user: User, notes: Notes
) -> Annotated[tuple[str, int], Responses({204: None})]:
    """Delete a note."""
    await notes.delete(user, id)
    return "", 204


@routes.http.get("/export")
async def export(user: User, notes: NotesUntilSent) -> StreamResponse:
    """Send all notes as CSV, row by row. The store stays open until the last row is sent, or the client has left."""

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
    tag: Annotated[Tag, Body()] = "imported",
) -> dict[str, int]:
    """Make a note of each line of each file, while the files arrive. No file is stored."""
    count = 0
    async for part in files:
        for line in (await part.text(limit=100_000)).splitlines():
            if count == 1000:
                abort(413, content="1,000 notes at once are enough.")
            if line.strip():
                await notes.add(user, line.strip()[:1000], [tag])
                count += 1
    return {"imported": count}


app.router << "/notes" // routes
