"""WebSockets declare as requests do: refused before they are accepted, left after the close."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

import anyio
import pytest
from pydantic import BaseModel

from kui.asgi import (
    Cookie,
    Depends,
    Header,
    HTTPException,
    Kui,
    Query,
    Security,
    SocketRoute,
    SocketView,
    websocket,
)
from kui.testing import AsyncTestClient, WebSocketDenied

pytestmark = pytest.mark.anyio


class Room(BaseModel):
    name: str
    tags: list[str] = []


async def user(token: Annotated[str | None, Header()] = None) -> str:
    if token is None:
        raise HTTPException(401)
    return token


async def test_a_websocket_declares_what_a_request_does() -> None:
    async def chat(
        id: int,
        room: Annotated[Room, Query(exclusive=True)],
        theme: Annotated[str, Cookie()],
        user: Annotated[str, Security(user)],
        page: Annotated[int, Query(ge=1)] = 1,
    ) -> None:
        await websocket.accept()
        await websocket.send_json([id, room.name, room.tags, theme, user, page])

    app = Kui(routes=SocketRoute("/{id:int}", chat))
    right = {"token": "ann", "cookie": "theme=dark"}
    async with AsyncTestClient(app) as client:
        async with client.websocket("/7?name=a&tags=x&tags=y&page=2", headers=right) as session:
            assert await session.receive_json() == [7, "a", ["x", "y"], "dark", "ann", 2]
        for path, headers, status in [
            ("/7?name=a", {}, 401),
            ("/7?page=0", right, 422),
            ("/x?name=a", right, 404),
        ]:
            with pytest.raises(WebSocketDenied) as denied:
                async with client.websocket(path, headers=headers):
                    pass
            assert denied.value.response.status_code == status
        assert status == 404


async def test_dependencies_are_left_after_the_close() -> None:
    log: list[Any] = []

    async def session() -> AsyncIterator[str]:
        try:
            yield "session"
        except BaseException as error:
            log.append(type(error).__name__)
            raise
        finally:
            await anyio.lowlevel.checkpoint()
            log.append(websocket.connection_state.name)

    async def chat(
        session: Annotated[str, Depends(session)], fail: Annotated[bool, Query()] = False
    ) -> None:
        await websocket.accept()
        await websocket.send_text(session)
        if fail:
            raise KeyError("chat")

    app = Kui(routes=SocketRoute("/", chat))
    async with AsyncTestClient(app, raise_app_exceptions=False) as client:
        async with client.websocket("/") as one:
            assert await one.receive_text() == "session"
            await client.wait_idle()
            assert one.close_code == 1000
        assert len(log) == 1 and log[0] != "OPEN"
        log.clear()
        async with client.websocket("/?fail=1") as one:
            await one.receive_text()
            await client.wait_idle()
            assert one.close_code == 1011
        assert log[0] == "KeyError" and log[1] != "OPEN"


async def test_the_methods_of_a_view_share_the_values_of_the_connection() -> None:
    opened: list[str] = []

    async def session() -> AsyncIterator[str]:
        opened.append("+")
        yield f"session {len(opened)}"
        opened.append("-")

    Session = Annotated[str, Depends(session)]

    class Chat(SocketView):
        encoding = "text"

        async def on_connect(self, session: Session, name: Annotated[str, Query()]) -> None:
            self.name = name
            await websocket.accept()

        async def on_receive(self, data: str, session: Session) -> None:
            await websocket.send_text(f"{data} {self.name} {session}")

        async def on_disconnect(self, close_code: int, session: Session) -> None:
            opened.append(f"{close_code} {session}")

    app = Kui(routes=SocketRoute("/", Chat))
    async with AsyncTestClient(app) as client:
        async with client.websocket("/?name=ann") as one:
            await one.send_text("hello")
            assert await one.receive_text() == "hello ann session 1"
            await one.send_text("again")
            assert await one.receive_text() == "again ann session 1"
        await client.wait_idle()
        assert opened[0] == "+" and opened[-1] == "-" and len(opened) == 3
        with pytest.raises(WebSocketDenied):
            async with client.websocket("/"):
                pass
