"""Text, HTML, redirects, and an application's own kinds of small responses."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from typing import Any

import pytest
from baize.datastructures import URL

from kui.responses import (
    HTMLResponse,
    HttpResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    SmallResponse,
)
from tests.support.sending import send

pytestmark = pytest.mark.anyio

KINDS: list[type[Any]] = [SmallResponse, PlainTextResponse, HTMLResponse]


@pytest.mark.parametrize("kind", KINDS)
def test_the_signature_is_that_of_the_reference(kind: type[Any]) -> None:
    assert str(inspect.signature(kind)).startswith("(content")
    assert list(inspect.signature(kind).parameters) == (
        "content status_code headers media_type charset".split()
    )


async def test_plain_text() -> None:
    sent = await send(PlainTextResponse("Grüße"))
    assert sent.headers == [
        ("content-type", "text/plain; charset=utf-8"),
        ("content-length", "7"),
    ]
    assert sent.body == "Grüße".encode()


async def test_html() -> None:
    sent = await send(HTMLResponse("<p>", 404))
    assert (sent.status, sent["content-type"]) == (404, "text/html; charset=utf-8")


@pytest.mark.parametrize("content", [b"ok", bytearray(b"ok"), memoryview(b"ok")])
async def test_bytes_are_sent_as_they_are(content: Any) -> None:
    assert (await send(PlainTextResponse(content))).body == b"ok"


@pytest.mark.parametrize("content", [None, 7, ["ok"], {}])
def test_other_content_is_an_error_that_says_so(content: Any) -> None:
    with pytest.raises(TypeError, match="HTMLResponse takes str or bytes, not"):
        HTMLResponse(content)


async def test_a_charset_by_position_is_used_and_said() -> None:
    sent = await send(PlainTextResponse("é", 200, None, "text/csv", "latin-1"))
    assert (sent["content-type"], sent.body) == ("text/csv; charset=latin-1", b"\xe9")


async def test_a_charset_in_the_media_type_is_used_and_said_once() -> None:
    sent = await send(PlainTextResponse("é", media_type='text/csv; charset="latin-1"'))
    assert (sent["content-type"], sent.body) == ('text/csv; charset="latin-1"', b"\xe9")


async def test_a_content_type_among_the_headers_comes_first() -> None:
    headers = {"Content-Type": "text/markdown"}
    for response in (
        PlainTextResponse("", 200, headers),
        PlainTextResponse("", 200, headers, "text/csv"),
    ):
        assert (await send(response))["content-type"] == "text/markdown"


def test_an_unknown_charset_is_an_error_in_the_handler() -> None:
    with pytest.raises(LookupError, match="unknown encoding: nope"):
        PlainTextResponse("é", charset="nope")


def test_text_that_a_charset_lacks_is_an_error_in_the_handler() -> None:
    with pytest.raises(UnicodeEncodeError):
        PlainTextResponse("中", charset="latin-1")


async def test_a_lone_surrogate_becomes_a_replacement_character() -> None:
    sent = await send(PlainTextResponse("a\ud800b \ud83d\udc0d"))
    assert sent.body.decode() == "a\ufffdb \U0001f40d"


class Upper(SmallResponse[str]):
    media_type = "text/x-upper"
    charset = "utf-16-be"

    def render(self, content: str) -> bytes:
        return content.upper().encode(self.charset)


class UpperLater(SmallResponse[str]):
    media_type = "application/x-upper"

    async def render(self, content: str) -> bytes:
        return content.upper().encode(self.charset)


async def test_a_kind_of_ones_own_is_rendered_in_the_constructor() -> None:
    response = Upper("a")
    assert response.body == b"\0A"
    sent = await send(response)
    assert (sent["content-type"], sent.body) == ("text/x-upper; charset=utf-16-be", b"\0A")


async def test_a_kind_of_ones_own_may_render_with_await() -> None:
    response = UpperLater("a", 201, {"X-A": "b"})
    assert response.body is None
    for _ in range(2):
        sent = await send(response)
        assert (sent.status, sent["x-a"], sent["content-length"], sent.body) == (
            201,
            "b",
            "1",
            b"A",
        )
    assert (await send(response, "HEAD"))["content-length"] == "1"


async def test_what_render_with_await_raises_is_raised_before_anything_is_sent() -> None:
    class Broken(SmallResponse[str]):
        async def render(self, content: str) -> bytes:
            raise RuntimeError(content)

    with pytest.raises(RuntimeError, match="oh no"):
        await send(Broken("oh no"))


async def test_a_kind_of_ones_own_without_a_media_type_says_none() -> None:
    class Raw(SmallResponse[bytes]):
        def render(self, content: bytes) -> bytes:
            return content

    assert "content-type" not in await send(Raw(b"ok"))
    assert (await send(Raw(b"ok", media_type="image/png")))["content-type"] == "image/png"


async def test_a_kind_may_derive_from_a_built_in_one() -> None:
    class XHTML(HTMLResponse):
        media_type = "application/xhtml+xml"

    class Sorted(JSONResponse):
        def render(self, content: Any) -> bytes:
            return super().render(sorted(content))

    assert (await send(XHTML("<p/>")))["content-type"] == "application/xhtml+xml"
    assert (await send(Sorted({3, 1, 2}))).body == b"[1,2,3]"


def test_a_kind_without_render_cannot_be_made() -> None:
    class Half(SmallResponse[str]):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Half("")  # type: ignore[abstract]


async def test_a_render_that_gives_no_bytes_is_named() -> None:
    class Text(SmallResponse[str]):
        def render(self, content: str) -> bytes:
            return content  # type: ignore[return-value]

    class TextLater(SmallResponse[str]):
        async def render(self, content: str) -> bytes:
            return content  # type: ignore[return-value]

    with pytest.raises(TypeError, match=r"Text\.render has to return bytes, not str"):
        Text("")
    with pytest.raises(TypeError, match=r"TextLater\.render has to return bytes, not str"):
        await send(TextLater(""))


def test_a_render_that_hides_its_await_is_told_how_to_say_it() -> None:
    class Hidden(SmallResponse[str]):
        async def _render(self, content: str) -> bytes:
            return content.encode()

        def render(self, content: str) -> Awaitable[bytes]:
            return self._render(content)

    with pytest.raises(TypeError, match="write it as async def"):
        Hidden("")


def test_a_media_type_that_is_none_is_an_error_where_the_class_is_made() -> None:
    with pytest.raises(ValueError, match="is no media type"):

        class Broken(PlainTextResponse):
            media_type = "text"


def test_a_response_takes_attributes_of_the_users() -> None:
    response = JSONResponse({})
    response.template = "x"  # type: ignore[attr-defined]
    assert response.template == "x"  # type: ignore[attr-defined]


@pytest.mark.parametrize("url", ["/items/7", URL("/items/7")])
async def test_a_redirect_keeps_the_method_by_default(url: str | URL) -> None:
    sent = await send(RedirectResponse(url))
    assert (sent.status, sent["location"], sent["content-length"]) == (307, "/items/7", "0")


async def test_a_redirect_by_position() -> None:
    sent = await send(RedirectResponse("/", 303, {"Cache-Control": "no-store"}))
    assert (sent.status, sent["location"], sent["cache-control"]) == (303, "/", "no-store")


@pytest.mark.parametrize("url", [None, 7, b"/", ["/"]])
def test_a_redirect_to_something_else_is_an_error(url: Any) -> None:
    with pytest.raises(TypeError, match="a redirect goes to a str or a URL"):
        RedirectResponse(url)


def test_every_kind_is_a_response() -> None:
    assert all(issubclass(kind, HttpResponse) for kind in (*KINDS, JSONResponse, RedirectResponse))
