"""The first half of the reference: handlers and what they read of a request, as printed there."""

from __future__ import annotations

import pytest

from kui.asgi import HttpView, Kui, request, request_var, required_method
from kui.testing import AsyncTestClient

pytestmark = pytest.mark.anyio


async def test_a_function_answers_a_request() -> None:
    app = Kui()

    @app.router.http("/")
    async def hello():
        return "hello"

    async with AsyncTestClient(app) as client:
        response = await client.get("/")
    assert (response.status_code, response.text) == (200, "hello")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"


async def test_one_function_stands_on_several_routes() -> None:
    app = Kui()

    @app.router.http("/hello", name="hello")
    @app.router.http("/hello/{name}", name="hello-with-name")
    async def hello():
        if request.path_params:
            return f"hello {request.path_params['name']}"
        return "hello"

    async with AsyncTestClient(app) as client:
        assert (await client.get("/hello")).text == "hello"
        assert (await client.get("/hello/ann")).text == "hello ann"


async def test_required_method_restricts_a_function() -> None:
    app = Kui()

    @app.router.http("/hello", middlewares=[required_method("POST")])
    async def need_post():
        return request.method

    @app.router.http("/read", middlewares=[required_method("GET")])
    async def need_get():
        return request.method

    async with AsyncTestClient(app) as client:
        assert (await client.post("/hello")).text == "POST"
        refused = await client.get("/hello")
        assert refused.status_code == 405
        assert set(refused.headers["allow"].split(", ")) == {"POST", "OPTIONS"}
        options = await client.options("/hello")
        assert options.is_success
        assert set(options.headers["allow"].split(", ")) == {"POST", "OPTIONS"}
        head = await client.head("/read")
        assert (head.status_code, head.content) == (200, b"")


async def test_a_class_answers_by_method() -> None:
    app = Kui()

    @app.router.http("/cat")
    class Cat(HttpView):
        async def get(cls):
            return request.method

        async def post(cls):
            return request.method

        async def put(cls):
            return request.method

        async def patch(cls):
            return request.method

        async def delete(cls):
            return request.method

    async with AsyncTestClient(app) as client:
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            assert (await client.request(method, "/cat")).text == method
        assert (await client.request("TRACE", "/cat")).status_code == 405


async def test_a_class_may_allow_more_methods() -> None:
    app = Kui()

    @app.router.http("/cache")
    class Cache(HttpView):
        HTTP_METHOD_NAMES = (*HttpView.HTTP_METHOD_NAMES, "purge")

        async def purge(self):
            return "gone"

    async with AsyncTestClient(app) as client:
        assert (await client.request("PURGE", "/cache")).text == "gone"


async def test_the_original_request_is_in_request_var() -> None:
    app = Kui()

    @app.router.http("/")
    async def endpoint():
        original = request_var.get()
        original.answer = 42
        assert request.answer == 42
        request.answer = 43
        assert original.answer == 43
        del request.answer
        assert not hasattr(original, "answer")
        return type(original).__name__

    async with AsyncTestClient(app) as client:
        assert (await client.get("/")).text == "HttpRequest"


async def test_the_request_tells_what_its_headers_say() -> None:
    app = Kui()

    @app.router.http("/tell")
    async def tell():
        assert request.url.path == "/tell"
        assert (request.url.scheme, request.url.port) == ("http", 8000)
        assert request.query_params["search"] == "tea"
        assert request.query_params.getlist("search") == ["coffee", "tea"]
        assert request.headers["X-Thing"] == request.headers["x-thing"] == "yes"
        assert "x-thing" in list(request.headers.keys())
        assert request.accepts("text/html") and not request.accepts("image/png")
        assert [str(t).partition(";")[0] for t in request.accepted_types] == [
            "text/html",
            "text/plain",
        ]
        assert request.content_type == "text/csv"
        assert request.content_length == 3
        assert request.date is not None and request.date.year == 2026
        assert str(request.referrer) == "https://example.com/from"
        assert request.cookies.get("mycookie") == "1"
        assert request.client.host and request.client.port
        request.state.user = "Alice"
        user_name = request.state.user
        del request.state.user
        assert not hasattr(request.state, "user")
        return user_name

    headers = {
        "x-thing": "yes",
        "accept": "text/html, text/plain;q=0.5, image/png;q=0",
        "content-type": "Text/CSV; charset=utf-8",
        "date": "Fri, 20 Nov 2026 12:00:00 GMT",
        "referer": "https://example.com/from",
        "cookie": "mycookie=1",
    }
    async with AsyncTestClient(app, base_url="http://testserver:8000") as client:
        response = await client.post(
            "/tell?search=coffee&search=tea", headers=headers, content=b"a,b"
        )
    assert response.text == "Alice"


async def test_the_body_is_read_as_bytes_json_form_or_by_its_type() -> None:
    app = Kui()

    @app.router.http("/body")
    async def body():
        return await request.body

    @app.router.http("/json")
    async def json():
        assert await request.data() == await request.json
        return await request.json

    @app.router.http("/form")
    async def form():
        assert await request.data() == await request.form
        return dict(await request.form)

    @app.router.http("/stream")
    async def post():
        body = b""
        async for chunk in request.stream():
            body += chunk
        with pytest.raises(RuntimeError):
            await request.body
        return body

    async with AsyncTestClient(app) as client:
        assert (await client.post("/body", content=b"abc")).content == b"abc"
        assert (await client.post("/json", json={"a": [1]})).json() == {"a": [1]}
        assert (await client.post("/form", data={"a": "1", "b": "ä"})).json() == {
            "a": "1",
            "b": "ä",
        }
        assert (await client.post("/stream", content=b"abc")).content == b"abc"


async def test_uploads_are_read_from_a_form() -> None:
    app = Kui()

    @app.router.http("/upload")
    async def upload():
        form = await request.form
        file = form["file"]
        data = await file.aread(2)
        await file.aseek(0)
        return [file.filename, file.content_type, data.decode(), (await file.aread(-1)).decode()]

    async with AsyncTestClient(app) as client:
        files = {"file": ("myimage.jpg", b"12345", "image/jpeg")}
        response = await client.post("/upload", files=files)
    assert response.json() == ["myimage.jpg", "image/jpeg", "12", "12345"]
