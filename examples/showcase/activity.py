"""What the server is running now, told to every open page.

Handlers enter `activity.running(...)` around what they do. The block ends when the work does, also
when the work is cancelled because its client has left: that is how the list on the page shrinks.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

import anyio

from kui.asgi import ClientDisconnect

__all__ = ["Activity", "Entry"]

_numbers = count(1)


@dataclass
class Entry:
    """One thing that is running: what it is, for whom, since when, and how far it has come."""

    kind: str
    detail: str
    tab: str
    number: int = field(default_factory=_numbers.__next__)
    since: float = field(default_factory=time.time)
    progress: str = ""


class Activity:
    """The list of what is running, the last of what has ended, and an event for every change.

    Example::

        with activity.running("upload", "cat.jpg", tab="a1") as entry:
            entry.progress = "40 %"
    """

    def __init__(self) -> None:
        self.entries: dict[int, Entry] = {}
        self.ended: deque[dict[str, object]] = deque(maxlen=6)
        self.version = 0
        self.news = anyio.Event()

    def tell(self) -> None:
        """Wake every page that waits for news."""
        self.version += 1
        self.news.set()
        self.news = anyio.Event()

    @contextmanager
    def running(self, kind: str, detail: str, *, tab: str = "") -> Iterator[Entry]:
        """List an entry while the block lasts, and note afterwards how the block ended."""
        entry = Entry(kind, detail, tab)
        self.entries[entry.number] = entry
        self.tell()
        how = "finished"
        try:
            yield entry
        except (anyio.get_cancelled_exc_class(), ClientDisconnect):
            how = "cancelled"  # the latter if something was being sent when the client left
            raise
        except GeneratorExit:
            how = "closed"
            raise
        except BaseException:
            how = "failed"
            raise
        finally:
            del self.entries[entry.number]
            seconds = round(time.time() - entry.since, 1)
            self.ended.append({"kind": kind, "detail": detail, "how": how, "seconds": seconds})
            self.tell()

    def snapshot(self) -> dict[str, object]:
        """Return the list as a page shows it."""
        now = time.time()
        return {
            "running": [
                {
                    "number": entry.number,
                    "kind": entry.kind,
                    "detail": entry.detail,
                    "tab": entry.tab,
                    "seconds": round(now - entry.since, 1),
                    "progress": entry.progress,
                }
                for entry in self.entries.values()
            ],
            "ended": list(self.ended),
        }
