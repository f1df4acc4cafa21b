"""The only caller of a server's `receive` (docs/design.md, "Receiving").

A reader, a poll and a watcher may all want the next message: one of them receives, and the others look into the
buffer. `Exchange` defines what a message means and what happens when the client has gone.

While there is no watcher, a reader awaits the server's own `receive()`. A poll must not wait. On trio it cancels a
`receive` that has found nothing, which trio's channels promise to survive. Not all servers on asyncio promise that
(granian loses the message that a cancelled `receive` holds); there one task (the pull) keeps receiving until the buffer
is full. The buffer owns that task, and `close` ends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import anyio
import anyio.lowlevel
from baize.typing import Message, Receive

from kui.concurrency.cleanup import raise_cancellation
from kui.concurrency.loops import on_asyncio
from kui.concurrency.waits import on_every_wait

__all__ = ["BUFFERED_BYTES", "BUFFERED_MESSAGES", "ReceiveBuffer", "ReceivesNowait"]

BUFFERED_BYTES: Final = 64 * 1024
"""Limit of the unread messages, in bytes. The message that reaches it is still kept."""
BUFFERED_MESSAGES: Final = 16
"""Limit of the unread messages, in number."""

_TURNS: Final = 3
"""Turns of asyncio's loop in which a `receive()` returns that need not wait for the client."""


class ReceivesNowait:
    """A server's side of one connection: `receive` is a method of it, and it can tell what has come without waiting.

    A buffer whose `receive` is that method, and not one of a middleware around it, asks the server first.
    """

    __slots__ = ()

    def receive_nowait(self) -> Message | None:
        """Return the next message if it has come already, but for the disconnect; else None."""
        raise NotImplementedError


class ReceiveBuffer:
    """Keeps the messages of one connection, in order, for a reader, polls and watchers.

    - `ended`: the disconnect message, once it has arrived. A reader gets it after all messages that came before.
    - `was_read`: True once `receive` was called.
    - `messages_buffered`: how many messages have arrived while no reader waited for one.
    """

    # Class attributes, because few buffers change them: setting them all would double the time to make a buffer.
    ended: Message | None = None
    messages_buffered = 0
    was_read = False
    _size = 0
    _receiving = False  # True while a task awaits the server's receive()
    _failure: Exception | None = None  # what receive() has raised in the pull or a watcher
    _refusal: Exception | None = None  # raised in a reader if a part of the body was discarded
    _listeners: list[Callable[[], object]] | None = None
    _told = False  # True once the listeners have been called
    _watchers = 0
    # True while there is a watcher on asyncio: the pull is started again after each read.
    _pulls = False
    _pull: asyncio.Task[None] | None = None
    _changes: anyio.Event | None = None  # set when anything here has changed

    # Set by the derived class.
    _receive: Receive
    _kept: list[Message]  # a deque, empty, has 10 times the size

    # Without waiting.

    @property
    def full(self) -> bool:
        """True if the buffer is full; a disconnect cannot be detected until a reader takes something out."""
        return self._size >= BUFFERED_BYTES or len(self._kept) >= BUFFERED_MESSAGES

    @property
    def _more(self) -> bool:
        return self.ended is None and self._failure is None and not self.full

    def listen(self, listener: Callable[[], object]) -> None:
        """Call `listener()` once, when the client has gone; at once if it has gone already."""
        if self._told:
            listener()
        elif self._listeners is None:
            self._listeners = [listener]
        else:
            self._listeners.append(listener)

    def unlisten(self, listener: Callable[[], object]) -> None:
        """Remove a listener. Does nothing if it was called already."""
        if self._listeners and listener in self._listeners:
            self._listeners.remove(listener)

    def watch(self) -> None:
        """Register a watcher, which waits in `change`. On asyncio the pull keeps receiving from now on."""
        self._watchers += 1
        if on_asyncio():
            self._pulls = True
            self._start_pull()

    def unwatch(self) -> None:
        """Unregister one watcher."""
        self._watchers -= 1
        self._pulls = self._pulls and self._watchers > 0

    def _arrived(self, message: Message) -> None:
        """Record a message that has arrived, before a reader takes it."""
        if message["type"].endswith(".disconnect"):
            self.ended = message
            self._tell()

    def _tell(self) -> None:
        self._told = True
        listeners, self._listeners = self._listeners, None
        for listener in listeners or ():
            listener()

    def _weigh(self, message: Message) -> int:
        return len(message.get("body") or message.get("bytes") or message.get("text") or b"")

    def _keep(self, message: Message) -> None:
        self.messages_buffered += 1
        self._arrived(message)
        if self.ended is not message:
            self._kept.append(message)
            self._size += self._weigh(message)
        self._changed()

    def keep_arrived(self) -> None:
        """Keep what has come already, as far as there is room, if the server can tell that without waiting."""
        # The `receive` of a middleware is no method of such a server.
        server = getattr(self._receive, "__self__", None)
        if isinstance(server, ReceivesNowait) and not self._receiving:
            while self._more and (message := server.receive_nowait()) is not None:
                # Not the `_keep` of a subclass, which may discard: there is room, and a task may read it yet.
                ReceiveBuffer._keep(self, message)

    def _take(self) -> Message:
        message = self._kept.pop(0)
        self._size -= self._weigh(message)
        if self._pulls:
            self._start_pull()
        self._changed()
        return message

    def wake(self) -> None:
        """Wake the tasks that wait in `change`, so that they check their condition again."""
        self._changed()

    def _changed(self) -> None:
        if self._changes is not None:
            self._changes.set()
            self._changes = None

    # Waiting.

    async def receive(self) -> Message:
        """Return the next message in order. After the disconnect, return the disconnect each time.

        If cancelled, no message is lost, provided that the server's own `receive` keeps that promise.

        :raises RuntimeError: a part of the body was discarded (see `Exchange`).
        :raises Exception: what the server's `receive` raises.
        """
        self.was_read = True
        while not self._kept:
            if self.ended is not None:
                await raise_cancellation()  # the disconnect may have cancelled this task
                return self.ended
            if self._failure is not None:
                raise self._failure
            if self._refusal is not None:
                raise self._refusal
            if self._receiving:
                await self._until_changed()
                continue
            # As `_receive_here`, without the call: most bodies are one message.
            self._receiving = True
            try:
                message = await self._receive()
            finally:
                self._receiving = False
                if self._changes is not None:
                    self._changed()
            self._arrived(message)
            if self.ended is None:
                if self._pulls:
                    self._start_pull()
                return message
        return self._take()

    async def poll(self) -> None:
        """Receive the messages that have arrived already, until the buffer is full.

        This is a checkpoint. It never waits for the client, and loses no message.
        """
        looked = False
        while self._more:
            count = self.messages_buffered
            if on_asyncio():
                self._start_pull()
                for _ in range(_TURNS):
                    await asyncio.sleep(0)
                    if self.messages_buffered != count:
                        break
            elif self._receiving:
                break
            else:
                with anyio.CancelScope() as scope:
                    # A scope that was cancelled before would end `receive` at its first checkpoint, before it looks.
                    self._keep(await on_every_wait(self._receive_here(), scope.cancel))
            looked = True
            if self.messages_buffered == count:
                return
        if not looked:
            await anyio.lowlevel.checkpoint()

    async def change(self) -> None:
        """Wait until a message has arrived or was taken out; receive it, unless another task is receiving.

        Watchers call this. If cancelled, no message is lost.
        """
        if not self._more or self._receiving:
            await self._until_changed()
        elif on_asyncio():
            self._start_pull()
            await self._until_changed()
        else:
            try:
                message = await self._receive_here()
            except Exception as error:
                self._failure = error
                self._changed()
            else:
                self._keep(message)

    async def close(self) -> None:
        """Cancel the pull and wait for it. The buffer must not receive afterwards."""
        pull = self._pull
        if pull is not None:
            pull.cancel()
            await asyncio.wait([pull])

    async def _until_changed(self) -> None:
        if self._changes is None:
            self._changes = anyio.Event()
        await self._changes.wait()

    async def _receive_here(self) -> Message:
        self._receiving = True
        try:
            return await self._receive()
        finally:
            self._receiving = False
            self._changed()

    def _start_pull(self) -> None:
        if self._pull is None and self._more and not self._receiving:
            self._receiving = True
            self._pull = asyncio.ensure_future(self._keep_receiving())

    async def _keep_receiving(self) -> None:
        try:
            while self._more:
                self._keep(await self._receive())
        except Exception as error:
            self._failure = error
        finally:
            self._receiving = False
            self._pull = None
            self._changed()
