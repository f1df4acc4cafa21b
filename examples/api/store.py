"""Notes in SQLite, by sqlite-anyio: on asyncio and on trio, and a statement ends when its request is cancelled."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlite_anyio

from kui.asgi import HTTPException

__all__ = ["Note", "Store", "open_store"]

TABLE = """CREATE TABLE IF NOT EXISTS notes
    (id INTEGER PRIMARY KEY, user TEXT NOT NULL, text TEXT NOT NULL, due TEXT, tags TEXT NOT NULL)"""
NOTES = "SELECT id, text, due, tags FROM notes WHERE user = ?"


@dataclass
class Note:
    id: int
    text: str
    due: str | None
    tags: list[str]


class Store:
    """The notes, in one transaction."""

    def __init__(self, connection: sqlite_anyio.Connection) -> None:
        self._connection = connection

    async def _rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        cursor = await self._connection.execute(sql, values)
        return list(await cursor.fetchall())

    async def _notes(self, sql: str, *values: object) -> list[Note]:
        rows = await self._rows(NOTES + sql, *values)
        return [Note(id, text, due, tags.split()) for id, text, due, tags in rows]

    async def make_table(self) -> None:
        await self._rows(TABLE)

    async def add(self, user: str, text: str, tags: list[str]) -> Note:
        sql = "INSERT INTO notes (user, text, tags) VALUES (?, ?, ?) RETURNING id"
        ((id,),) = await self._rows(sql, user, text, f" {' '.join(tags)} ")
        return Note(id, text, None, tags)

    async def get(self, user: str, id: int) -> Note:
        for note in await self._notes(" AND id = ?", user, id):
            return note
        raise HTTPException(404, content=f"There is no note {id}.")

    async def find(self, user: str, tags: list[str], page: int, size: int) -> list[Note]:
        sql = " AND instr(tags, ?)" * len(tags) + " ORDER BY id LIMIT ? OFFSET ?"
        wanted = [f" {tag} " for tag in tags]
        return await self._notes(sql, user, *wanted, size, size * (page - 1))

    async def change(self, user: str, id: int, changes: dict[str, Any]) -> Note:
        await self.get(user, id)
        for column in changes.keys() & {"text", "due"}:
            await self._rows(f"UPDATE notes SET {column} = ? WHERE id = ?", changes[column], id)
        return await self.get(user, id)

    async def delete(self, user: str, id: int) -> None:
        await self.get(user, id)
        await self._rows("DELETE FROM notes WHERE id = ?", id)

    async def every(self, user: str) -> AsyncIterator[Note]:
        """Yield all notes of a user, read a hundred at a time."""
        last = 0
        while found := await self._notes(" AND id > ? ORDER BY id LIMIT 100", user, last):
            for note in found:
                yield note
            last = found[-1].id


@asynccontextmanager
async def open_store(file: Path) -> AsyncIterator[Store]:
    """Open a connection and a transaction: committed at the end of the block, rolled back if it raises."""
    connection = await sqlite_anyio.connect(str(file))
    try:
        async with connection:
            yield Store(connection)
    finally:
        await connection.close()
