"""An httpx2 transport that calls an ASGI app in process, streams both ways, and checks the contract.

Each request is one task of the transport's task group (rule 1), which lives as long as the `async with`
around the transport or the client that owns it. What happened to one request is `exchanges.py`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from types import AsyncGeneratorType, TracebackType
from typing import Any, Self, TypeVar

import anyio
import anyio.abc
import httpx2
from baize.typing import ASGIApp, Scope

from .errors import ContractError
from .exchanges import HttpExchange

__all__ = ["ASGITransport", "Response"]

I = TypeVar("I", bound=AsyncIterator[Any])

HTTP_EXTENSIONS = (
    "http.response.debug",
    "http.response.early_hint",
    "http.response.pathsend",
    "http.response.push",
    "http.response.trailers",
    "http.response.zerocopysend",
)


class Response(httpx2.Response):
    """A response whose iterators may be left with `break`, on trio too: closing it closes them."""

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

    def _kept(self, iterator: I) -> I:
        if isinstance(iterator, AsyncGeneratorType):
            self._iterators.append(iterator)
        return iterator

    async def aclose(self) -> None:
        for iterator in self._iterators:
            if not iterator.ag_running:
                await iterator.aclose()
        await super().aclose()


class _ResponseStream(httpx2.AsyncByteStream):
    """The body of a response, as it is sent; closing it before the end is leaving."""

    def __init__(self, exchange: HttpExchange, transport: ASGITransport) -> None:
        self._exchange = exchange
        self._transport = transport
        self._closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await self._exchange.next_chunk()
        except httpx2.RemoteProtocolError:
            await self._transport.finish(self._exchange)
            raise
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            if not self._exchange.contract.complete:
                self._exchange.leave()
            await self._transport.finish(self._exchange)


class ASGITransport(httpx2.AsyncBaseTransport):
    """Serves each request of a client with `app`, in a task of its own.

    What the app sends arrives as it is sent; `send` waits while more than `buffer_size` bytes have
    not been read, and so does a streamed request body while it is not received. An HTTP exchange is
    over when the app has returned: reading a response to its end, or closing it before, waits for
    that, within the request's read timeout (seconds of the loop's clock), so that a test can look at
    what the app has left behind.

    :param app: any ASGI 3 app.
    :param raise_app_exceptions: raise in the test what the app raises; otherwise the client sees a
        500, or a response that breaks off (`httpx2.RemoteProtocolError`). A broken contract is
        raised either way.
    :param root_path: ASGI's `root_path`; paths of requests include it.
    :param client: the address that the app sees.
    :param http_version: what the app sees; with "2" headers of the connection break the contract.
    :param extensions: the ASGI extensions that are offered.
    :param buffer_size: bytes that wait in each direction before the writer does; with 0 every
        `send` waits until the client has read it.
    :param raise_after_leaving: when the client has left, `send` raises OSError instead of nothing:
        servers do the one or the other.
    :param wait_for_app: False: do not wait for the app to return. What it raises later is raised
        where the transport is closed.

    Under cancellation a request that is waiting for its response leaves, as does one whose body is
    being read.

    Example::

        async with httpx2.AsyncClient(transport=ASGITransport(app), base_url="http://test") as client:
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
        buffer_size: int = 65536,
        raise_after_leaving: bool = False,
        wait_for_app: bool = True,
    ) -> None:
        self.app = app
        self.raise_app_exceptions = raise_app_exceptions
        self.root_path = root_path
        self.client = client
        self.http_version = http_version
        self.extensions = tuple(extensions)
        self.buffer_size = buffer_size
        self.raise_after_leaving = raise_after_leaving
        self.wait_for_app = wait_for_app
        self.state: dict[str, Any] = {}
        self.exchanges: set[HttpExchange] = set()
        self._tasks: anyio.abc.TaskGroup | None = None

    async def __aenter__(self) -> Self:
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
        tasks, self._tasks = self._tasks, None
        if tasks is not None:
            self.disconnect()
            tasks.cancel_scope.cancel()
            await tasks.__aexit__(None, None, None)

    @property
    def tasks(self) -> anyio.abc.TaskGroup:
        """The task group that the app's tasks are children of.

        :raises RuntimeError: the transport is not open.
        """
        if self._tasks is None:
            raise RuntimeError("open it first: `async with` the transport, or the client")
        return self._tasks

    def scope(self, kind: str, url: httpx2.URL, headers: Iterable[tuple[bytes, bytes]]) -> Scope:
        """The part of a scope that HTTP and WebSocket have in common."""
        secure = url.scheme in ("https", "wss")
        return {
            "type": kind,
            "asgi": {"version": "3.0", "spec_version": "2.5"},
            "http_version": self.http_version,
            "scheme": url.scheme,
            "path": url.path,
            "raw_path": url.raw_path.split(b"?", 1)[0],
            "query_string": url.query,
            "root_path": self.root_path,
            "headers": [(name.lower(), value) for name, value in headers],
            "client": self.client,
            "server": (url.host, url.port or (443 if secure else 80)),
            "state": self.state.copy(),
            "extensions": {name: {} for name in self.extensions},
        }

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Start the app, and return as soon as the response has started."""
        tasks = self.tasks
        scope = self.scope("http", request.url, request.headers.raw)
        scope["method"] = request.method
        exchange = HttpExchange(
            scope,
            buffer_size=self.buffer_size,
            raise_after_leaving=self.raise_after_leaving,
            timeout=request.extensions.get("timeout", {}).get("read"),
        )
        self.exchanges.add(exchange)
        assert isinstance(request.stream, httpx2.AsyncByteStream)
        tasks.start_soon(exchange.feed, request.stream, name=f"body of {exchange.name}")
        tasks.start_soon(self._run, exchange, name=exchange.name)
        try:
            start = await exchange.started()
        except BaseException as error:
            exchange.leave()
            if (
                error is not exchange.error
                or isinstance(error, ContractError)
                or self.raise_app_exceptions
            ):
                raise
            start = {"status": 500, "headers": [(b"content-length", b"0")]}
            exchange.contract.complete = True
        return Response(
            start["status"],
            headers=exchange.contract.headers,
            stream=_ResponseStream(exchange, self),
            extensions={
                "http_version": f"HTTP/{self.http_version}".encode(),
                "early_hints": exchange.hints,
                "trailers": exchange.trailers,
                "kui.exchange": exchange,
            },
        )

    async def _run(self, exchange: HttpExchange) -> None:
        error: Exception | None = None
        try:
            await self.app(exchange.scope, exchange.receive, exchange.send)
        except Exception as raised:
            error = raised
        finally:
            exchange.app_ended(error)
            if exchange.error is None or exchange.told:
                self.exchanges.discard(exchange)

    async def finish(self, exchange: HttpExchange) -> None:
        """Wait for the app to return, and raise what is still to be told of it.

        :raises httpx2.ReadTimeout: it does not return within the request's read timeout.
        """
        if self.wait_for_app:
            await exchange.ended()
        if exchange.returned:
            self.exchanges.discard(exchange)
            if exchange.error is not None and not exchange.told:
                exchange.told = True
                if self.raise_app_exceptions or isinstance(exchange.error, ContractError):
                    raise exchange.error

    def disconnect(self) -> None:
        """Leave every request that is in flight; what waits for one raises `Disconnected`."""
        for exchange in self.exchanges:
            if not exchange.contract.complete:
                exchange.leave()
