"""What all responses have in common: status, headers, how they are sent."""

from __future__ import annotations

from http import HTTPStatus

import pytest

from kui.responses import HTMLResponse, HttpResponse, JSONResponse, PlainTextResponse, SmallResponse
from tests.support.sending import send

pytestmark = pytest.mark.anyio


async def test_a_response_without_content_says_so() -> None:
    sent = await send(HttpResponse())
    assert (sent.status, sent.headers, sent.body) == (200, [("content-length", "0")], b"")


async def test_the_signature_is_status_then_headers() -> None:
    sent = await send(HttpResponse(202, {"X-Queue": "7"}))
    assert sent.status == 202
    assert sent["x-queue"] == "7"


async def test_a_status_may_be_an_http_status() -> None:
    assert (await send(PlainTextResponse("no", HTTPStatus.NOT_FOUND))).status == 404


@pytest.mark.parametrize("status", [99, 100, 199, 600, 0, -1, "200", None, 2000])
def test_another_status_is_refused(status: int) -> None:
    with pytest.raises(ValueError, match="from 200 to 599"):
        HttpResponse(status)
    with pytest.raises(ValueError, match="from 200 to 599"):
        PlainTextResponse("", status)


async def test_headers_can_be_changed_until_the_response_is_sent() -> None:
    response = PlainTextResponse("ok", headers={"A": "1"})
    response.headers["B"] = "2"
    del response.headers["a"]
    sent = await send(response)
    assert "a" not in sent
    assert sent["b"] == "2"
    assert sent["content-type"] == "text/plain; charset=utf-8"


def test_the_content_type_can_be_read_from_the_headers() -> None:
    assert JSONResponse({}).headers["Content-Type"] == "application/json"
    assert HTMLResponse("", headers={"a": "b"}).headers["content-type"].startswith("text/html")


async def test_a_deleted_content_type_is_not_sent() -> None:
    response = PlainTextResponse("ok")
    del response.headers["content-type"]
    assert "content-type" not in await send(response)


async def test_a_response_may_be_sent_twice_with_the_same_result() -> None:
    response = JSONResponse({"a": 1}, headers={"X-A": "b"})
    response.set_cookie("a", "b")
    assert await send(response) == await send(response)


async def test_sending_changes_nothing() -> None:
    response = PlainTextResponse("ok", headers={"X-A": "b"})
    before = dict(response.headers), response.status_code, response.body
    sent = await send(response)
    sent.headers.clear()
    assert (dict(response.headers), response.status_code, response.body) == before


async def test_what_a_server_does_to_the_list_of_headers_stays_there() -> None:
    response = PlainTextResponse("ok")
    start, _ = response.messages("GET", b"ok")
    start["headers"].append((b"server", b"x"))
    assert "server" not in await send(response)


@pytest.mark.parametrize("headers", [None, {"Content-Length": "2"}])
@pytest.mark.parametrize("status", [204, 304])
async def test_these_carry_neither_body_nor_length(
    status: int, headers: dict[str, str] | None
) -> None:
    for method in ("GET", "HEAD"):
        sent = await send(PlainTextResponse("ok", status, headers), method)
        assert sent.body == b""
        assert "content-length" not in sent


async def test_a_reset_of_content_has_none() -> None:
    sent = await send(PlainTextResponse("ok", 205))
    assert (sent.body, sent["content-length"]) == (b"", "0")


async def test_head_gets_the_headers_of_get_and_no_body() -> None:
    response = JSONResponse({"a": "é"}, headers={"X-A": "b"})
    response.set_cookie("a", "b")
    get, head = await send(response), await send(response, "HEAD")
    assert head.headers == get.headers
    assert head["content-length"] == "10"
    assert (get.body, head.body) == (b'{"a":"\xc3\xa9"}', b"")


async def test_head_of_a_plain_answer_has_no_body_either() -> None:
    sent = await send(PlainTextResponse("plain"), "HEAD")
    assert (sent.body, sent["content-length"]) == (b"", "5")


async def test_the_length_is_that_of_the_body_whatever_was_said() -> None:
    response = PlainTextResponse("four", headers={"Content-Length": "400"})
    assert (await send(response))["content-length"] == "4"
    assert (await send(response, "HEAD"))["content-length"] == "4"


async def test_a_handler_for_head_alone_may_say_how_long_the_body_of_get_is() -> None:
    response = HttpResponse(headers={"Content-Length": "400"})
    assert (await send(response, "HEAD"))["content-length"] == "400"
    assert (await send(response))["content-length"] == "0"


async def test_transfer_encoding_is_left_to_the_server() -> None:
    sent = await send(PlainTextResponse("ok", headers={"Transfer-Encoding": "chunked"}))
    assert "transfer-encoding" not in sent


async def test_a_body_that_was_replaced_has_its_own_length() -> None:
    response = PlainTextResponse("ok")
    response.body = b"replaced"
    sent = await send(response)
    assert (sent.body, sent["content-length"]) == (b"replaced", "8")


async def test_an_amended_response_leaves_the_first_as_it_was() -> None:
    first = PlainTextResponse("ok", headers={"X-A": "b"})
    first.set_cookie("a", "b")
    second = first.amended(404, {"X-A": "c", "X-D": "e"})
    second.set_cookie("c", "d")
    assert (await send(first)).headers == [
        ("content-type", "text/plain; charset=utf-8"),
        ("x-a", "b"),
        ("set-cookie", "a=b; Path=/; SameSite=Lax"),
        ("content-length", "2"),
    ]
    sent = await send(second)
    assert (sent.status, sent.body, sent["x-a"], sent["x-d"]) == (404, b"ok", "c", "e")
    assert len(sent.getlist("set-cookie")) == 2


def test_an_amended_status_is_checked_too() -> None:
    with pytest.raises(ValueError, match="from 200 to 599"):
        HttpResponse().amended(600, None)


def test_a_response_is_buffered_unless_its_class_sends_by_itself() -> None:
    class Streaming(HttpResponse):
        async def __call__(self, scope, receive, send) -> None:  # type: ignore[no-untyped-def]
            pass

    class Child(Streaming):
        pass

    class Named(PlainTextResponse):
        pass

    class Late(SmallResponse[str]):
        async def render(self, content: str) -> bytes:
            return content.encode()

    assert HttpResponse.buffered and JSONResponse.buffered and Named.buffered
    assert not Streaming.buffered and not Child.buffered and not Late.buffered
    assert PlainTextResponse("ok").body == b"ok"
    assert Late("ok").body is None


def test_a_response_shows_what_it_is() -> None:
    assert repr(HTMLResponse("", 404)) == "<HTMLResponse 404>"
