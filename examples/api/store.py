"""Notes in SQLite, by sqlite-anyio: on asyncio and on trio, and a statement ends when its request is cancelled."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlite_anyio

__all__ = ["NoSuchNote", "Note", "Store", "make_tables", "open_store"]


@dataclass
class Note:
    id: int
    text: str
    due: str | None
    tags: list[str]


class NoSuchNote(LookupError):
    """The user has no note with this number."""


class Store:
    """The notes, in one transaction."""

    def __init__(self, connection: sqlite_anyio.Connection) -> None:
        self._connection = connection

    async def _rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        cursor = await self._connection.execute(sql, values)
        return list(await cursor.fetchall())

    async def add(self, user: str, text: str, tags: list[str]) -> Note:
        sql = "INSERT INTO notes (user, text, tags) VALUES (?, ?, ?) RETURNING id"
        ((number,),) = await self._rows(sql, user, text, f" {' '.join(tags)} ")
        return Note(number, text, None, tags)

    async def get(self, user: str, id: int) -> Note:
        sql = "SELECT id, text, due, tags FROM notes WHERE user = ? AND id = ?"
        for row in await self._rows(sql, user, id):
            return _note(row)
        raise NoSuchNote(f"There is no note {id}.")

    async def find(
        self, user: str, tags: list[str], text: str | None, page: int, size: int
    ) -> list[Note]:
        sql = "SELECT id, text, due, tags FROM notes WHERE user = ?"
        values: list[object] = [user]
        for tag in tags:
            sql += " AND instr(tags, ?)"
            values.append(f" {tag} ")
        if text is not None:
            sql += " AND instr(text, ?)"
            values.append(text)
        rows = await self._rows(
            f"{sql} ORDER BY id LIMIT ? OFFSET ?", *values, size, size * (page - 1)
        )
        return [_note(row) for row in rows]

    async def change(self, user: str, id: int, changes: dict[str, Any]) -> Note:
        await self.get(user, id)
        for column in changes.keys() & {"text", "due"}:
            await self._rows(f"UPDATE notes SET {column} = ? WHERE id = ?", changes[column], id)
        return await self.get(user, id)

    async def delete(self, user: str, id: int) -> None:
        await self.get(user, id)
        await self._rows("DELETE FROM notes WHERE id = ?", id)

    async def every(self, user: str) -> AsyncIterator[Note]:
        """All notes of a user, a hundred at a time."""
        last = 0
        while True:
            sql = "SELECT id, text, due, tags FROM notes WHERE user = ? AND id > ? ORDER BY id LIMIT 100"
            rows = await self._rows(sql, user, last)
            for row in rows:
                yield _note(row)
            if len(rows) < 100:
                return
            last = rows[-1][0]


def _note(row: tuple[Any, ...]) -> Note:
    number, text, due, tags = row
    return Note(number, text, due, tags.split())


async def make_tables(file: Path) -> None:
    async with await sqlite_anyio.connect(str(file)) as connection:
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS notes"
            " (id INTEGER PRIMARY KEY, user TEXT NOT NULL, text TEXT NOT NULL, due TEXT, tags TEXT NOT NULL)"
        )
    await connection.close()


@asynccontextmanager
async def open_store(file: Path) -> AsyncIterator[Store]:
    """A connection and a transaction: committed at the end of the block, rolled back if it raises."""
    connection = await sqlite_anyio.connect(str(file))
    try:
        async with connection:
            yield Store(connection)
    finally:
        await connection.close()
