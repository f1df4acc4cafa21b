"""SocketView: a method for each thing that happens to a connection, and the real close code, once."""

from __future__ import annotations

from typing import Any, ClassVar

import anyio
import pytest
from baize.exceptions import HTTPException

from kui.current import websocket
from kui.routing import RouteTable, SocketRoute
from kui.views import socket_handler
from kui.websockets import SocketView
from tests.support.websocket_server import Kind, Server, Session, session

pytestmark = pytest.mark.anyio


class Noting(SocketView):
    """Notes what it is called with."""

    calls: ClassVar[list[tuple[Any, ...]]]

    async def on_connect(self) -> None:
        self.note("connect")
        await super().on_connect()

    async def on_receive(self, data: Any) -> None:
        self.note("receive", data)

    async def on_disconnect(self, close_code: int) -> None:
        self.note("disconnect", close_code)

    def note(self, *call: Any) -> None:
        type(self).calls.append(call)


def noting(**members: Any) -> type[Noting]:
    return type("View", (Noting,), {"calls": [], **members})


async def test_the_methods_are_called_in_their_order(kind: Kind) -> None:
    server = Server(kind)
    view = noting()

    async with session(server, socket_handler(view).endpoint) as running:
        await server.put("a", b"b")
        await server.close(4000)
    code = 1006 if kind == "hypercorn" else 4000
    assert view.calls == [("connect",), ("receive", "a"), ("receive", b"b"), ("disconnect", code)]
    assert running.error is None


@pytest.mark.parametrize(
    ("encoding", "message", "data"),
    [
        ("text", "a", "a"),
        ("bytes", b"a", b"a"),
        ("json", '{"a": 1}', {"a": 1}),
        ("json", b"[1]", [1]),
        ("json", "null", None),
        ("anystr", "a", "a"),
        ("anystr", b"a", b"a"),
    ],
)
async def test_messages_come_in_the_encoding_of_the_view(
    kind: Kind, encoding: str, message: str | bytes, data: object
) -> None:
    server = Server(kind)
    view = noting(encoding=encoding)

    async with session(server, socket_handler(view).endpoint):
        await server.put(message)
        await server.reset()
    assert view.calls[1:] == [("receive", data), ("disconnect", 1006)]


@pytest.mark.parametrize(
    ("encoding", "message", "code"),
    [("text", b"a", 1003), ("bytes", "a", 1003), ("json", "{", 1007), ("json", b"\xff", 1007)],
)
async def test_a_message_that_does_not_fit_closes(
    kind: Kind, encoding: str, message: str | bytes, code: int
) -> None:
    server = Server(kind)
    view = noting(encoding=encoding)

    async with session(server, socket_handler(view).endpoint) as running:
        await server.put(message, message)
    assert view.calls == [("connect",), ("disconnect", code)]
    assert server.closed is not None and server.closed[0] == code
    assert running.error is None


async def test_a_view_that_closes_is_told_its_own_code(kind: Kind) -> None:
    server = Server(kind)

    async def on_receive(self: Noting, data: str) -> None:
        await websocket.close(4001)

    view = noting(on_receive=on_receive)
    async with session(server, socket_handler(view).endpoint) as running:
        await server.put("a", "b")
    assert view.calls == [("connect",), ("disconnect", 4001)]
    assert server.closed == (4001, "")
    assert running.error is None


async def test_a_view_that_fails_is_told_1011_and_raises(kind: Kind) -> None:
    server = Server(kind)
    error = LookupError("oops")

    async def on_receive(self: Noting, data: str) -> None:
        raise error

    view = noting(on_receive=on_receive)
    async with session(server, socket_handler(view).endpoint) as running:
        await server.put("a")
    assert view.calls == [("connect",), ("disconnect", 1011)]
    assert server.closed == (1011, "")
    assert running.error is error


async def test_a_view_learns_that_the_server_stops(kind: Kind) -> None:
    server = Server(kind)
    view = noting()

    async with session(server, socket_handler(view).endpoint) as running:
        running.exit_signal.set()
    assert view.calls == [("connect",), ("disconnect", 1001)]
    assert running.error is None


async def test_a_view_that_is_cancelled_may_clean_up(kind: Kind) -> None:
    server = Server(kind)

    async def on_disconnect(self: Noting, close_code: int) -> None:
        await anyio.sleep(1)
        self.note("disconnect", close_code)

    view = noting(on_disconnect=on_disconnect)
    async with session(server, socket_handler(view).endpoint) as running:
        running.scope.cancel()
    assert view.calls == [("connect",), ("disconnect", 1001)]
    assert server.closed == (1001, "")


async def test_a_view_that_is_cancelled_has_a_bounded_time_to_clean_up(
    kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server(kind)

    async def on_disconnect(self: Noting, close_code: int) -> None:
        await anyio.sleep(1000)

    async with session(
        server, socket_handler(noting(on_disconnect=on_disconnect)).endpoint
    ) as running:
        cut = anyio.current_time()
        running.scope.cancel()
        await running.ended.wait()
        assert anyio.current_time() - cut < 15
    assert "took longer than" in caplog.text


async def test_on_connect_may_refuse(kind: Kind) -> None:
    for refusal in ("raise", "return", "close"):
        server = Server(kind)

        async def on_connect(self: Noting, how: str = refusal) -> object:
            if how == "raise":
                raise HTTPException(403)
            if how == "return":
                return "no", 403
            await websocket.close()
            return None

        view = noting(on_connect=on_connect)
        async with session(server, socket_handler(view).endpoint) as running:
            pass
        assert not server.accepted
        assert view.calls == []
        assert running.error is None


async def test_on_connect_that_forgets_to_accept_is_told(kind: Kind) -> None:
    server = Server(kind)

    async def on_connect(self: Noting) -> None:
        pass

    async with session(server, socket_handler(noting(on_connect=on_connect)).endpoint) as running:
        pass
    assert isinstance(running.error, RuntimeError)
    assert "await websocket.accept()" in str(running.error)
    assert server.sent[0]["status"] == 500


async def test_every_connection_has_an_instance_of_its_own(kind: Kind) -> None:
    instances: list[object] = []

    async def on_connect(self: Noting) -> None:
        instances.append(self)

    endpoint = socket_handler(noting(on_connect=on_connect)).endpoint
    for _ in range(2):
        server = Server(kind)
        running = Session(server)
        with pytest.raises(RuntimeError):
            await running.serve(endpoint)
        server.dispose()
    assert instances[0] is not instances[1]


async def not_async(self: Any) -> None:
    """An `async def` without the argument."""


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"encoding": "utf-8"}, "encoding is 'utf-8': it must be one of 'anystr', 'text', 'bytes'"),
        ({"__init__": lambda self, room: None}, "made without arguments"),
        ({"on_connect": lambda self: None}, "on_connect must be an `async def`"),
        ({"on_receive": lambda self, data: None}, "on_receive must be an `async def`"),
        ({"on_disconnect": None}, "on_disconnect must be an `async def`"),
        ({"on_receive": not_async}, "on_receive takes the message first"),
        ({"on_disconnect": not_async}, "on_disconnect takes the close code first"),
        ({"on_connect": staticmethod(not_async)}, "needs 'self', and it is not in the path"),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_registered(
    members: dict[str, Any], message: str
) -> None:
    with pytest.raises(TypeError, match=message) as raised:
        RouteTable(SocketRoute("/", noting(**members)))
    assert "\n" not in str(raised.value)


def test_class_and_static_methods_may_handle_a_connection() -> None:
    async def nothing(*given: object) -> None:
        pass

    socket_handler(
        noting(
            on_connect=staticmethod(nothing), on_receive=classmethod(nothing), on_disconnect=nothing
        )
    )


def test_a_generator_handles_no_websocket() -> None:
    async def handler() -> Any:
        yield "a"

    with pytest.raises(TypeError, match="must not yield"):
        SocketRoute("/", handler)
