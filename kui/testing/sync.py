"""`TestClient`: the client for synchronous tests, over an event loop in another thread.

It has no state of its own: each call runs a method of an `AsyncTestClient`, or of an object that this has opened, in
that thread, and waits for it.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from types import TracebackType
from typing import Any, Self

import anyio.from_thread
import httpx2
from baize.typing import ASGIApp

from .bridge import Bridge, SyncEventStream, SyncWebSocketSession
from .client import (
    AsyncTestClient,
    event_headers,
    exchange_of_response,
    is_event_stream,
    read_exactly,
    socket_headers,
)
from .errors import NotAnEventStream
from .events import EventStream
from .signals import UNSET, Unset
from .sockets import WebSocketSession
from .transport import ASGITransport

__all__ = ["TestClient"]


class TestClient(httpx2.Client):
    """An `httpx2.Client` that talks to `app` in process, and runs its lifespan around the block.

    It is for tests that are plain functions. It has the methods and the parameters of `AsyncTestClient`, except
    `deadline`; each wait has its `timeout`. The app runs in an event loop in another thread.

    :param backend: "asyncio" or "trio", or the result of `virtual_clock` for one of them.

    Example::

        def test_hello():
            with TestClient(app) as client:
                assert client.get("/").text == "hello"
    """

    __test__ = False  # pytest must not collect it

    def __init__(
        self,
        app: ASGIApp,
        *,
        backend: str | tuple[str, dict[str, Any]] = "asyncio",
        transport: ASGITransport | None = None,
        raise_app_exceptions: bool = True,
        lifespan: bool = True,
        timeout: Any = UNSET,
        base_url: str = "http://testserver",
        **options: Any,
    ) -> None:
        self.app = app
        self._backend, self._backend_options = (
            (backend, {}) if isinstance(backend, str) else backend
        )
        self._default_timeout = isinstance(timeout, Unset)
        self._bridge = Bridge(
            transport or ASGITransport(app, raise_app_exceptions=raise_app_exceptions)
        )
        self._client = partial(
            AsyncTestClient,
            app,
            transport=self._bridge.transport,
            lifespan=lifespan,
            timeout=timeout,
            deadline=None,
        )
        self._opened: AsyncTestClient | None = None
        self._exit = ExitStack()
        super().__init__(
            base_url=base_url,
            timeout=5 if isinstance(timeout, Unset) else timeout,
            transport=self._bridge,
            trust_env=False,
            **options,
        )

    def __enter__(self) -> Self:
        super().__enter__()
        with ExitStack() as stack:
            portal = stack.enter_context(
                anyio.from_thread.start_blocking_portal(self._backend, self._backend_options)
            )
            client = portal.call(self._client)
            stack.enter_context(portal.wrap_async_context_manager(client))
            self._bridge.portal = portal
            self._opened = client
            if self._default_timeout:
                self.timeout = client.timeout
            self._exit = stack.pop_all()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        try:
            self._exit.__exit__(exc_type, exc_value, traceback)
        finally:
            self._bridge.portal = None
            super().__exit__(exc_type, exc_value, traceback)

    def _async(self) -> AsyncTestClient:
        if self._opened is None:
            raise RuntimeError("open it first: `with` the client")
        return self._opened

    # ---- leaving and stopping

    def disconnect(self, response: httpx2.Response | None = None) -> None:
        """Disconnect all requests and WebSockets, or only the request of `response`.

        See `AsyncTestClient.disconnect`.
        """
        self._bridge.call_sync(self._async().disconnect, response)

    def wait_idle(self, *, timeout: float | Unset | None = UNSET) -> None:
        """Wait until the app has returned from every request; see `AsyncTestClient.wait_idle`."""
        self._bridge.call(self._async().wait_idle, timeout=timeout)

    def begin_shutdown(self) -> None:
        """Tell the app to shut down; see `AsyncTestClient.begin_shutdown`."""
        self._bridge.call_sync(self._async().begin_shutdown)

    def shutdown(self) -> None:
        """Shut the app down, and wait for it; see `AsyncTestClient.shutdown`."""
        self._bridge.call(self._async().shutdown)

    # ---- talking

    def read(
        self, response: httpx2.Response, size: int, *, timeout: float | Unset | None = UNSET
    ) -> bytes:
        """Read `size` bytes of a streamed response, and no more; see `AsyncTestClient.read`."""
        seconds = self._seconds(timeout)
        return self._bridge.call(read_exactly, exchange_of_response(response), size, seconds)

    @contextmanager
    def events(
        self,
        url: httpx2.URL | str,
        *,
        method: str = "GET",
        last_event_id: str | None = None,
        comments: bool = False,
        headers: Any = None,
        timeout: float | Unset | None = UNSET,
        **options: Any,
    ) -> Generator[SyncEventStream, None, None]:
        """Open an event stream: `with client.events("/path") as events`.

        See `AsyncTestClient.events`.
        """
        request_headers = event_headers(headers, last_event_id)
        with self.stream(method, url, headers=request_headers, **options) as response:
            if not is_event_stream(response):
                response.read()
                raise NotAnEventStream(response)
            stream = EventStream(
                self._bridge.transport,
                response,
                comments=comments,
                timeout=self._seconds(timeout),
            )
            yield SyncEventStream(self._bridge, stream)

    @contextmanager
    def websocket(  # type: ignore[override]  # httpx2 talks frames over a network stream, we do not
        self,
        url: httpx2.URL | str,
        *,
        subprotocols: Sequence[str] = (),
        headers: Any = None,
        params: Any = None,
        timeout: float | Unset | None = UNSET,
    ) -> Generator[SyncWebSocketSession, None, None]:
        """Open a WebSocket: `with client.websocket("/path") as ws`.

        See `AsyncTestClient.websocket`.
        """
        request = self.build_request(
            "GET", url, params=params, headers=socket_headers(headers, subprotocols)
        )
        session = WebSocketSession(
            self._bridge.transport, request, tuple(subprotocols), self._seconds(timeout)
        )
        with self._bridge.open(session):
            yield SyncWebSocketSession(self._bridge, session)

    def _seconds(self, timeout: float | Unset | None) -> float | None:
        return self.timeout.read if isinstance(timeout, Unset) else timeout
