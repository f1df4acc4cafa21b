"""`AsyncTestClient`: an httpx2 client over an app in process, with the app's lifespan around it.

It owns the task group of everything that the app does (rule 1), entered and left by the `async with`
around the test, in the test's own task.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import httpx2
from baize.typing import ASGIApp

from .lifespan import LifespanRunner
from .transport import ASGITransport

__all__ = ["AsyncTestClient"]


class AsyncTestClient(httpx2.AsyncClient):
    """An `httpx2.AsyncClient` that talks to `app` in process, and runs its lifespan around the block."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        base_url: str = "http://testserver",
        raise_app_exceptions: bool = True,
        lifespan: bool = True,
        timeout: float | None = 5,
        transport: ASGITransport | None = None,
        **options: Any,
    ) -> None:
        self.app = app
        self.asgi = transport or ASGITransport(app, raise_app_exceptions=raise_app_exceptions)
        super().__init__(
            base_url=base_url, timeout=timeout, transport=self.asgi, trust_env=False, **options
        )
        self._lifespan = LifespanRunner(app, self.asgi.state, timeout) if lifespan else None

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        try:
            if self._lifespan is not None:
                await self._lifespan.start(self.asgi.tasks)
        except BaseException:
            await super().__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        try:
            if self._lifespan is not None:
                await self._lifespan.stop()
        finally:
            await super().__aexit__(exc_type, exc_value, traceback)

    def disconnect(self) -> None:
        """Leave every request that is in flight, at once."""
        self.asgi.disconnect()
