"""HTTP/2 as hypercorn 0.18 speaks it, put right where one stream would hold up or end the others (RFC 9113).

A stream whose window is closed holds its app back, and an app that takes nothing its client; one
whose app fails half-way is reset; an early answer does not end the connection. What waits for a
window is in `windows`; listeners and tasks are `kui/serving/server.py`'s.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial, wraps
from typing import Any, Final

from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset
from h2.events import Event as FrameEvent
from h2.exceptions import ProtocolError
from hypercorn.config import Config
from hypercorn.events import Closed, Event
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.events import Body, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h2 import H2Protocol, StreamBuffer
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream
from hypercorn.typing import (
    AppWrapper,
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    ASGISendEvent,
    Scope,
    TaskGroup,
)
from hypercorn.typing import Event as Flag
from priority.priority import DeadlockError

from .hypercorn_windows import Inbox, Outbox

__all__ = ["Http2"]

ENOUGH: Final = 16 * 1024 * 1024
"""Bytes of a body that are thrown away before the rest is refused."""
UPLOADS: Final = 1024 * 1024
"""Bytes of all bodies of a connection that may wait for their apps, besides the usual 64 KiB."""


class Http2(H2Protocol):
    """One connection. hypercorn calls the methods that have no name of ours, and one task each event's."""

    def __init__(self, wrapper: ProtocolWrapper) -> None:
        super().__init__(
            wrapper.app,
            wrapper.config,
            wrapper.context,
            wrapper.task_group,
            wrapper.state,
            wrapper.ssl,
            wrapper.client,
            wrapper.server,
            wrapper.send,
        )
        self._tasks = wrapper.task_group
        self._inboxes: dict[int, Inbox] = {}
        self.stream_buffers: dict[int, StreamBuffer] = _Outboxes(self.context.event_class)
        self._discarded: dict[int, int] = {}

    async def initiate(self, *upgrade: Any) -> None:
        await super().initiate(*upgrade)
        self.connection.increment_flow_control_window(UPLOADS)
        await self._flush()

    # What comes in.

    async def handle(self, event: Event) -> None:
        await super().handle(event)
        if isinstance(event, Closed):
            for outbox in self.stream_buffers.values():
                await outbox.close()  # an app that waits to send goes on, to nobody

    async def _create_stream(self, request: RequestReceived) -> None:
        stream_id = request.stream_id
        inbox = self._inboxes[stream_id] = Inbox(partial(self._open_window, stream_id))
        # A stream has its app started by the task group that it finds here, and asks it for no more.
        starter = _Starter(self._tasks, inbox, partial(self._room, stream_id))
        self.task_group = starter  # type: ignore[assignment]  # it is asked for nothing else
        await super()._create_stream(request)

    async def _close_stream(self, stream_id: int) -> None:
        inbox = self._inboxes.pop(stream_id, None)
        await super()._close_stream(stream_id)
        if inbox is not None:
            await inbox.close()

    async def _handle_events(self, events: list[FrameEvent]) -> None:
        for event in events:
            if isinstance(event, DataReceived):
                await self._take_in(event)
                continue
            if isinstance(event, (StreamEnded, StreamReset)):
                self._discarded.pop(event.stream_id, None)
            if isinstance(event, StreamReset) and event.stream_id in self.stream_buffers:
                await self.stream_buffers[event.stream_id].close()  # `send_task` forgets it
            await super()._handle_events([event])
        await self._flush()

    async def _take_in(self, event: DataReceived) -> None:
        stream_id, size = event.stream_id, event.flow_controlled_length
        stream, inbox = self.streams.get(stream_id), self._inboxes.get(stream_id)
        if stream is not None and inbox is not None:
            await stream.handle(Body(stream_id, event.data))
            await inbox.came(size)
        else:
            await self._open_window(stream_id, size)
            self._discard(stream_id, size)

    def _discard(self, stream_id: int, size: int) -> None:
        """The answer is complete: throw away what still comes, and refuse it if that is too much.

        Not at once, because some clients wait for ever then.
        """
        discarded = self._discarded.pop(stream_id, 0) + size
        if discarded <= ENOUGH:
            self._discarded[stream_id] = discarded
            return
        with suppress(ProtocolError):  # it has ended, or is refused already
            self.connection.reset_stream(stream_id, ErrorCodes.NO_ERROR)

    async def _open_window(self, stream_id: int, size: int) -> None:
        """Let the client send so many bytes more. Never waits: `send_task` tells it."""
        with suppress(ProtocolError):  # the connection has ended
            self.connection.acknowledge_received_data(size, stream_id)
        await self.has_data.set()

    # What goes out.

    async def stream_send(self, event: StreamEvent) -> None:
        if isinstance(event, StreamClosed) and self._is_unfinished(event.stream_id):
            outbox = self.stream_buffers.get(event.stream_id)
            if isinstance(outbox, Outbox):
                outbox.failed = True
                self.priority.unblock(event.stream_id)
                await self.has_data.set()
        await super().stream_send(event)

    def _is_unfinished(self, stream_id: int) -> bool:
        """Has the app ended in the middle of its response?"""
        stream = self.streams.get(stream_id)
        return isinstance(stream, HTTPStream) and stream.state in (
            ASGIHTTPState.RESPONSE,
            ASGIHTTPState.TRAILERS,
        )

    async def _room(self, stream_id: int) -> None:
        outbox = self.stream_buffers.get(stream_id)
        if isinstance(outbox, Outbox):
            await outbox.room()

    async def send_task(self) -> None:
        """Send what there is, bodies and window updates, until the connection is closed."""
        while not self.closed:
            try:
                stream_id = next(self.priority)
            except DeadlockError:  # none has anything that may be sent
                await self.has_data.wait()
                await self.has_data.clear()
                await self._flush()
            else:
                await self._send_data(stream_id)

    async def _send_data(self, stream_id: int) -> None:
        outbox = self.stream_buffers[stream_id]
        await super()._send_data(stream_id)
        if stream_id not in self.stream_buffers:
            await outbox.close()
        elif isinstance(outbox, Outbox) and outbox.failed:
            await self._give_up(stream_id, outbox)

    async def _give_up(self, stream_id: int, outbox: Outbox) -> None:
        """Reset a stream whose app has failed, unless more of what it has sent can be sent on."""
        with suppress(ProtocolError):  # the client has reset it
            if outbox.buffer and self.connection.local_flow_control_window(stream_id) > 0:
                return
            self.connection.reset_stream(stream_id, ErrorCodes.INTERNAL_ERROR)
            await self._flush()
        del self.stream_buffers[stream_id]
        self.priority.remove_stream(stream_id)
        await outbox.close()


class _Outboxes(dict[int, StreamBuffer]):
    """Keeps an `Outbox` in the place of each buffer that hypercorn makes."""

    def __init__(self, event_class: type[Flag]) -> None:
        super().__init__()
        self._event_class = event_class

    def __setitem__(self, stream_id: int, buffer: StreamBuffer) -> None:
        super().__setitem__(stream_id, Outbox(self._event_class))


class _Starter:
    """The task group of one stream: starts its app, between its inbox and its outbox."""

    def __init__(self, tasks: TaskGroup, inbox: Inbox, room: Callable[[], Awaitable[None]]) -> None:
        self._tasks = tasks
        self._inbox = inbox
        self._room = room

    async def spawn_app(
        self,
        app: AppWrapper,
        config: Config,
        scope: Scope,
        send: Callable[[ASGISendEvent | None], Awaitable[None]],
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]:
        inbox, room = self._inbox, self._room

        async def between(
            scope: Scope,
            receive: ASGIReceiveCallable,
            send: ASGISendCallable,
            sync_spawn: Callable[..., Any],
            call_soon: Callable[..., Any],
        ) -> None:
            @wraps(send)
            async def send_patiently(message: ASGISendEvent) -> None:
                await send(message)
                await room()

            await app(scope, inbox.receive, send_patiently, sync_spawn, call_soon)

        await self._tasks.spawn_app(between, config, scope, send)
        return inbox.put
