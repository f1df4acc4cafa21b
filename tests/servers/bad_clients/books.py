"""What an app under test knows of itself: a record for each request, and what the process holds.

`Books` stands in front of the app, and answers what begins with `/_`; nothing of Kui is asked for it.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import anyio
import sniffio
from baize.typing import ASGIApp, Receive, Scope, Send

import kui

PATIENCE = 15.0
"""Seconds that a state may take to come about on a busy machine."""
LOOK = 0.01
"""Seconds between two looks at what does not announce itself."""

_FRAMEWORK = os.path.dirname(kui.__file__)
_IDLE = ("/threading.py", "/queue.py", "/_thread_cache.py", "/_backends/_asyncio.py", "/thread.py")
"""The files in whose code, and nowhere else, is a thread that waits for its next job."""


@dataclass
class Record:
    """What has happened to one request."""

    begun: bool = False
    opened: int = 0
    """How often it has opened something,"""
    closed: int = 0
    """and closed it,"""
    finals: int = 0
    """and how often a `finally` has run to its end, awaits and all."""
    produced: int = 0
    """How many chunks it has made."""
    background: int = 0
    """How often its background task has run."""
    events: list[str] = field(default_factory=list)
    """What else it has to tell."""
    ended: list[str] = field(default_factory=list)
    """How the app's call has ended, as often as it has: "returned", or the name of an exception."""


class Books:
    """Keeps the records of an app."""

    def __init__(self) -> None:
        self.app: ASGIApp
        self.records: dict[str, Record] = {}
        self.released: dict[str, tuple[anyio.Event, threading.Event]] = {}
        self.baseline: dict[str, Counter[str]] = {}

    def record(self, name: str) -> Record:
        return self.records.setdefault(name, Record())

    def release(self, name: str) -> tuple[anyio.Event, threading.Event]:
        """What the handler waits for, in the loop or in a thread, until a test lets it go on."""
        # A thread and the loop may be the first at once: both must get the same.
        return self.released.setdefault(name, (anyio.Event(), threading.Event()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif scope["path"].startswith("/_"):
            query = {key: values[0] for key, values in parse_qs(scope["query_string"]).items()}
            answer = await self._answer(scope["path"][2:], query.get(b"name", b"").decode())
            await _send_json(send, answer)
        else:
            record = self.record(scope["path"].rpartition("/")[2])
            try:
                await self.app(scope, receive, send)
            except BaseException as error:
                record.ended.append(type(error).__name__)
                raise
            else:
                record.ended.append("returned")

    async def _answer(self, what: str, name: str) -> Any:
        if what == "mark":
            os.write(1, f"mark {name}\n".encode())
            return {"mark": f"mark {name}\n"}
        record = self.record(name)
        if what == "release":
            for event in self.release(name):
                event.set()
        elif what == "begun":
            await wait_until(lambda: record.begun)
        elif what == "over":
            await wait_until(lambda: bool(record.ended))
        elif what == "working":
            await wait_until(lambda: "working" in record.events)
        elif what == "held":
            await held(record)
        elif what == "baseline":
            await wait_until(lambda: not any("/concurrency/" in each for each in _busy_threads()))
            self.baseline = holdings()
        elif what == "quiet":
            await wait_until(lambda: not self._beyond())
            return {"left": self._beyond()}
        elif what == "settled":
            await wait_until(lambda: bool(record.ended) and not self._beyond())
            return vars(record) | {"left": self._beyond()}
        return vars(record)

    def _beyond(self) -> dict[str, list[str]]:
        """What the process holds that it did not hold when it was idle."""
        now = holdings()
        beyond = {key: sorted((now[key] - self.baseline[key]).elements()) for key in now}
        return {key: names for key, names in beyond.items() if names}


async def wait_until(holds: Callable[[], bool]) -> None:
    """Wait until something holds; give up in the end: the caller can see what is."""
    with anyio.move_on_after(PATIENCE):
        while not holds():  # noqa: ASYNC110 - most of it is not announced
            await anyio.sleep(LOOK)


async def held(record: Record) -> None:
    """Wait until nothing more is produced, as far as one can see."""
    still, before = 0, -1
    with anyio.move_on_after(PATIENCE):
        while still < 10:
            await anyio.sleep(LOOK)
            still = still + 1 if record.produced == before and record.begun else 0
            before = record.produced


def holdings() -> dict[str, Counter[str]]:
    """The tasks, busy threads, descriptors and temporary files of this process."""
    return {
        "tasks": Counter(_tasks()),
        "threads": Counter(_busy_threads()),
        "descriptors": Counter(_descriptors()),
        "files": Counter(os.listdir(os.environ["TMPDIR"])),
    }


def _tasks() -> Iterator[str]:
    if sniffio.current_async_library() == "asyncio":
        import asyncio

        for task in asyncio.all_tasks():
            yield getattr(task.get_coro(), "__qualname__", repr(task))
        return
    import trio

    root = trio.lowlevel.current_root_task()
    waiting = [] if root is None else [root]
    while waiting:
        each = waiting.pop()
        yield each.name
        waiting += [child for nursery in each.child_nurseries for child in nursery.child_tasks]


def _busy_threads() -> Iterator[str]:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        if ident == threading.main_thread().ident:
            continue
        files = []
        while frame is not None:
            files.append(frame.f_code.co_filename)
            frame = frame.f_back  # type: ignore[assignment] # None ends the loop
        if not all(file.endswith(_IDLE) for file in files):
            ours = [file for file in files if file.startswith(_FRAMEWORK)] or files
            yield f"{names.get(ident)} in {ours[0]}"


def _descriptors() -> Iterator[str]:
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:  # the one that listed them
            continue
        # Numbers of sockets and pipes tell nothing, and differ each time.
        yield target.partition(":[")[0]


async def _send_json(send: Send, value: object) -> None:
    body = json.dumps(value).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
