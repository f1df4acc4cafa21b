"""`compress`: who gets what compressed, with which headers, and when it arrives."""

from __future__ import annotations

import os
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import brotli
import httpx2
import pytest
from baize.typing import Receive, Scope, Send
from hypothesis import given
from hypothesis import strategies as st

from kui.asgi import (
    WSGI,
    FileResponse,
    Files,
    HTTPException,
    HttpResponse,
    JSONResponse,
    Kui,
    Mount,
    PlainTextResponse,
    SendEventResponse,
    StreamResponse,
    compress,
    request,
)
from kui.http.codings import LEVELS, compressible, maker, preferred
from kui.testing import ASGITransport, AsyncTestClient

try:
    from compression import zstd  # type: ignore[import-not-found,unused-ignore]  # Python 3.14
except ImportError:
    from backports import zstd

pytestmark = pytest.mark.anyio

TEXT = "Kui waits, and whoever waits has a parent. " * 100
LONG = TEXT * 200  # 860,000 bytes: several chunks of a file
ALL = ["zstd", "br", "gzip"]


def decode(coding: str | None, data: bytes) -> bytes:
    """Decode what may be unfinished."""
    if coding == "gzip":
        return zlib.decompressobj(31).decompress(data)
    if coding == "br":
        return bytes(brotli.Decompressor().process(data))
    if coding == "zstd":
        return zstd.ZstdDecompressor().decompress(data)
    return data


def app_of(*handlers: Callable[[], Any], **options: Any) -> Kui:
    """Each handler at the path of its name, compressed by `compress(**options)`."""
    app = Kui(http_middlewares=[compress(**options)])
    for handler in handlers:
        app.router.http(f"/{handler.__name__}")(handler)
    return app


async def text() -> str:
    return TEXT


async def get(client: AsyncTestClient, path: str, accept: str | None, **more: Any) -> Any:
    """The response to a GET, undecoded: `.raw` are its bytes."""
    headers = {**more.pop("headers", {}), **({} if accept is None else {"accept-encoding": accept})}
    built = client.build_request(more.pop("method", "GET"), path, headers=headers, **more)
    if accept is None:
        del built.headers["accept-encoding"]
    response = await client.send(built, stream=True)
    response.raw = b"".join([chunk async for chunk in response.aiter_raw()])
    await response.aclose()
    return response


# ---- which coding


@pytest.mark.parametrize(
    ("header", "coding", "identity"),
    [
        (None, None, True),
        ("", None, True),
        ("gzip", "gzip", True),
        ("GZip", "gzip", True),
        ("x-gzip", "gzip", True),
        ("gzip, br, zstd", "zstd", True),
        ("gzip, deflate, br", "br", True),
        ("gzip;q=1.0, br;q=0.5", "gzip", True),
        ("gzip;q=0.5, br;q=0.5", "br", True),
        ("gzip;q=0.001", "gzip", True),
        ("gzip;q=0", None, True),
        ("gzip ; q=0.5 , br ; Q=0.4", "gzip", True),
        ("*", "zstd", True),
        ("*;q=0.1", "zstd", True),
        ("*, zstd;q=0", "br", True),
        ("*;q=0", None, False),
        ("*;q=0, gzip", "gzip", False),
        ("*;q=0, identity", None, True),
        ("identity", None, True),
        ("identity;q=0", None, False),
        ("identity;q=0, gzip;q=0.1", "gzip", False),
        ("identity;q=1, gzip;q=0.5", None, True),
        ("identity;q=0.5, gzip;q=1", "gzip", True),
        ("identity;q=0.5, gzip;q=0.5", "gzip", True),
        ("deflate, compress", None, True),
        ("gzip;q=nonsense", None, True),
        ("gzip;q=2", None, True),
        ("gzip;q=1.0000", None, True),
        (",,,gzip,,", "gzip", True),
        ("gzip br", None, True),
        ("gzip;level=9", None, True),
    ],
)
def test_accept_encoding_is_read_by_the_standard(
    header: str | None, coding: str | None, identity: bool
) -> None:
    assert preferred(header, ALL) == (coding, identity)


def test_only_what_is_offered_is_chosen() -> None:
    assert preferred("br, gzip;q=0.5", ["gzip"]).coding == "gzip"
    assert preferred("br", []).coding is None


@given(st.text("gzip,br;q=01.* \t", max_size=60))
def test_any_header_is_read(header: str) -> None:
    coding, _ = preferred(header, ALL)
    assert coding is None or coding in ALL


def test_a_long_header_takes_linear_time() -> None:
    for header in (
        "gzip;" * 50_000,
        "," * 200_000,
        " " * 200_000 + "gzip",
        "gzip;q=0." + "0" * 200_000,
    ):
        preferred(header, ALL)


@given(st.sampled_from(sorted(LEVELS)), st.lists(st.tuples(st.binary(), st.booleans())))
def test_every_coder_gives_back_what_it_took_and_a_flush_all_of_it(
    coding: str, pieces: list[tuple[bytes, bool]]
) -> None:
    coder = maker(coding)()
    sent = taken = b""
    for piece, flushed in pieces:
        taken += piece
        sent += coder.compress(piece)
        if flushed:
            sent += coder.flush()
            if taken:
                assert decode(coding, sent) == taken
    sent += coder.finish()
    assert decode(coding, sent) == taken


@pytest.mark.parametrize("coding", ALL)
async def test_each_coding_is_sent_to_a_client_that_asks_for_it(coding: str) -> None:
    async with AsyncTestClient(app_of(text)) as client:
        response = await get(client, "/text", coding)
        assert response.headers["content-encoding"] == coding
        assert decode(coding, response.raw) == TEXT.encode()
        assert int(response.headers["content-length"]) == len(response.raw) < len(TEXT) / 10
        assert (await client.get("/text", headers={"accept-encoding": coding})).text == TEXT


async def test_a_client_that_asks_for_none_gets_none_and_the_cache_is_told() -> None:
    async with AsyncTestClient(app_of(text)) as client:
        for accept in (None, "identity", "deflate", "gzip;q=0"):
            response = await get(client, "/text", accept)
            assert "content-encoding" not in response.headers
            assert response.raw == TEXT.encode()
            assert response.headers["content-length"] == str(len(TEXT))
            assert response.headers["vary"] == "Accept-Encoding"


async def test_several_lines_of_accept_encoding_are_one_list() -> None:
    async with AsyncTestClient(app_of(text)) as client:
        response = await client.get(
            "/text", headers=[("accept-encoding", "gzip;q=0.1"), ("accept-encoding", "br;q=0.2")]
        )
    assert response.headers["content-encoding"] == "br"


async def test_codings_and_levels_may_be_chosen() -> None:
    app = app_of(text, codings=["gzip"], levels={"gzip": 9})
    async with AsyncTestClient(app) as client:
        response = await get(client, "/text", "br, zstd, gzip;q=0.1")
        assert response.headers["content-encoding"] == "gzip"


async def test_who_refuses_identity_gets_even_a_little_compressed_and_else_406() -> None:
    async def little() -> HttpResponse:
        return HttpResponse(200, {"content-type": "image/png"})

    async def tiny() -> str:
        return "tiny"

    async def picture() -> HttpResponse:
        return PlainTextResponse(b"png", media_type="image/png")

    called: list[int] = []

    async def post() -> str:
        called.append(1)
        return "posted"

    async with AsyncTestClient(app_of(little, tiny, picture, post)) as client:
        for path, body in {"/tiny": b"tiny", "/picture": b"png"}.items():
            response = await get(client, path, "gzip, identity;q=0")
            assert response.headers["content-encoding"] == "gzip"
            assert decode("gzip", response.raw) == body
        assert "content-encoding" not in (await get(client, "/little", "gzip, *;q=0")).headers
        for accept in ("identity;q=0", "*;q=0", "deflate, identity;q=0"):
            response = await get(client, "/post", accept, method="POST")
            assert response.status_code == 406
        assert called == []


# ---- what is compressed


@pytest.mark.parametrize(
    ("media_type", "yes"),
    [
        ("text/html", True),
        ("text/event-stream", True),
        ("text/plain; charset=utf-8", True),
        ("TEXT/CSS", True),
        ("application/json", True),
        ("application/problem+json", True),
        ("application/javascript", True),
        ("application/xml", True),
        ("image/svg+xml", True),
        ("application/wasm", True),
        ("font/ttf", True),
        ("image/png", False),
        ("image/jpeg", False),
        ("video/mp4", False),
        ("audio/ogg", False),
        ("application/zip", False),
        ("application/gzip", False),
        ("application/pdf", False),
        ("application/octet-stream", False),
        ("font/woff2", False),
        ("multipart/byteranges; boundary=x", False),
        ("", False),
    ],
)
async def test_what_becomes_smaller_is_compressed(media_type: str, yes: bool) -> None:
    async def typed() -> HttpResponse:
        response = PlainTextResponse(TEXT)
        response.headers["content-type"] = media_type
        return response

    assert compressible(media_type.partition(";")[0].lower()) is yes
    async with AsyncTestClient(app_of(typed)) as client:
        response = await get(client, "/typed", "gzip")
        assert ("content-encoding" in response.headers) is yes
        assert ("vary" in response.headers) is yes


async def test_the_types_may_be_chosen() -> None:
    async with AsyncTestClient(app_of(text, types=lambda kind: kind == "image/bmp")) as client:
        assert "content-encoding" not in (await get(client, "/text", "gzip")).headers


@pytest.mark.parametrize(("size", "yes"), [(0, False), (499, False), (500, True), (100_000, True)])
async def test_short_answers_are_left_alone(size: int, yes: bool) -> None:
    async def sized() -> str:
        return "x" * size

    async with AsyncTestClient(app_of(sized)) as client:
        response = await get(client, "/sized", "gzip")
    assert ("content-encoding" in response.headers) is yes
    assert decode("gzip" if yes else None, response.raw) == b"x" * size


@pytest.mark.parametrize(
    "headers",
    [
        {"content-encoding": "br"},
        {"content-encoding": "aws-chunked"},
        {"cache-control": "public, No-Transform"},
        {"content-digest": "sha-256=:x:"},
    ],
)
async def test_what_must_not_be_changed_is_not(headers: dict[str, str]) -> None:
    async def fixed() -> HttpResponse:
        return PlainTextResponse(TEXT, headers={**headers, "etag": '"a"'})

    async with AsyncTestClient(app_of(fixed)) as client:
        response = await get(client, "/fixed", "gzip")
    assert response.raw == TEXT.encode()
    assert response.headers["etag"] == '"a"'
    assert response.headers.get("content-encoding") == headers.get("content-encoding")


async def test_answers_without_content_have_none() -> None:
    async def bare() -> HttpResponse:
        return HttpResponse(int(request.query_params["status"]), {"content-type": "text/plain"})

    async with AsyncTestClient(app_of(bare)) as client:
        for status in (200, 204, 205, 304):
            response = await get(client, f"/bare?status={status}", "gzip, identity;q=0")
            assert (response.status_code, response.raw) == (status, b"")
            assert "content-encoding" not in response.headers


async def test_vary_is_merged() -> None:
    async def varied() -> HttpResponse:
        return PlainTextResponse(TEXT, headers={"vary": "Cookie"})

    app = Kui(http_middlewares=[compress()], cors_config={})
    app.router.http("/varied")(varied)
    async with AsyncTestClient(app) as client:
        response = await get(client, "/varied", "gzip")
    assert response.headers["vary"] == "Cookie, Origin, Accept-Encoding"


@pytest.mark.parametrize(("etag", "weak"), [('"a"', 'W/"a"'), ('W/"a"', 'W/"a"')])
async def test_a_strong_tag_becomes_weak(etag: str, weak: str) -> None:
    async def tagged() -> HttpResponse:
        return PlainTextResponse(TEXT, headers={"etag": etag})

    async with AsyncTestClient(app_of(tagged)) as client:
        assert (await get(client, "/tagged", "gzip")).headers["etag"] == weak
        assert (await get(client, "/tagged", None)).headers["etag"] == etag


async def test_head_says_what_get_would() -> None:
    async def streamed() -> HttpResponse:
        return StreamResponse([TEXT], content_type="text/plain")

    async with AsyncTestClient(app_of(text, streamed)) as client:
        for path in ("/text", "/streamed"):
            got = await get(client, path, "gzip")
            head = await get(client, path, "gzip", method="HEAD")
            assert head.raw == b""
            expected = {k: v for k, v in got.headers.items() if k != "content-length"}
            assert dict(head.headers) == expected
            plain = await get(client, path, None, method="HEAD")
            assert plain.headers == (await get(client, path, None)).headers


async def test_errors_and_what_is_not_found_are_compressed_too() -> None:
    async def fails() -> Any:
        raise HTTPException(418, content={"error": TEXT})

    app = app_of(fails)
    app.exception_handler(404)(lambda exc: (TEXT, 404))
    async with AsyncTestClient(app) as client:
        for path, status in {"/fails": 418, "/nowhere": 404}.items():
            response = await get(client, path, "gzip")
            assert response.status_code == status
            assert response.headers["content-encoding"] == "gzip"


async def test_of_two_around_one_another_the_inner_one_compresses() -> None:
    app = Kui(http_middlewares=[compress(codings=["gzip"])])
    app.router.http("/", middlewares=[compress(codings=["br"])])(text)
    async with AsyncTestClient(app) as client:
        response = await get(client, "/", "gzip, br")
    assert response.headers["content-encoding"] == "br"
    assert decode("br", response.raw) == TEXT.encode()


# ---- files


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "long.txt"
    path.write_text(LONG)
    os.utime(path, (1_000_000_000, 1_000_000_000))  # the ETag of a young file is weak
    return path


async def test_a_file_is_compressed_chunk_by_chunk(file: Path) -> None:
    async def long() -> Path:
        return file

    for coding in ALL:
        async with AsyncTestClient(app_of(long)) as client:
            response = await get(client, "/long", coding)
            assert response.headers["content-encoding"] == coding
            assert "content-length" not in response.headers
            assert "accept-ranges" not in response.headers
            assert response.headers["etag"].startswith('W/"')
            assert decode(coding, response.raw) == LONG.encode()
            once = maker(coding)()
            at_once = once.compress(LONG.encode()) + once.finish()
            assert len(response.raw) == len(at_once)  # not flushed with every chunk


async def test_parts_of_a_file_are_left_alone(file: Path) -> None:
    async def long() -> Path:
        return file

    async with AsyncTestClient(app_of(long)) as client:
        for ranges in ("bytes=0-999", "bytes=0-999,2000-2999"):
            response = await get(client, "/long", "gzip", headers={"range": ranges})
            assert response.status_code == 206
            assert "content-encoding" not in response.headers
            assert int(response.headers["content-length"]) == len(response.raw)
            assert response.headers["etag"].startswith('"')
        refused = await get(client, "/long", "gzip", headers={"range": "bytes=999999999-"})
        assert refused.status_code == 416


async def test_a_part_of_what_was_compressed_is_not_mixed_with_it(file: Path) -> None:
    async def long() -> Path:
        return file

    async with AsyncTestClient(app_of(long)) as client:
        etag = (await get(client, "/long", "gzip")).headers["etag"]
        headers = {"range": "bytes=100-", "if-range": etag}
        response = await get(client, "/long", "gzip", headers=headers)
    assert response.status_code == 200


async def test_who_has_it_compressed_is_told_that_it_is_the_same(file: Path) -> None:
    async def long() -> Path:
        return file

    async with AsyncTestClient(app_of(long)) as client:
        for accept in ("gzip", None):
            etag = (await get(client, "/long", accept)).headers["etag"]
            response = await get(client, "/long", accept, headers={"if-none-match": etag})
            assert response.status_code == 304
            assert response.headers["etag"] == etag
            assert response.headers["vary"] == "Accept-Encoding"


@pytest.mark.parametrize("extension", ["http.response.pathsend", "http.response.zerocopysend"])
async def test_a_server_that_would_send_the_file_itself_is_not_asked_to(
    file: Path, extension: str
) -> None:
    async def long() -> FileResponse:
        assert (extension in request["extensions"]) is ("accept-encoding" not in request.headers)
        return FileResponse(file)

    app = app_of(long)
    transport = ASGITransport(app, extensions={extension: {}})
    async with AsyncTestClient(app, transport=transport) as client:
        assert decode("gzip", (await get(client, "/long", "gzip")).raw) == LONG.encode()
        assert (await get(client, "/long", None)).raw == LONG.encode()


# ---- streams


@pytest.mark.parametrize("coding", ALL)
async def test_each_chunk_of_a_stream_is_flushed(coding: str) -> None:
    async def streamed() -> HttpResponse:
        async def chunks() -> AsyncIterator[str]:
            for number in range(3):
                yield f"chunk {number}\n"
                await go_on.wait()

        return StreamResponse(chunks(), content_type="text/plain")

    go_on = anyio.Event()
    async with AsyncTestClient(app_of(streamed)) as client:
        headers = {"accept-encoding": coding}
        async with client.stream("GET", "/streamed", headers=headers) as response:
            assert response.headers["content-encoding"] == coding
            received = b""
            raw = response.aiter_raw()
            while decode(coding, received) != b"chunk 0\n":
                received += await anext(raw)
            go_on.set()
            async for chunk in raw:
                received += chunk
    assert decode(coding, received) == b"chunk 0\nchunk 1\nchunk 2\n"


@pytest.mark.parametrize("coding", ALL)
async def test_each_event_is_flushed_and_pings_are_too(coding: str) -> None:
    async def events() -> HttpResponse:
        async def made() -> AsyncIterator[dict[str, Any]]:
            yield {"data": "one"}
            await anyio.sleep_forever()

        return SendEventResponse(made(), ping_interval=0.25)

    async with AsyncTestClient(app_of(events)) as client:
        headers = {"accept-encoding": coding}
        async with client.stream("GET", "/events", headers=headers) as response:
            received = b""
            raw = response.aiter_raw()
            while b"ping" not in decode(coding, received):
                received += await anext(raw)
            assert decode(coding, received).startswith(b"data: one\n\n: ping")
            client.disconnect(response)
        await client.wait_idle()


async def test_the_headers_of_an_event_stream_do_not_wait_for_an_event() -> None:
    async def events() -> HttpResponse:
        async def made() -> AsyncIterator[dict[str, Any]]:
            await anyio.sleep_forever()
            yield {}

        return SendEventResponse(made())

    async with AsyncTestClient(app_of(events)) as client:
        headers = {"accept-encoding": "gzip"}
        async with client.stream("GET", "/events", headers=headers) as response:
            assert response.headers["content-encoding"] == "gzip"
            client.disconnect(response)


async def test_a_stream_that_fails_is_cut_and_has_no_end() -> None:
    async def broken() -> HttpResponse:
        async def chunks() -> AsyncIterator[str]:
            yield TEXT
            raise LookupError("it broke")

        return StreamResponse(chunks(), content_type="text/plain")

    with pytest.raises(LookupError, match="it broke"):
        async with AsyncTestClient(app_of(broken)) as client:
            await get(client, "/broken", "gzip")


async def test_large_pieces_are_compressed_beside_the_event_loop() -> None:
    import threading

    threads: list[int] = []

    class Watching:
        def __init__(self) -> None:
            self.coder = maker("gzip")()

        def compress(self, data: bytes) -> bytes:
            threads.append(threading.get_ident())
            return self.coder.compress(data)

        def flush(self) -> bytes:
            return self.coder.flush()

        def finish(self) -> bytes:
            return self.coder.finish()

    async def large() -> str:
        return "x" * 1_000_000

    import kui.middlewares.compression as module

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "maker", lambda name, level: Watching)
        app = app_of(text, large)
    async with AsyncTestClient(app) as client:
        for path in ("/text", "/large"):
            assert (await client.get(path, headers={"accept-encoding": "gzip"})).status_code == 200
    assert threads[0] == threading.get_ident() != threads[1]


async def test_mounted_apps_are_compressed(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TEXT)

    async def bare(scope: Scope, receive: Receive, send: Send) -> None:
        headers: list[Any] = [(b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": TEXT.encode()})

    def wsgi(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response(
            "200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(TEXT)))]
        )
        yield TEXT.encode()[:1000]
        yield TEXT.encode()[1000:]

    mounts = [Mount("/bare", bare), Mount("/files", Files(tmp_path)), Mount("/wsgi", WSGI(wsgi))]
    app = Kui(routes=mounts, http_middlewares=[compress()])
    async with AsyncTestClient(app, lifespan=False) as client:
        for path in ("/bare", "/files/a.txt", "/wsgi"):
            response = await get(client, path, "gzip")
            assert response.headers["content-encoding"] == "gzip", path
            assert decode("gzip", response.raw) == TEXT.encode()


@given(
    st.binary(max_size=2000),
    st.lists(st.integers(1, 2000), max_size=5),
    st.sampled_from([None, *ALL]),
    st.booleans(),
    st.booleans(),
)
def test_whatever_is_sent_arrives(
    body: bytes, cuts: list[int], coding: str | None, length: bool, head: bool
) -> None:
    """Any division of any body, with or without its length: what arrives can be read by the headers."""
    from kui.testing import TestClient

    pieces = [
        body[a:b] for a, b in zip([0, *sorted(cuts)], [*sorted(cuts), len(body)], strict=True)
    ]

    async def bare(scope: Scope, receive: Receive, send: Send) -> None:
        headers: list[Any] = [(b"content-type", b"text/plain")]
        if length:
            headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for number, piece in enumerate(
            [b""] if head else pieces, 1 - len(pieces) if not head else 0
        ):
            more = number < 0
            await send({"type": "http.response.body", "body": piece, "more_body": more})

    app = Kui(routes=[Mount("/", bare)], http_middlewares=[compress(minimum_size=10)])
    with TestClient(app, lifespan=False) as client:
        response = client.request(
            "HEAD" if head else "GET", "/", headers={"accept-encoding": coding or "identity"}
        )
    assert response.content == (b"" if head else body)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"minimum_size": -1}, ValueError, "minimum_size is a number of bytes"),
        ({"minimum_size": True}, ValueError, "minimum_size is a number of bytes"),
        ({"codings": "gzip"}, TypeError, "write"),
        ({"codings": ["deflate"]}, ValueError, "'deflate' is none of the codings"),
        ({"levels": {"gzip": 10}}, ValueError, "from 1 to 9"),
        ({"levels": {"lzma": 1}}, ValueError, "'lzma', which is not offered"),
        ({"codings": ["br"], "levels": {"gzip": 1}}, ValueError, "which is not offered"),
    ],
)
def test_what_cannot_be_is_refused(options: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind):
        compress(**options)


def test_a_coding_without_its_package_is_not_offered_and_says_so_when_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from kui.http.codings import available

    assert available() == ALL
    monkeypatch.setattr("kui.http.codings.find_spec", lambda name: None)
    assert available() == ["gzip"]
    with pytest.raises(
        ImportError, match=r"br needs the package brotli or brotlicffi: pip install"
    ):
        compress(codings=["br"])


def test_json_is_compressed_as_it_is(anyio_backend: str) -> None:
    from kui.testing import TestClient

    app = Kui(http_middlewares=[compress()])
    app.router.http("/")(lambda: JSONResponse({"text": TEXT}))
    with TestClient(app, backend=anyio_backend) as client:
        response = client.get("/", headers={"accept-encoding": "br"})
    assert isinstance(response, httpx2.Response)
    assert response.json() == {"text": TEXT}
