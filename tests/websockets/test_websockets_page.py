"""What `docs/guides/websockets.md` prints works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kui.asgi import Kui
from kui.testing import AsyncTestClient, WebSocketDenied

pytestmark = pytest.mark.anyio

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "websockets.md"


def printed(path: str) -> Kui:
    """The app of the example that has this path."""
    for source in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        if f'"{path}' in source:
            names: dict[str, object] = {"__name__": "example"}
            exec(compile(source, str(PAGE), "exec"), names)
            app = names["app"]
            assert isinstance(app, Kui)
            return app
    raise AssertionError(f"no example has {path}")


async def test_the_echo() -> None:
    async with AsyncTestClient(printed("/echo")) as client, client.websocket("/echo/tea") as ws:
        await ws.send("hello")
        assert await ws.receive() == "tea: hello"


async def test_the_handshake() -> None:
    async with AsyncTestClient(printed("/chat")) as client:
        with pytest.raises(WebSocketDenied) as denied:
            async with client.websocket("/chat"):
                pass
        assert denied.value.response.status_code == 401
        client.cookies.set("session", "1")
        with pytest.raises(WebSocketDenied) as denied:
            async with client.websocket("/chat", headers={"Origin": "https://evil.com"}):
                pass
        assert denied.value.response.status_code == 403
        async with client.websocket(
            "/chat", headers={"Origin": "https://example.com"}, subprotocols=["chat.v2"]
        ) as ws:
            assert ws.subprotocol == "chat.v2"
            assert await ws.receive_json() == {"hello": "there"}


async def test_one_task_that_receives_and_one_that_sends() -> None:
    async with AsyncTestClient(printed("/clock")) as client, client.websocket("/clock") as ws:
        await ws.send("hello")
        seen = {await ws.receive(), await ws.receive(), await ws.receive()}
        assert "HELLO" in seen
        assert len(seen) == 3


async def test_the_view() -> None:
    async with AsyncTestClient(printed("/presence")) as client:
        async with client.websocket("/presence?name=ann") as ann:
            async with client.websocket("/presence?name=bob") as bob:
                await bob.send_json(1)
                assert await bob.receive_json() == {"you": 1, "here": ["ann", "bob"]}
            await ann.send_json(2)
            assert await ann.receive_json() == {"you": 2, "here": ["ann"]}
