"""An httpx2 transport that calls an ASGI app in process, streams both ways, and checks the contract.

Each request is a task in the transport's task group, which the `async with` of the transport, or of the client that
owns it, opens and closes. The state of one request is in `exchanges.py`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from types import AsyncGeneratorType, TracebackType
from typing import Any, Self, TypeVar

import anyio
import anyio.abc
import httpx2
from baize.typing import ASGIApp, Scope

from .conversations import Conversation
from .errors import ContractError, DeadlineExceeded
from .exchanges import HttpExchange

__all__ = ["HTTP_EXTENSIONS", "ASGITransport", "ClosingResponse"]

Iterator = TypeVar("Iterator", bound=AsyncIterator[Any])

HTTP_EXTENSIONS = (
    "http.response.debug",
    "http.response.early_hint",
    "http.response.pathsend",
    "http.response.push",
    "http.response.trailers",
    "http.response.zerocopysend",
)


class ClosingResponse(httpx2.Response):
    """A response that closes its iterators when it is closed, so that a test may leave them by `break`, on trio too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._iterators: list[AsyncGeneratorType[Any, None]] = []

    def aiter_raw(self, chunk_size: int | None = None) -> AsyncGenerator[bytes, None]:
        return self._kept(super().aiter_raw(chunk_size))

    def aiter_bytes(self, chunk_size: int | None = None) -> AsyncGenerator[bytes, None]:
        return self._kept(super().aiter_bytes(chunk_size))

    def aiter_text(self, chunk_size: int | None = None) -> AsyncIterator[str]:
        return self._kept(super().aiter_text(chunk_size))

    def aiter_lines(self) -> AsyncIterator[str]:
        return self._kept(super().aiter_lines())

    def _kept(self, iterator: Iterator) -> Iterator:
        if isinstance(iterator, AsyncGeneratorType):
            self._iterators.append(iterator)
        return iterator

    async def aclose(self) -> None:
        for iterator in self._iterators:
            if not iterator.ag_running:
                await iterator.aclose()
        await super().aclose()


class _ResponseStream(httpx2.AsyncByteStream):
    """The body of a response, as it is sent; closing it before its end disconnects the client."""

    def __init__(
        self, exchange: HttpExchange, transport: ASGITransport, timeout: float | None
    ) -> None:
        self._exchange = exchange
        self._transport = transport
        self._timeout = timeout
        self._closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await self._exchange.next_chunk(self._timeout)
        except httpx2.RemoteProtocolError:
            await self._transport.finish(self._exchange)
            raise
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            if self._exchange.complete:
                self._exchange.end_body()
            else:
                self._exchange.leave()
            await self._transport.finish(self._exchange)


class ASGITransport(httpx2.AsyncBaseTransport):
    """Serves each request of a client with `app`, in a task of its own.

    Bodies are streamed in both directions: `send` waits while more than `buffer_size` bytes have not been
    read, and a streamed request body while the app has not received it. A request is over when the app
    has returned. Reading a response to its end, or closing it, waits for that, within the request's
    read timeout (seconds of the loop's clock), so that a test can check the app's state afterwards.

    :param app: any ASGI 3 app.
    :param raise_app_exceptions: True if exceptions of the app are raised in the test; otherwise the client
        gets a 500, or a response that breaks off (`httpx2.RemoteProtocolError`). Violations of the
        ASGI contract are always raised.
    :param root_path: ASGI's `root_path`; the paths of requests include it.
    :param client: the address that the app sees.
    :param http_version: the version in the scope; with "2", headers of the connection violate the contract.
    :param extensions: the ASGI extensions that are offered to HTTP requests.
    :param denial_response: True if the extension `websocket.http.response` is offered.
    :param buffer_size: how many bytes are buffered in each direction before the writer waits; with 0, each `send`
        waits until the client has read its chunk.
    :param raise_after_leaving: True if `send` raises OSError when the client has left (`spec_version` is then 2.5),
        False if it does nothing (2.3). Both kinds of servers exist. If the app does not catch this exception, it does
        not count as a failure.
    :param both_keys: True if `websocket.receive` has both `text` and `bytes`, one of them None; False if it has only
        one of them. Both kinds of servers exist.
    :param wait_for_app: False if a response does not wait for the app to return. An exception that the app raises later
        is raised when the transport is closed.

    A request that is cancelled while it waits for its response is disconnected.

    Example::

        transport = ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            response = await client.get("/")
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        raise_app_exceptions: bool = True,
        root_path: str = "",
        client: tuple[str, int] | None = ("127.0.0.1", 50000),
        http_version: str = "1.1",
        extensions: Iterable[str] = HTTP_EXTENSIONS,
        denial_response: bool = True,
        buffer_size: int = 65536,
        raise_after_leaving: bool = False,
        both_keys: bool = False,
        wait_for_app: bool = True,
    ) -> None:
        self.app = app
        self.raise_app_exceptions = raise_app_exceptions
        self.root_path = root_path
        self.client = client
        self.http_version = http_version
        self.extensions = tuple(extensions)
        self.denial_response = denial_response
        self.buffer_size = buffer_size
        self.raise_after_leaving = raise_after_leaving
        self.both_keys = both_keys
        self.wait_for_app = wait_for_app
        self.state: dict[str, Any] = {}
        self.conversations: dict[Conversation, None] = {}  # in the order in which they began
        self.aim: Callable[[ASGIApp, Conversation], ASGIApp] | None = None
        """Called with the app and the next conversation that begins; returns the app that is called for it."""
        self._tasks: anyio.abc.TaskGroup | None = None

    async def __aenter__(self) -> Self:
        """Open the task group of the app's tasks.

        :raises RuntimeError: the transport is already open.
        """
        if self._tasks is not None:
            raise RuntimeError("this transport is open already")
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """Disconnect the requests in flight, and cancel the remaining tasks of the app.

        :raises Exception: an exception of the app that no request has raised; several are in an
            ExceptionGroup. If another exception leaves the block, they are added to it as notes.
        """
        tasks, self._tasks = self._tasks, None
        if tasks is None:
            return
        self.disconnect()
        tasks.cancel_scope.cancel()
        if isinstance(exc_value, anyio.get_cancelled_exc_class()):
            await tasks.__aexit__(exc_type, exc_value, traceback)
        else:  # an exception of the test is raised unchanged, not in a group
            await tasks.__aexit__(None, None, None)
        report(self.untold(), exc_value)

    @property
    def tasks(self) -> anyio.abc.TaskGroup:
        """The task group of the app's tasks.

        :raises RuntimeError: the transport is not open.
        """
        if self._tasks is None:
            raise RuntimeError("open it first: `async with` the transport, or its client")
        return self._tasks

    def scope(self, kind: str, request: httpx2.Request) -> Scope:
        """Return the common part of the scopes of HTTP and WebSockets."""
        url = request.url
        secure = url.scheme in ("https", "wss")
        return {
            "type": kind,
            "asgi": {
                "version": "3.0",
                "spec_version": "2.5" if self.raise_after_leaving else "2.3",
            },
            "http_version": self.http_version,
            "scheme": url.scheme,
            "path": url.path,
            "raw_path": url.raw_path.split(b"?", 1)[0],
            "query_string": url.query,
            "root_path": self.root_path,
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "client": self.client,
            "server": (url.host, url.port or (443 if secure else 80)),
            "state": self.state.copy(),
        }

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Start the app, and return as soon as the response has started.

        :raises DeadlineExceeded: it did not start within the read timeout.
        :raises Exception: the app's own exception, or that of the request body.
        :raises httpx2.RemoteProtocolError: the app was cancelled, but not by this transport.
        """
        timeout = request.extensions.get("timeout", {}).get("read")
        scope = self.scope("http", request)
        scope["method"] = request.method
        scope["extensions"] = {name: {} for name in self.extensions}
        scope["kui.testing"] = True  # handlers' values are checked against their declared types
        exchange = HttpExchange(
            scope,
            timeout,
            buffer_size=self.buffer_size,
            raise_after_leaving=self.raise_after_leaving,
        )
        assert isinstance(request.stream, httpx2.AsyncByteStream)
        source = request.extensions.get("kui.body")
        tasks = self.tasks
        self.start(exchange)
        tasks.start_soon(exchange.feed, request.stream, source, name=f"body of {exchange.name}")
        try:
            start = await exchange.started(timeout)
        except BaseException as error:
            exchange.given_up = isinstance(error, DeadlineExceeded)
            exchange.leave()
            raise
        if start is None:
            await self.finish(exchange)
            if exchange.error is None:  # the app has cancelled itself
                raise httpx2.RemoteProtocolError(f"{exchange.name}: closed without a response")
        return ClosingResponse(
            500 if start is None else start["status"],
            headers=exchange.contract.headers,
            stream=_ResponseStream(exchange, self, timeout),
            extensions={
                "http_version": f"HTTP/{self.http_version}".encode(),
                "early_hints": exchange.hints,
                "trailers": exchange.trailers,
                "kui.exchange": exchange,
            },
        )

    def start(self, conversation: Conversation) -> None:
        """Start the app for `conversation`, in a task of its own."""
        self.tasks.start_soon(self._run, conversation, name=conversation.name)
        self.conversations[conversation] = None

    async def _run(self, conversation: Conversation) -> None:
        app = self.app if self.aim is None else self.aim(self.app, conversation)
        await conversation.run(app)
        if conversation.error is None:
            self.conversations.pop(conversation, None)

    def story(self) -> str:
        """Describe the requests in flight, for messages."""
        lines = [conversation.describe() for conversation in self.conversations]
        return "; ".join(lines) or "no request was in flight"

    async def idle(self, timeout: float | None = None) -> None:
        """Wait until the app has returned from every request.

        :param timeout: seconds of the loop's clock; None for any time.
        :raises DeadlineExceeded: it took longer.
        :raises Exception: an exception of the app that no request has raised.
        """
        with anyio.move_on_after(timeout) as scope:
            for conversation in tuple(self.conversations):
                await conversation.signal.until(_returned(conversation))
        if scope.cancelled_caught:
            raise DeadlineExceeded(f"not idle within {timeout} s: {self.story()}")
        report(self.untold(), None)

    async def finish(self, conversation: Conversation) -> None:
        """Wait for the app to return, and raise its exception, unless that was raised before.

        :raises DeadlineExceeded: it does not return within the read timeout.
        :raises Exception: the app's own exception.
        """
        if self.wait_for_app:
            await conversation.ended()
        for error in self.untold(conversation):
            raise error

    def untold(self, *of: Conversation) -> list[Exception]:
        """Return the exceptions of ended calls that were not raised yet. From now on they count as raised."""
        errors = []
        for conversation in of or tuple(self.conversations):
            if conversation.returned:
                self.conversations.pop(conversation, None)
                error = conversation.error
                if error is not None and not conversation.told:
                    conversation.told = True
                    if self.raise_app_exceptions or isinstance(error, ContractError):
                        errors.append(error)
        return errors

    def disconnect(self) -> None:
        """Disconnect everything that is in flight; waiting calls raise `Disconnected`."""
        for conversation in self.conversations:
            if not conversation.complete:
                conversation.leave()


def _returned(conversation: Conversation) -> Callable[[], bool]:
    return lambda: conversation.returned


def report(errors: list[Exception], under_way: BaseException | None) -> None:
    """Raise exceptions of the app, or add them as notes to an exception that is being raised.

    :raises Exception: the only one of `errors`, or a group of them.
    """
    if under_way is not None:
        for error in errors:
            under_way.add_note(f"Besides, the app failed: {error!r}")
    elif len(errors) == 1:
        raise errors[0]
    elif errors:
        raise ExceptionGroup("the app failed several times", errors)
