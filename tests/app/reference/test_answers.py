"""The second half of the reference: responses, conversion, exceptions and CORS, as printed there."""

from __future__ import annotations

import decimal
import os
from collections.abc import AsyncGenerator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from baize.datastructures import URL
from baize.exceptions import abort

import kui
from kui.asgi import (
    BaseTemplates,
    FileResponse,
    HTMLResponse,
    HTTPException,
    HttpResponse,
    HttpRoute,
    Jinja2Templates,
    JSONResponse,
    Kui,
    PlainTextResponse,
    RedirectResponse,
    Routes,
    SendEventResponse,
    ServerSentEvent,
    StreamResponse,
    TemplateResponse,
    allow_cors,
    convert_response,
)
from kui.testing import AsyncTestClient

pytestmark = pytest.mark.anyio


async def answer_of(handler, app: Kui | None = None, **options):
    app = app or Kui()
    app.router.http("/")(handler)
    async with AsyncTestClient(app) as client:
        return await client.get("/", **options)


async def test_cookies_are_set_and_deleted() -> None:
    async def endpoint():
        response = HttpResponse(204)
        response.set_cookie("a", "1", max_age=60, path="/x", httponly=True)
        response.delete_cookie("b")
        return response

    response = await answer_of(endpoint)
    first, second = response.headers.get_list("set-cookie")
    assert first.startswith("a=1;")
    assert {"max-age=60", "path=/x", "httponly", "samesite=lax"} <= {
        part.strip().lower() for part in first.split(";")
    }
    assert "max-age=0" in second.lower()


async def test_plain_text_html_and_json() -> None:
    async def return_plaintext():
        return PlainTextResponse("Hello, world!")

    async def return_html():
        return HTMLResponse("<html><body><h1>Hello, world!</h1></body></html>")

    async def return_json():
        return JSONResponse({"hello": "world"})

    plain = await answer_of(return_plaintext)
    assert plain.text == "Hello, world!"
    html = await answer_of(return_html)
    assert html.headers["content-type"] == "text/html; charset=utf-8"
    json = await answer_of(return_json)
    assert json.headers["content-type"] == "application/json"
    assert json.content == b'{"hello":"world"}'


async def test_json_takes_the_options_of_dumps() -> None:
    def custom_convert(obj):
        if isinstance(obj, decimal.Decimal):
            return str(obj)
        raise TypeError(f"Object of type {obj.__class__.__name__} is not JSON serializable")

    async def return_json():
        return JSONResponse(
            {"b": decimal.Decimal("1.5"), "a": 1}, default=custom_convert, sort_keys=True
        )

    assert (await answer_of(return_json)).content == b'{"a":1,"b":"1.5"}'


async def test_a_redirect_keeps_the_method_by_default() -> None:
    async def return_redirect():
        return RedirectResponse("/other")

    response = await answer_of(return_redirect)
    assert (response.status_code, response.headers["location"]) == (307, "/other")


async def test_a_generator_is_streamed() -> None:
    async def slow_numbers(minimum, maximum):
        for number in range(minimum, maximum + 1):
            yield f"<li>{number}</li>"
            await anyio.lowlevel.checkpoint()

    async def return_stream():
        generator = slow_numbers(1, 10)
        return StreamResponse(generator, content_type="text/html")

    response = await answer_of(return_stream)
    assert response.text == "".join(f"<li>{n}</li>" for n in range(1, 11))
    assert response.headers["content-type"].startswith("text/html")


async def test_a_file_is_sent_with_its_validators_and_in_ranges(tmp_path: Path) -> None:
    path = tmp_path / "report.txt"
    path.write_bytes(b"0123456789")
    os.utime(path, (1_000_000_000, 1_000_000_000))  # within its first second it has no date

    async def download():
        return FileResponse(str(path), download_name="räport.txt")

    whole = await answer_of(download)
    assert whole.content == b"0123456789"
    assert {"content-length", "last-modified", "etag", "content-disposition"} <= set(whole.headers)
    part = await answer_of(download, headers={"range": "bytes=2-4"})
    assert (part.status_code, part.content) == (206, b"234")


async def test_a_template_is_rendered(tmp_path: Path) -> None:
    (tmp_path / "homepage.html").write_text("<p>{{ 1 + 1 }} {{ request.url.path }}</p>")

    async def homepage():
        return TemplateResponse("homepage.html")

    app = Kui(templates=Jinja2Templates(str(tmp_path)))
    assert isinstance(app.templates, BaseTemplates)
    response = await answer_of(homepage, app)
    assert response.text == "<p>2 /</p>"
    assert response.headers["content-type"] == "text/html; charset=utf-8"


async def test_events_are_sent() -> None:
    async def message():
        async def message_gen() -> AsyncGenerator[ServerSentEvent, None]:
            for i in range(101):
                await anyio.lowlevel.checkpoint()
                yield {"id": i, "data": "hello"}

        return SendEventResponse(message_gen())

    response = await answer_of(message)
    assert response.headers["content-type"].startswith("text/event-stream")
    events = [event for event in response.text.split("\n\n") if event and not event.startswith(":")]
    assert len(events) == 101
    assert set(events[100].split("\n")) == {"id: 100", "data: hello"}


async def test_values_of_common_types_are_converted(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("file")

    def events():
        yield {"data": "1"}

    for value, status, content_type, body in [
        ({"key": "value"}, 200, "application/json", b'{"key":"value"}'),
        ([1, 2], 200, "application/json", b"[1,2]"),
        ((1, 2), 200, "application/json", b"[1,2]"),
        ("text", 200, "text/plain; charset=utf-8", b"text"),
        (b"bytes", 200, "text/plain; charset=utf-8", b"bytes"),
        (path, 200, "text/plain; charset=utf-8", b"file"),
        (({"message": "Not found"}, 404), 404, "application/json", b'{"message":"Not found"}'),
    ]:

        async def endpoint(value=value):
            return value

        response = await answer_of(endpoint)
        assert response.status_code == status
        assert response.headers["content-type"] == content_type
        assert response.content == body

    async def stream():
        return events()

    assert "data: 1" in (await answer_of(stream)).text

    async def elsewhere():
        return URL("https://example.com/"), 302

    assert (await answer_of(elsewhere)).headers["location"] == "https://example.com/"

    async def no_content():
        return "", 301, {"location": ""}

    moved = await answer_of(no_content)
    assert (moved.status_code, moved.headers["location"]) == (301, "")


@dataclass
class Error:
    code: int = 0
    title: str = ""
    message: str = ""


def _error_json(
    error: Error, status: int = 400, headers: Mapping[str, str] | None = None
) -> HttpResponse:
    return JSONResponse(asdict(error), status, headers)


async def test_a_converter_is_registered_by_decorator_or_argument() -> None:
    async def endpoint():
        return Error(1, "title", "message")

    async def other_status():
        return Error(), 422

    decorated = Kui()
    assert decorated.response_converter.register(Error)(_error_json) is _error_json
    for app in (decorated, Kui(response_converters={Error: _error_json})):
        response = await answer_of(endpoint, app)
        assert response.status_code == 400
        assert response.json() == {"code": 1, "title": "title", "message": "message"}
    app = Kui(response_converters={Error: _error_json})
    assert (await answer_of(other_status, app)).status_code == 422


async def test_a_default_converter_is_overridden() -> None:
    app = Kui()

    @app.response_converter.register(tuple)
    @app.response_converter.register(list)
    @app.response_converter.register(dict)
    def _more_json(body, status: int = 200, headers: Mapping[str, str] | None = None):
        return JSONResponse({"data": body}, status, headers)

    async def endpoint():
        return {"a": 1}, 201

    response = await answer_of(endpoint, app)
    assert (response.status_code, response.json()) == (201, {"data": {"a": 1}})


async def test_conversion_can_be_asked_for() -> None:
    async def get_detail():
        response = convert_response({"key": "value"})
        assert isinstance(response, HttpResponse)
        return response

    assert (await answer_of(get_detail)).json() == {"key": "value"}


async def test_an_http_exception_is_an_answer() -> None:
    async def bad():
        raise kui.HTTPException(400)

    async def method():
        raise HTTPException(405, headers={"Allow": "HEAD, GET, POST"}, content={"a": 1})

    response = await answer_of(bad)
    assert (response.status_code, response.text) == (
        400,
        "Bad request syntax or unsupported method",
    )
    response = await answer_of(method)
    assert (response.status_code, response.headers["allow"]) == (405, "HEAD, GET, POST")
    assert response.json() == {"a": 1}
    assert (await answer_of(lambda: abort(403))).status_code == 403


async def not_found(exc: HTTPException) -> HttpResponse:
    return PlainTextResponse("what do you want to do?", status_code=404)


async def value_error(exc: ValueError) -> HttpResponse:
    return PlainTextResponse("Something went wrong with the server.", status_code=500)


async def test_exceptions_are_handled_by_decorator_or_argument() -> None:
    decorated = Kui()
    decorated.exception_handler(404)(not_found)
    decorated.exception_handler(ValueError)(value_error)
    listed = Kui(exception_handlers={404: not_found, ValueError: value_error})

    async def broken():
        raise ValueError("secret")

    for app in (decorated, listed):
        app.router.http("/broken")(broken)
        async with AsyncTestClient(app) as client:
            missing = await client.get("/missing")
            assert (missing.status_code, missing.text) == (404, "what do you want to do?")
            failed = await client.get("/broken")
            assert (failed.status_code, failed.text) == (
                500,
                "Something went wrong with the server.",
            )


async def test_other_origins_are_allowed() -> None:
    async def endpoint():
        return "ok"

    routes = Routes(HttpRoute("/", endpoint), http_middlewares=[allow_cors()])
    for app in (Kui(routes=routes), Kui(routes=[HttpRoute("/", endpoint)], cors_config={})):
        async with AsyncTestClient(app) as client:
            response = await client.get("/", headers={"origin": "https://example.com"})
            assert response.headers["access-control-allow-origin"] in ("*", "https://example.com")
            preflight = await client.options(
                "/",
                headers={
                    "origin": "https://example.com",
                    "access-control-request-method": "PUT",
                },
            )
            assert preflight.is_success
            assert "PUT" in preflight.headers["access-control-allow-methods"]
            assert preflight.headers["access-control-max-age"] == "600"
