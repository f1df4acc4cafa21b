"""The current connection: parsed when it is asked for, and the proxies that stand for it."""

from __future__ import annotations

from typing import Any

import pytest

from kui.asgi import HTTPConnection, HttpRequest, Kui, State, http_connection, request, request_var
from kui.testing import AsyncTestClient

pytestmark = pytest.mark.anyio

SCOPE: dict[str, Any] = {
    "type": "http",
    "http_version": "1.1",
    "method": "GET",
    "scheme": "https",
    "path": "/items",
    "query_string": b"q=1&q=2",
    "headers": [(b"host", b"example.com"), (b"cookie", b"a=1")],
}


async def test_the_proxy_reads_writes_and_deletes_what_the_request_has() -> None:
    app = Kui()

    @app.router.http("/{id}")
    async def handler() -> str:
        original = request_var.get()
        request.user = "ann"
        assert original.user == "ann"
        original.user = "bob"
        assert request.user == "bob"
        del request.user
        with pytest.raises(AttributeError, match="user"):
            _ = original.user
        with pytest.raises(AttributeError, match="user"):
            del request.user
        request.state.user = "eve"
        assert original.state.user == "eve" == request["state"]["user"]
        assert request == original == request and hash(request) == hash(original)
        assert http_connection == request and repr(http_connection) == repr(original)
        assert request["path"] == "/7" and "path" in request and "nothing" not in request
        assert dict(request) == dict(original) and len(request) == len(original)
        return request.path_params["id"]

    async with AsyncTestClient(app) as client:
        assert (await client.get("/7")).text == "7"


@pytest.mark.parametrize("use", [lambda: request.url, lambda: request["path"], lambda: {**request}])
def test_outside_of_a_handler_there_is_no_request(use: Any) -> None:
    with pytest.raises(RuntimeError, match="there is no current request here; use `request` in a"):
        use()
    with pytest.raises(RuntimeError, match="there is no current request"):
        request.user = "ann"
    with pytest.raises(RuntimeError, match="there is no current request"):
        del request.user
    assert repr(request) == "<no current connection>"


def test_what_is_parsed_is_kept_and_can_be_replaced_and_deleted() -> None:
    connection = HttpRequest(dict(SCOPE))
    assert connection.headers is connection.headers
    assert connection.cookies == {"a": "1"}
    assert connection.query_params.getlist("q") == ["1", "2"]
    connection.cookies = {"b": "2"}
    assert connection.cookies == {"b": "2"}
    del connection.cookies
    assert connection.cookies == {"a": "1"}
    connection.path_params = {"id": 7}
    assert connection["path_params"] == {"id": 7}


def test_a_connection_is_the_mapping_that_its_scope_is() -> None:
    connection = HTTPConnection(SCOPE)
    assert {**connection} == SCOPE
    assert connection.get("nothing", 7) == 7
    assert connection == connection and connection != HTTPConnection(SCOPE)
    assert {connection: 1}[connection] == 1


def test_what_the_server_does_not_say_is_none() -> None:
    connection = HTTPConnection({"type": "http", "path": "/", "headers": []})
    assert connection.client == (None, None)
    assert connection.client.host is None and connection.client.port is None
    assert connection.date is None and connection.referrer is None
    assert connection.content_length is None and connection.content_type == ""
    assert not connection.query_params and not connection.cookies
    assert HTTPConnection({**SCOPE, "client": ["::1", 5]}).client.host == "::1"


async def test_a_connection_that_was_made_by_hand_cannot_be_received_from() -> None:
    lone = HttpRequest({**SCOPE, "headers": [(b"content-length", b"1")]})
    with pytest.raises(RuntimeError, match="was made without a receive function"):
        await lone.stream().__anext__()


def test_a_state_is_a_namespace_that_says_what_it_lacks() -> None:
    values = {"a": 1}
    state = State(values)
    state.b = state.a + 1
    assert values == {"a": 1, "b": 2} and "b" in state
    del state.a
    for use in (lambda: state.a, lambda: delattr(state, "a")):
        with pytest.raises(AttributeError, match="the state has no 'a'"):
            use()
    assert repr(state) == "<State {'b': 2}>"
    assert State() is not State() and "a" not in State()
