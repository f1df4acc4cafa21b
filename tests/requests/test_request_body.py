"""The body of a request: read as often as one likes, by whom one likes, within its limits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import anyio.from_thread
import httpx2
import pytest

from kui.asgi import ClientDisconnect, HTTPException, Kui, Limits, request, request_limits
from kui.http.media import URLENCODED
from kui.testing import AsyncTestClient, RequestBody

pytestmark = pytest.mark.anyio

Handler = Callable[[], Any]


def app_with(handler: Handler, **options: Any) -> Kui:
    app = Kui(**options)
    app.router.http.post("/")(handler)
    return app


async def post(handler: Handler, app: Kui | None = None, **options: Any):
    async with AsyncTestClient(app or app_with(handler)) as client:
        return await client.post("/", **options)


async def upload(handler: Handler, *chunks: bytes, between: Handler = lambda: None) -> bytes:
    """The answer to a body that is sent piece by piece; `between` is called before the last one."""
    body = RequestBody()
    answer: list[bytes] = []

    async with AsyncTestClient(app_with(handler)) as client, anyio.create_task_group() as tasks:

        async def ask() -> None:
            answer.append((await client.post("/", content=body)).content)

        tasks.start_soon(ask)
        for number, chunk in enumerate(chunks, 1):
            await anyio.wait_all_tasks_blocked()
            if number == len(chunks):
                between()
                await anyio.wait_all_tasks_blocked()
            await body.send(chunk)
        await body.end()
    return answer[0]


async def test_body_json_and_stream_can_be_read_again_and_again() -> None:
    async def handler() -> str:
        assert await request.body == await request.body == b'{"a": 1}'
        assert await request.json == {"a": 1}
        assert await request.json is await request.json
        assert [chunk async for chunk in request.stream()] == [b'{"a": 1}']
        assert [chunk async for chunk in request.stream()] == [b'{"a": 1}']
        return "ok"

    response = await post(
        handler, content=b'{"a": 1}', headers={"content-type": "application/json"}
    )
    assert response.text == "ok"


async def test_nothing_is_left_after_the_body_was_streamed() -> None:
    async def handler() -> str:
        assert b"".join([chunk async for chunk in request.stream()]) == b"abc"
        for read in (lambda: request.body, lambda: request.json):
            with pytest.raises(RuntimeError, match="stream"):
                await read()
        with pytest.raises(RuntimeError, match="stream"):
            request.stream()
        return "ok"

    headers = {"content-type": "application/json"}
    assert (await post(handler, content=b"abc", headers=headers)).text == "ok"


async def test_two_tasks_read_one_body() -> None:
    seen: list[bytes] = []

    async def handler() -> str:
        original = request.body

        async def read() -> None:
            seen.append(await request.body)

        async with anyio.create_task_group() as task_group:
            task_group.start_soon(read)
            task_group.start_soon(read)
            seen.append(await original)
        return "ok"

    assert await upload(handler, b"a", b"b", b"c") == b"ok"
    assert seen == [b"abc"] * 3


async def test_a_plain_function_reads_the_body_from_its_thread() -> None:
    def handler() -> object:
        return {"data": anyio.from_thread.run(request.data)}

    assert (await post(handler, json=[1])).json() == {"data": [1]}
    assert (await post(lambda: request.json, json=[1])).json() == [1]


async def test_what_was_got_once_can_be_awaited_again_or_not_at_all() -> None:
    async def handler() -> list[str]:
        body, json, form = request.body, request.json, request.form
        assert not isinstance(json, dict) and form is request.form
        return [(await body).decode(), (await body).decode()]

    assert await upload(handler, b"a", b"b") == b'["ab","ab"]'


async def test_a_forgotten_await_is_told() -> None:
    async def handler() -> str:
        form: Any = request.form
        for forgetful in (
            lambda: form["a"],
            lambda: form.getlist("a"),
            lambda: list(form),
            lambda: "a" in form,
        ):
            with pytest.raises((TypeError, AttributeError), match="put await before it"):
                forgetful()

        with pytest.raises(TypeError, match="no parentheses behind it"):
            request.json()  # type: ignore[operator]  # the mistake
        return "told"

    assert (await post(handler)).text == "told"

    async def returns_it() -> Any:
        return request.json

    with pytest.raises(TypeError, match="put await before it"):
        await post(returns_it)


@pytest.mark.parametrize("way", ["stream", "parts", "form"])
async def test_while_one_task_reads_the_body_no_other_takes_pieces_of_it(way: str) -> None:
    body = RequestBody()
    refused = anyio.Event()
    answer: list[bytes] = []

    async def handler() -> bytes:
        seen: list[bytes] = []

        async def read() -> None:
            seen.append(await request.body)

        async with anyio.create_task_group() as task_group:
            task_group.start_soon(read)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(RuntimeError, match=r"another task is reading request\.body"):
                if way == "form":
                    await request.form
                else:
                    getattr(request, way)()
            refused.set()
        return seen[0]

    headers = {"content-type": "multipart/form-data; boundary=x"}
    async with AsyncTestClient(app_with(handler)) as client, anyio.create_task_group() as tasks:

        async def ask() -> None:
            answer.append((await client.post("/", content=body, headers=headers)).content)

        tasks.start_soon(ask)
        await body.send(b"a")
        await refused.wait()
        await body.send(b"b")
        await body.end()
    assert answer == [b"ab"]


async def test_a_cancelled_read_loses_nothing() -> None:
    scopes: list[anyio.CancelScope] = []

    async def handler() -> bytes:
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            await request.body
        assert scope.cancelled_caught
        return await request.body

    assert await upload(handler, b"a", b"b", between=lambda: scopes[0].cancel()) == b"ab"


async def test_what_a_cancelled_read_kept_can_be_streamed() -> None:
    scopes: list[anyio.CancelScope] = []

    async def handler() -> bytes:
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            await request.body
        return b"-".join([chunk async for chunk in request.stream()])

    assert await upload(handler, b"a", b"b", between=lambda: scopes[0].cancel()) == b"a-b"


async def test_a_client_that_leaves_half_way_is_a_disconnect_where_the_body_is_read() -> None:
    seen: list[type[BaseException]] = []

    async def handler() -> None:
        try:
            await request.body
        except ClientDisconnect as exc:
            seen.append(type(exc))
            raise

    app = app_with(handler)
    body = RequestBody()
    async with AsyncTestClient(app) as client, anyio.create_task_group() as tasks:

        async def ask() -> None:
            with pytest.raises(httpx2.TransportError):
                await client.post("/", content=body)

        tasks.start_soon(ask)
        await body.send(b"a")
        await anyio.wait_all_tasks_blocked()
        body.abort()
    assert seen == [ClientDisconnect]


async def test_a_body_that_says_it_is_too_large_is_refused_unread() -> None:
    async def handler() -> bytes:
        return await request.body

    sent: list[int] = []

    async def chunks() -> AsyncIterator[bytes]:
        for number in range(1000):
            sent.append(number)
            yield b"x" * 70_000

    app = app_with(handler, limits=Limits(body=4))
    headers = {"content-length": "70000000"}
    assert (await post(handler, app, content=chunks(), headers=headers)).status_code == 413
    assert len(sent) < 10


async def test_a_body_that_turns_out_too_large_is_refused() -> None:
    async def handler() -> bytes:
        return await request.body

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b"x"

    app = app_with(handler, limits=Limits(body=4))
    assert (await post(handler, app, content=chunks())).status_code == 413


async def test_a_body_that_was_refused_is_refused_again_and_its_rest_is_no_body() -> None:
    async def handler() -> list[str]:
        for _ in range(2):
            with pytest.raises(HTTPException, match="413"):
                await request.body
        return [chunk.decode() async for chunk in request.stream()]

    async def chunks() -> AsyncIterator[bytes]:
        yield b"abc"
        yield b"de"
        yield b"f"

    app = app_with(handler, limits=Limits(body=4))
    assert (await post(handler, app, content=chunks())).json() == ["abc", "de", "f"]


async def test_a_route_has_limits_of_its_own_and_a_stream_has_none() -> None:
    app = Kui(limits=Limits(body=4))

    @app.router.http.post("/", middlewares=[request_limits(body=8)])
    async def more() -> bytes:
        return await request.body

    @app.router.http.post("/stream")
    async def stream() -> int:
        return {"size": sum([len(chunk) async for chunk in request.stream()])}

    async with AsyncTestClient(app) as client:
        assert (await client.post("/", content=b"x" * 8)).status_code == 200
        assert (await client.post("/", content=b"x" * 9)).status_code == 413
        assert (await client.post("/stream", content=b"x" * 999)).json() == {"size": 999}


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"{", {"content-type": "application/json"}, 400),
        (b"", {"content-type": "application/json"}, 400),
        (b"[" * 100_000, {"content-type": "application/json"}, 400),
        (b"1" * 5_000, {"content-type": "application/json"}, 400),
        (b"NaN", {"content-type": "application/json"}, 400),
        (b"-Infinity", {"content-type": "application/json"}, 400),
        (b'"\xff"', {"content-type": "application/json"}, 400),
        (b"1", {"content-type": "application/json; charset=klingon"}, 400),
        (b"1", {"content-type": "text/plain"}, 415),
        (b"1", {}, 415),
        (b"1", {"content-type": "application/json", "content-encoding": "gzip"}, 415),
        (b"1", {"content-type": "application/problem+json"}, 200),
        (b"1", {"content-type": "Application/JSON"}, 200),
    ],
)
async def test_json_that_is_none_is_refused_with_a_sentence(
    content: bytes, headers: dict[str, str], status: int
) -> None:
    async def handler() -> list[Any]:
        return [await request.json]

    response = await post(handler, content=content, headers=headers)
    assert response.status_code == status
    if status != 200:
        assert len(response.text) > 10 and response.text.endswith(".")


async def test_a_form_of_too_many_fields_is_refused() -> None:
    async def handler() -> dict[str, Any]:
        return {"fields": len((await request.form).multi_items())}

    headers = {"content-type": "application/x-www-form-urlencoded"}
    response = await post(handler, content=b"&".join([b"a=1"] * 1000), headers=headers)
    assert response.json() == {"fields": 1000}
    response = await post(handler, content=b"&".join([b"a=1"] * 1001), headers=headers)
    assert response.status_code == 413


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ({}, (200, {"a": "\ufffd"})),
        ({"content-type": "Application/x-www-form-urlencoded"}, (200, {"a": "\ufffd"})),
        ({"content-type": f"{URLENCODED}; charset=latin-1"}, (200, {"a": "\u00e9"})),
        ({"content-encoding": "identity"}, (200, {"a": "\ufffd"})),
        ({"content-encoding": "gzip"}, (415, None)),
    ],
)
async def test_a_form_is_decoded_as_its_headers_say(
    headers: dict[str, str], wanted: tuple[int, Any]
) -> None:
    async def handler() -> dict[str, Any]:
        return dict(await request.form)

    response = await post(
        handler, content=b"a=%e9", headers={"content-type": URLENCODED, **headers}
    )
    status, fields = wanted
    assert response.status_code == status
    if fields is not None:
        assert response.json() == fields


async def test_a_form_of_another_type_is_refused() -> None:
    async def handler() -> dict[str, Any]:
        return dict(await request.form)

    assert (await post(handler, content=b"a=1")).status_code == 415


async def test_close_may_always_be_called() -> None:
    async def handler() -> str:
        await request.close()
        form = await request.form
        await request.close()
        await request.close()
        assert form["file"].file.closed
        return "ok"

    assert (await post(handler, files={"file": ("a", b"1")})).text == "ok"


async def test_after_a_multipart_form_there_is_no_body() -> None:
    async def handler() -> str:
        form = await request.form
        assert await request.form is form
        with pytest.raises(RuntimeError, match="form"):
            await request.body
        with pytest.raises(RuntimeError, match="form"):
            await request.json
        return "ok"

    assert (await post(handler, files={"file": ("a", b"1")})).text == "ok"


async def test_a_form_without_a_boundary_is_refused_as_often_as_it_is_asked_for() -> None:
    async def handler() -> str:
        for _ in range(2):
            with pytest.raises(HTTPException) as caught:
                await request.form
            assert caught.value.status_code == 400
        return "ok"

    headers = {"content-type": "multipart/form-data"}
    assert (await post(handler, content=b"x", headers=headers)).text == "ok"


async def test_parts_arrive_as_streams() -> None:
    async def handler() -> list[Any]:
        seen = [
            [part.name, part.filename, len(await part.read())] async for part in request.parts()
        ]
        with pytest.raises(RuntimeError, match="parts"):
            request.parts()
        return seen

    files = {"a": ("a.txt", b"1" * 100_000), "b": ("b.txt", b"2")}
    response = await post(handler, files=files, data={"field": "text"})
    assert sorted(response.json()) == [
        ["a", "a.txt", 100_000],
        ["b", "b.txt", 1],
        ["field", None, 4],
    ]
