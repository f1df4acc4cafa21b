"""What `help`, `dir` and editors show: the attributes of the real classes, with their docstrings."""

from __future__ import annotations

import inspect
import pydoc
import re
from typing import Any

import pytest

import kui.asgi
from kui.asgi import (
    HTTPConnection,
    HttpRequest,
    Kui,
    WebSocket,
    http_connection,
    request,
    websocket,
)
from kui.testing import AsyncTestClient

PROXIES = [(request, HttpRequest), (websocket, WebSocket), (http_connection, HTTPConnection)]
INTERNAL = {"failure", "lasting", "lasting_resolution"}


def shown(thing: object) -> str:
    return pydoc.plain(pydoc.render_doc(thing))


def public(kind: type) -> dict[str, Any]:
    return {
        name: inspect.getattr_static(kind, name)
        for name in dir(kind)
        if not name.startswith("_") and name not in INTERNAL
    }


@pytest.mark.parametrize("kind", [Kui, HttpRequest, WebSocket, HTTPConnection])
def test_every_public_attribute_is_documented(kind: type) -> None:
    undocumented = [
        name
        for name, value in public(kind).items()
        if not value.__doc__ or value.__doc__ == type(value).__doc__
    ]
    assert undocumented == []


@pytest.mark.parametrize(("proxy", "kind"), PROXIES)
def test_help_of_a_proxy_shows_what_it_stands_for(proxy: object, kind: type) -> None:
    text = " ".join(shown(proxy).replace("|", " ").split())
    for value in public(kind).values():
        assert " ".join(value.__doc__.split()) in text


@pytest.mark.parametrize(("proxy", "kind"), PROXIES)
def test_dir_of_a_proxy_has_what_it_stands_for(proxy: object, kind: type) -> None:
    assert set(dir(kind)) <= set(dir(proxy))
    assert isinstance(proxy, kind)


@pytest.mark.anyio
async def test_in_a_request_dir_has_what_the_request_has() -> None:
    app = Kui()

    @app.get("/")
    async def names() -> list[str]:
        request.scope["x"] = 1
        request.mine = 1  # type: ignore[attr-defined]  # set in the handler
        return dir(request)

    async with AsyncTestClient(app) as client:
        found = (await client.get("/")).json()
    attributes = {name for name in dir(HttpRequest) if hasattr(HttpRequest, name)}  # no hints
    assert {"mine", *attributes} <= set(found)


def test_help_of_an_app_shows_its_attributes() -> None:
    text = shown(Kui)
    for name in vars(Kui()):
        assert name.startswith("_") or f"`{name}`" in text
    for name in ("get", "post", "websocket", "exception_handler", "should_exit"):
        assert name in text


def test_help_of_the_namespace_begins_with_its_contents() -> None:
    text = shown(kui.asgi)
    start = text[: text.index("\nCLASSES")]
    named = set(re.findall(r"`(\w+)`", start))
    assert named <= {*kui.asgi.__all__}
    assert {"Kui", "request", "HTTPException", "SendEventResponse", "Middleware"} <= named
