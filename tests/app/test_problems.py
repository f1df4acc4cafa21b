"""What a client is told of an error of Kui's own: problem details or text, and one function that changes it."""

from __future__ import annotations

from typing import Any

import pytest

from kui.asgi import HTMLResponse, HTTPException, JSONResponse, Kui, PlainTextResponse
from kui.http.media import parse_accept
from kui.http.problems import prefers_json, problem
from kui.serving.debug import Debugging
from kui.testing import AsyncTestClient

pytestmark = pytest.mark.anyio

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
API = "application/json, text/plain, */*"


async def ask(app: Any, path: str, accept: str | None = None, method: str = "GET", **more: str):
    headers = more if accept is None else {"accept": accept, **more}
    async with AsyncTestClient(app, raise_app_exceptions=False) as client:
        return await client.request(method, path, headers=headers)


@pytest.fixture
def app() -> Kui:
    app = Kui()

    @app.router.http.get("/")
    async def fine() -> str:
        return "fine"

    @app.router.http.get("/members")
    async def refused() -> None:
        raise HTTPException(403, content="Members only.")

    @app.router.http.get("/data")
    async def with_data() -> None:
        raise HTTPException(409, content={"code": 7})

    @app.router.http.get("/described")
    async def described() -> None:
        raise HTTPException(409, {"Content-Type": "application/x-mine"}, "mine")

    @app.router.http.get("/limited")
    async def limited() -> None:
        raise HTTPException(429, {"Retry-After": "5", "Vary": "Cookie"})

    @app.router.http.get("/broken")
    async def broken() -> None:
        raise KeyError("<secret>")

    return app


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("application/json", True),
        ("application/problem+json", True),
        (API, True),
        ("application/json, text/html", True),
        ("text/html, application/json", False),
        ("text/html;q=0.5, application/json", True),
        ("application/json;q=0.5, text/html", False),
        ("application/json;q=0", False),
        (BROWSER, False),
        ("*/*", False),
        ("text/*", False),
        ("", False),
    ],
)
def test_json_is_for_who_accepts_it_before_html(accept: str, wanted: bool) -> None:
    assert prefers_json(parse_accept(accept)) is wanted


@pytest.mark.parametrize(
    ("method", "path", "status", "title"),
    [
        ("GET", "/nowhere", 404, "Not Found"),
        ("POST", "/", 405, "Method Not Allowed"),
        ("GET", "/broken", 500, "Internal Server Error"),
        ("GET", "/members", 403, "Forbidden"),
    ],
)
async def test_errors_are_problem_details_for_json_clients_and_text_for_others(
    app: Kui, method: str, path: str, status: int, title: str
) -> None:
    response = await ask(app, path, API, method)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["vary"] == "Accept"
    told = response.json()
    assert (told["type"], told["title"], told["status"]) == ("about:blank", title, status)
    for accept in (None, BROWSER):
        response = await ask(app, path, accept, method)
        assert response.status_code == status
        assert response.headers["content-type"] == "text/plain; charset=utf-8"
        assert response.headers["vary"] == "Accept"
        assert told["detail"].rstrip(".") == response.text.rstrip(".")
    assert "secret" not in response.text


async def test_headers_of_the_exception_are_kept(app: Kui) -> None:
    for accept in (API, BROWSER):
        response = await ask(app, "/limited", accept)
        assert response.headers["retry-after"] == "5"
        assert response.headers["vary"] == "Cookie, Accept"
        assert (await ask(app, "/", accept, "POST")).headers["allow"] == "GET, HEAD, OPTIONS"


async def test_content_of_the_applications_own_stays_what_it_is(app: Kui) -> None:
    response = await ask(app, "/data", BROWSER)
    assert (response.status_code, response.json()) == (409, {"code": 7})
    response = await ask(app, "/described", API)
    assert (response.headers["content-type"], response.text) == ("application/x-mine", "mine")


async def test_one_function_changes_them_all(app: Kui) -> None:
    def as_html(exc: HTTPException[str]) -> HTMLResponse:
        return HTMLResponse(f"<h1>{exc.status_code}</h1>{exc.content}", exc.status_code)

    changed = Kui(routes=[*app.router], error_response=as_html)
    for method, path, text in (
        ("GET", "/nowhere", "<h1>404</h1>None"),
        ("GET", "/broken", "<h1>500</h1>None"),
        ("GET", "/members", "<h1>403</h1>Members only."),
        ("POST", "/", "<h1>405</h1>None"),
    ):
        response = await ask(changed, path, API, method)
        assert response.text == text
    assert response.headers["allow"] == "GET, HEAD, OPTIONS"
    assert (await ask(changed, "/data")).json() == {"code": 7}


async def test_a_function_that_fails_leaves_a_plain_500(app: Kui) -> None:
    def broken(exc: HTTPException[str]) -> str:
        raise ZeroDivisionError

    changed = Kui(routes=[*app.router], error_response=broken)
    for path in ("/nowhere", "/broken"):
        response = await ask(changed, path)
        assert response.status_code == 500
        assert response.text == "The server failed to answer this request"


def test_a_function_that_cannot_be_called_with_an_exception_is_refused() -> None:
    with pytest.raises(TypeError, match="error_response"):
        Kui(error_response=lambda: "")  # type: ignore[arg-type, misc]


async def test_exception_handlers_come_first(app: Kui) -> None:
    app.exception_handler(404)(lambda exc: JSONResponse({"mine": True}, 404))
    assert (await ask(app, "/nowhere", API)).json() == {"mine": True}


def test_problem_details_have_the_names_of_rfc_9110_and_extension_members() -> None:
    told = problem(422, "No.", errors=[1])
    assert told == {
        "type": "about:blank",
        "title": "Unprocessable Content",
        "status": 422,
        "detail": "No.",
        "errors": [1],
    }
    assert problem(599)["title"] == "Server error"


# Tracebacks, for the developer.


async def test_debugging_shows_the_traceback_as_html_to_a_browser_and_as_text_to_others(
    app: Kui,
) -> None:
    response = await ask(Debugging(app), "/broken", BROWSER, host="localhost:8000")
    assert response.status_code == 500
    assert response.headers["content-type"].startswith("text/html")
    assert response.headers["vary"] == "Accept"
    assert response.headers["cache-control"] == "no-store"
    assert "KeyError: &#x27;&lt;secret&gt;&#x27;" in response.text
    assert "<secret>" not in response.text
    for accept in ("*/*", API):
        response = await ask(Debugging(app), "/broken", accept, host="localhost:8000")
        assert response.headers["content-type"] == "text/plain; charset=utf-8"
        assert response.text.startswith("Traceback") and "KeyError: '<secret>'" in response.text


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil"])
async def test_a_host_that_is_not_this_machine_sees_nothing(app: Kui, host: str) -> None:
    assert "secret" not in (await ask(Debugging(app), "/broken", host=host)).text


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000", "127.1.2.3", "[::1]:80"])
async def test_each_name_of_this_machine_does(app: Kui, host: str) -> None:
    assert "secret" in (await ask(Debugging(app), "/broken", host=host)).text


async def test_debugging_comes_before_a_handler_for_all_exceptions(app: Kui) -> None:
    app.exception_handler(Exception)(lambda exc: PlainTextResponse("sorry", 500))
    assert "secret" in (await ask(Debugging(app), "/broken", host="localhost")).text
    assert (await ask(app, "/broken", host="localhost")).text == "sorry"


async def test_what_a_handler_answers_is_no_traceback(app: Kui) -> None:
    app.exception_handler(KeyError)(lambda exc: PlainTextResponse("no such key", 404))
    assert (await ask(Debugging(app), "/broken", host="localhost")).text == "no such key"
