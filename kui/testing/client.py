"""`AsyncTestClient`: an httpx2 client over an app in process, with the app's lifespan around it.

All tasks of the app are children of its task group, which the `async with` of the test enters and leaves in the
test's own task.
"""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

import httpx2
from baize.typing import ASGIApp

from .checkpoints import Checkpoints, How
from .clocks import is_virtual
from .deadlines import Deadline
from .errors import DeadlineExceeded, NotAnEventStream
from .events import EventStream
from .exchanges import HttpExchange
from .lifespan import LifespanRunner
from .signals import UNSET, Unset
from .sockets import WebSocketSession
from .transport import ASGITransport, report

__all__ = [
    "AsyncTestClient",
    "event_headers",
    "exchange_of_response",
    "is_event_stream",
    "read_exactly",
    "socket_headers",
]


class AsyncTestClient(httpx2.AsyncClient):
    """An `httpx2.AsyncClient` that talks to `app` in process, and runs its lifespan around the block.

    It has everything that `httpx2.AsyncClient` has. Its transport is an `ASGITransport`, which documents
    when a request is over.

    :param app: any ASGI 3 app.
    :param transport: an `ASGITransport` over `app`, if it needs other settings than the defaults.
    :param raise_app_exceptions: see `ASGITransport`.
    :param lifespan: False to not start and stop the app.
    :param timeout: a timeout of httpx2. Its read timeout, in seconds of the loop's clock, limits each wait for the
        app: for a response, its next chunk, an event, a message, its return, its start-up and its shutdown. The
        default is 5 s, or no limit if the clock is virtual.
    :param deadline: seconds of real time for the whole block, also with a virtual clock; None for no limit.
    :param base_url: the base of relative URLs.
    :param options: other parameters of `httpx2.AsyncClient`: headers, cookies, auth, ...

    Entering raises the app's own exception if the start-up fails, or `LifespanFailed`. Leaving disconnects
    the requests that are in flight, waits for them, and shuts the app down. It raises the exceptions of
    the app that no request has raised, or adds them as notes to the exception that leaves the block, and
    raises `DeadlineExceeded` if the time ran out. If the block is cancelled from outside, so is the app.

    Example::

        async def test_hello():
            async with AsyncTestClient(app) as client:
                assert (await client.get("/")).text == "hello"
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        transport: ASGITransport | None = None,
        raise_app_exceptions: bool = True,
        lifespan: bool = True,
        timeout: Any = UNSET,
        deadline: float | None = 30,
        base_url: str = "http://testserver",
        **options: Any,
    ) -> None:
        self.app = app
        self.transport = transport or ASGITransport(app, raise_app_exceptions=raise_app_exceptions)
        self._default_timeout = isinstance(timeout, Unset)
        super().__init__(
            base_url=base_url,
            timeout=5 if isinstance(timeout, Unset) else timeout,
            transport=self.transport,
            trust_env=False,
            **options,
        )
        self._seconds = deadline
        self._deadline = Deadline(deadline, self.story)
        self._wants_lifespan = lifespan
        self._lifespan: LifespanRunner | None = None

    async def __aenter__(self) -> Self:
        if self._default_timeout and is_virtual():
            self.timeout = httpx2.Timeout(None)
        self._deadline.__enter__()
        try:
            await super().__aenter__()
            if self._wants_lifespan:
                runner = LifespanRunner(
                    self.app, self.transport.state, self.timeout.read, self.story
                )
                await runner.start(self.transport.tasks)
                self._lifespan = runner
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        failures: list[Exception] = []
        error = exc_value
        try:
            if error is None or isinstance(error, Exception):
                failures = await self._wind_up()
        except BaseException as raised:
            error = raised
        try:
            await super().__aexit__(type(error) if error else None, error, traceback)
        except BaseException as raised:
            error = raised
        if self._deadline.__exit__(type(error) if error else None, error, traceback):
            raise DeadlineExceeded(
                f"the test took longer than {self._seconds} s: {self._deadline.story}"
            )
        if error is not None and error is not exc_value:
            raise error
        report(failures, exc_value)

    async def _wind_up(self) -> list[Exception]:
        """Disconnect everything, stop the app, and return its failures."""
        failures: list[Exception] = []
        transport = self.transport
        transport.disconnect()
        if transport.wait_for_app:
            for conversation in tuple(transport.conversations):
                if not conversation.given_up:
                    try:
                        await conversation.ended()
                    except DeadlineExceeded as error:
                        failures.append(error)
        if self._lifespan is not None:
            try:
                await self._lifespan.stop()
            except Exception as error:
                failures.append(error)
        return transport.untold() + failures

    def story(self) -> str:
        """Describe the requests in flight, for the message of a test that takes too long."""
        return self.transport.story()

    def give_up(self) -> None:
        """Do not wait at the end of the block for the requests that are in flight now."""
        for conversation in self.transport.conversations:
            conversation.given_up = True

    # ---- leaving and stopping

    def disconnect(self, response: httpx2.Response | None = None) -> None:
        """Disconnect all requests and WebSockets at once, or only the request of `response`.

        The app receives `http.disconnect` or `websocket.disconnect` (1006) after the messages that it has
        not received yet; calls of the test that wait for the app raise `Disconnected`. Does not wait for
        the app: see `wait_idle`.
        """
        if response is None:
            self.transport.disconnect()
        else:
            exchange_of_response(response).leave()

    async def wait_idle(self, *, timeout: float | Unset | None = UNSET) -> None:
        """Wait until the app has returned from every request.

        :param timeout: seconds of the loop's clock; the client's read timeout if it is not given.
        :raises DeadlineExceeded: it took longer.
        :raises Exception: an exception of the app that no request has raised.
        """
        seconds = self.timeout.read if isinstance(timeout, Unset) else timeout
        await self.transport.idle(seconds)

    def every_checkpoint(self, *, how: How = "leave", limit: int = 2000) -> Checkpoints:
        """Repeat one request, and interrupt it at its 1st, 2nd, ... checkpoint, until it ends uninterrupted.

        Each attempt is a block. Its first request or WebSocket is interrupted, except in the last attempt. The block
        catches `Disconnected`, which the interruption causes, and waits until the app has returned. After the block,
        assert what must hold for any end of the request. The checkpoints are those of the app's own task. Use
        `kui.testing.every_checkpoint` for functions.

        :param how: "leave": the client leaves. "cancel": the server cancels the app and closes the
            connection.
        :param limit: the largest number of checkpoints.
        :raises RuntimeError: the request has more checkpoints; or a block has made no request.
        :raises Exception: the block raises what the app raises; a note names the checkpoint.

        ::

            async for hit in client.every_checkpoint():
                async with hit:
                    await client.post("/orders", json={"item": 7})
                assert pool.free == 1, hit
        """
        return Checkpoints(self.transport, how, limit, self.timeout.read)

    def begin_shutdown(self) -> None:
        """Tell the app to shut down (`lifespan.shutdown`), while requests may be in flight.

        Calling it again does nothing.
        """
        if self._lifespan is not None:
            self._lifespan.begin_stop()

    async def shutdown(self) -> None:
        """Shut the app down, and wait until its lifespan has ended.

        :raises DeadlineExceeded: that took longer than the client's read timeout.
        :raises LifespanFailed: it sent `lifespan.shutdown.failed` and raised nothing.
        :raises Exception: the app's own exception.
        """
        if self._lifespan is not None:
            await self._lifespan.stop()

    # ---- talking

    def build_request(self, *args: Any, **kwargs: Any) -> httpx2.Request:
        """Build a request, as httpx2 does. A generator given as content is closed when the request is over."""
        request = super().build_request(*args, **kwargs)
        content = kwargs.get("content")
        if hasattr(content, "aclose"):
            request.extensions["kui.body"] = content
        return request

    async def read(
        self, response: httpx2.Response, size: int, *, timeout: float | Unset | None = UNSET
    ) -> bytes:
        """Read exactly `size` bytes of a streamed response's body, or fewer at its end.

        A Content-Encoding is not decoded. The rest is not read, so that the app waits in `send` once it has sent more
        than the transport's `buffer_size`.

        :param timeout: seconds of the loop's clock for each chunk.
        :raises DeadlineExceeded: nothing was received in that time; what was received before is not lost.
        """
        seconds = self.timeout.read if isinstance(timeout, Unset) else timeout
        return await read_exactly(exchange_of_response(response), size, seconds)

    @asynccontextmanager
    async def events(
        self,
        url: httpx2.URL | str,
        *,
        method: str = "GET",
        last_event_id: str | None = None,
        comments: bool = False,
        headers: Any = None,
        timeout: float | Unset | None = UNSET,
        **options: Any,
    ) -> AsyncGenerator[EventStream, None]:
        """Open an event stream: `async with client.events("/path") as events`.

        :param last_event_id: resume after this event (`Last-Event-ID`).
        :param comments: True if comments are events too, which have only `comment`.
        :param timeout: for each event, in seconds of the loop's clock.
        :param options: other parameters of `stream`: params, json, ...
        :raises NotAnEventStream: the response is no event stream; the exception has it.
        :raises Exception: the app's own exception.
        """
        seconds = self.timeout.read if isinstance(timeout, Unset) else timeout
        request_headers = event_headers(headers, last_event_id)
        async with self.stream(method, url, headers=request_headers, **options) as response:
            if not is_event_stream(response):
                await response.aread()
                raise NotAnEventStream(response)
            yield EventStream(self.transport, response, comments=comments, timeout=seconds)

    def websocket(  # type: ignore[override]  # httpx2 talks frames over a network stream, we do not
        self,
        url: httpx2.URL | str,
        *,
        subprotocols: Sequence[str] = (),
        headers: Any = None,
        params: Any = None,
        timeout: float | Unset | None = UNSET,
    ) -> WebSocketSession:
        """Open a WebSocket: `async with client.websocket("/path") as ws`.

        :param timeout: of each method, in seconds of the loop's clock.
        :raises WebSocketDenied: the app did not accept; with its response.
        :raises Exception: the app's own exception.
        """
        seconds = self.timeout.read if isinstance(timeout, Unset) else timeout
        request = self.build_request(
            "GET", url, params=params, headers=socket_headers(headers, subprotocols)
        )
        return WebSocketSession(self.transport, request, tuple(subprotocols), seconds)


def exchange_of_response(response: httpx2.Response) -> HttpExchange:
    """Return the exchange of a response."""
    exchange = response.extensions["kui.exchange"]
    assert isinstance(exchange, HttpExchange)
    return exchange


async def read_exactly(exchange: HttpExchange, size: int, timeout: float | None) -> bytes:
    """Read `size` bytes of the response of `exchange`; fewer at its end."""
    data = b""
    try:
        while len(data) < size:
            chunk = await exchange.next_chunk(timeout)
            if not chunk:
                break
            data += chunk
    except BaseException:
        exchange.put_back(data)
        raise
    exchange.put_back(data[size:])
    return data[:size]


def event_headers(headers: Any, last_event_id: str | None) -> httpx2.Headers:
    """Return the headers of a request for an event stream."""
    merged = httpx2.Headers(
        {"accept": "text/event-stream", "accept-encoding": "identity", "cache-control": "no-store"}
    )
    if last_event_id is not None:
        merged["last-event-id"] = last_event_id
    merged.update(headers)
    return merged


def is_event_stream(response: httpx2.Response) -> bool:
    """True if an `EventSource` accepts this response."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return response.status_code == 200 and kind == "text/event-stream"


def socket_headers(headers: Any, subprotocols: Sequence[str]) -> httpx2.Headers:
    """Return the headers of a handshake (RFC 6455, 4.1)."""
    merged = httpx2.Headers(
        {
            "connection": "Upgrade",
            "upgrade": "websocket",
            "sec-websocket-key": base64.b64encode(os.urandom(16)).decode(),
            "sec-websocket-version": "13",
        }
    )
    if subprotocols:
        merged["sec-websocket-protocol"] = ", ".join(subprotocols)
    merged.update(headers)
    return merged
