"""What the service is told by its environment: entered once, when the app starts."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import anyio

from .store import make_tables

__all__ = ["Settings", "settings"]


async def reachable(url: str) -> bool:
    """True if a server listens where a link leads."""
    parts = urlsplit(url)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        with anyio.fail_after(3):
            async with await anyio.connect_tcp(parts.hostname or "", port):
                return True
    except (OSError, ValueError):
        return False


@dataclass(frozen=True)
class Settings:
    """Where the notes are, and whose key is whose."""

    database: Path
    keys: dict[str, str] = field(default_factory=lambda: {"ann": "Ann", "bob": "Bob"})
    reachable: Callable[[str], Awaitable[bool]] = reachable


async def settings() -> AsyncIterator[Settings]:
    """The settings of the environment: NOTES is a file; without it the notes end with the service."""
    with TemporaryDirectory() as folder:
        found = Settings(Path(os.environ.get("NOTES") or f"{folder}/notes.db"))
        await make_tables(found.database)
        yield found
