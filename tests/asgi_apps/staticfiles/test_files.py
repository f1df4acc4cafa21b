"""`Files`: which file answers a path, with which headers, and what is never served."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kui.asgi import Files, Kui, Mount, PlainTextResponse, Router, Subpaths
from kui.responses.open_files import open_first
from kui.testing import AsyncTestClient
from tests.support.telling_apps import ask

pytestmark = pytest.mark.anyio


def everywhere(files: Files) -> list[tuple[Any, str]]:
    """On its own, in a Kui app, and in apps of apps; with the prefix that it has there."""
    return [
        (files, ""),
        (Kui(routes=[Mount("/static", files)]), "/static"),
        (Subpaths(("/static", files)), "/static"),
        (Router(Mount("/a/b", files)), "/a/b"),
    ]


async def test_the_files_of_a_directory_are_served(tree: Path) -> None:
    for app, prefix in everywhere(Files(tree)):
        async with AsyncTestClient(app) as client:
            response = await client.get(f"{prefix}/site.css")
            assert (response.status_code, response.text) == (200, "body {}")
            assert response.headers["content-type"] == "text/css; charset=utf-8"
            assert response.headers["content-length"] == "7"
            assert (await client.get(f"{prefix}/deep/er/and/deeper.txt")).text == "deep"
            assert (await client.get(f"{prefix}/{quote('a b é.txt')}")).text == "names"


async def test_a_directory_of_a_package_is_served() -> None:
    for files in (
        Files("kui:testing"),
        Files("testing", "kui"),
        Files("concurrency", package="kui"),
    ):
        response = await ask(files, "/__init__.py")
        assert response[0] == 200 and '"""' in response[1]


async def test_a_directory_has_no_page_and_no_listing(tree: Path) -> None:
    for app, prefix in everywhere(Files(tree)):
        for path in ("/", "/docs", "/docs/", "/empty/", "/site.css/"):
            assert (await ask(app, prefix + path))[0] == 404, path
    assert (await ask(Kui(routes=[Mount("/static", Files(tree))]), "/static"))[0] == 404


async def test_conditional_requests_are_answered(tree: Path) -> None:
    os.utime(tree / "site.css", (1_000_000_000, 1_000_000_000))
    for app, prefix in everywhere(Files(tree)):
        async with AsyncTestClient(app) as client:
            first = await client.get(f"{prefix}/site.css")
            assert first.headers["last-modified"] == formatdate(1_000_000_000, usegmt=True)
            for name, value in {
                "if-none-match": first.headers["etag"],
                "if-modified-since": first.headers["last-modified"],
            }.items():
                response = await client.get(f"{prefix}/site.css", headers={name: value})
                assert (response.status_code, response.content) == (304, b"")
                assert response.headers["etag"] == first.headers["etag"]
                assert response.headers["cache-control"] == "public, max-age=600"
            changed = await client.get(f"{prefix}/site.css", headers={"if-none-match": '"other"'})
            assert changed.status_code == 200


async def test_ranges_are_answered(tree: Path) -> None:
    for app, prefix in everywhere(Files(tree)):
        async with AsyncTestClient(app) as client:
            response = await client.get(f"{prefix}/site.css", headers={"range": "bytes=0-3"})
            assert (response.status_code, response.text) == (206, "body")
            assert response.headers["content-range"] == "bytes 0-3/7"
            refused = await client.get(f"{prefix}/site.css", headers={"range": "bytes=99-"})
            assert refused.status_code == 416


async def test_head_tells_what_get_would(tree: Path) -> None:
    async with AsyncTestClient(Files(tree)) as client:
        head, get = await client.head("/site.css"), await client.get("/site.css")
    assert head.headers == get.headers and head.content == b""


async def test_other_methods_are_not_allowed(tree: Path) -> None:
    for app, prefix in everywhere(Files(tree)):
        async with AsyncTestClient(app) as client:
            for method in ("POST", "PUT", "DELETE", "PROPFIND"):
                response = await client.request(method, f"{prefix}/site.css")
                assert response.status_code == 405
                assert response.headers["allow"] == "GET, HEAD, OPTIONS"
            response = await client.options(f"{prefix}/site.css")
            assert (response.status_code, response.headers["allow"]) == (204, "GET, HEAD, OPTIONS")


@pytest.mark.parametrize(
    ("options", "value"),
    [
        ({}, "public, max-age=600"),
        ({"cacheability": "private", "max_age": 5}, "private, max-age=5"),
        ({"cacheability": "no-store", "max_age": None}, "no-store"),
        ({"cacheability": "", "max_age": 0}, "max-age=0"),
        ({"cacheability": "", "max_age": None}, None),
        ({"cache_control": lambda path: f"max-age={len(path)}"}, "max-age=8"),
        ({"cache_control": lambda path: ""}, None),
    ],
)
async def test_cache_control_may_be_set(tree: Path, options: Any, value: str | None) -> None:
    async with AsyncTestClient(Files(tree, **options)) as client:
        assert (await client.get("/site.css")).headers.get("cache-control") == value
        assert "cache-control" not in (await client.get("/nowhere")).headers


async def test_a_cache_control_that_fails_closes_the_file(tree: Path) -> None:
    def fail(path: str) -> str:
        raise LookupError(path)

    with pytest.raises(LookupError):
        await ask(Files(tree, cache_control=fail), "/site.css")
    open_files = [os.readlink(f"/proc/self/fd/{fd}") for fd in _descriptors()]
    assert str(tree / "site.css") not in open_files


def _descriptors() -> list[str]:
    return [fd for fd in os.listdir("/proc/self/fd") if os.path.islink(f"/proc/self/fd/{fd}")]


async def test_what_is_not_there_is_404_by_the_app_around_it(tree: Path) -> None:
    lost = Files(tree, handle_404=PlainTextResponse("lost", 404))
    for app, prefix in everywhere(lost):
        assert await ask(app, f"{prefix}/nowhere") == (404, "lost")
        assert await ask(app, f"{prefix}/../secret.txt") == (404, "lost")
    app = Kui(routes=[Mount("/static", Files(tree))])
    app.exception_handler(404)(lambda exc: ("the app's", 404))
    assert await ask(app, "/static/nowhere") == (404, "the app's")
    assert (await ask(Files(tree), "/nowhere"))[0] == 404


async def test_the_way_back_is_url_for(tree: Path) -> None:
    app = Kui(routes=[Mount("/static", Files(tree), name="static")])
    url = app.router.url_for("static", path="a b é.txt")
    assert url == "/static/a%20b%20%C3%A9.txt"
    async with AsyncTestClient(app) as client:
        assert (await client.get(url)).text == "names"


WAYS_OUT = [
    "/../secret.txt",
    "/docs/../../secret.txt",
    "/..",
    "/.",
    "/./site.css",
    "/docs/../site.css",
    "/docs/./index.html",
    "/../root-secret.txt",
    "/..\\secret.txt",
    "/docs\\..\\..\\secret.txt",
    "/back\\slash.txt",
    "//site.css",
    "//secret.txt",
    "/docs//index.html",
    "/\0",
    "/site.css\0",
    "/site.css\0.txt",
    "/site.css\n",
    "/site.css ",
    "/site.css.",
    "/trailing.",
    "/nul.txt",
    "/NUL",
    "/con",
    "/aux.css",
    "/com1.txt",
    "/lpt¹",
    "/conin$",
    "/nul .txt",
    "/nul:x",
    "/.env",
    "/.git/config",
    "/deep/.hidden/x.txt",
    "/.",
    "/...",
    "/link.txt",
    "/inner.txt",
    "/out/secret.txt",
    "/out/root/site.css",
    "/loop",
    "/loop/x",
    "/site.css/x",
    "/" + "a" * 256,
    "/" + "é" * 200,
    "/" + "a/" * 5000,
    "/" + "a" * 1_000_000,
    "/" * 1_000_000,
    "/\ud800",
    "/\ufffd",
    "",
    "site.css",
    "*",
]


@pytest.mark.parametrize("path", WAYS_OUT, ids=lambda path: ascii(path[:30]))
async def test_there_is_no_way_out_and_no_error(tree: Path, path: str) -> None:
    assert (await ask(Files(tree), path))[0] == 404


@pytest.mark.parametrize("way", ["{tree}/site.css", "/{tree}/../secret.txt", "/{tree}/site.css"])
async def test_an_absolute_path_is_only_a_path_below(tree: Path, way: str) -> None:
    assert (await ask(Files(tree), way.format(tree=tree)))[0] == 404


async def test_a_mount_does_not_open_a_way_out(tree: Path) -> None:
    for app, prefix in everywhere(Files(tree))[1:]:
        for path in ("/../secret.txt", "/..", "/docs/../../../secret.txt", "//secret.txt"):
            assert (await ask(app, prefix + path))[0] == 404


async def test_whatever_the_path_the_secret_is_not_served(tree: Path) -> None:
    files = Files(tree)
    pieces = [
        "..",
        ".",
        "",
        "docs",
        "out",
        "root",
        "secret.txt",
        "site.css",
        "..\\",
        "~",
        "\0",
        "é",
    ]
    for one in pieces:
        for two in pieces:
            for three in pieces:
                status, body = await ask(files, f"/{one}/{two}/{three}")
                assert status in (200, 404) and "secret" not in body


@given(st.text(max_size=40))
def test_names_are_none_or_below_the_directory(text: str) -> None:
    files = Files("kui:testing", dotfiles=True)
    names = files.names(f"/{text}")
    if names is None:
        return
    path = os.path.normpath(os.path.join(files.directory, *names))
    assert path == files.directory or path.startswith(files.directory + os.sep)
    assert "\0" not in path and "\\" not in path


async def test_symbolic_links_are_followed_by_choice(tree: Path) -> None:
    files = Files(tree, follow_symlinks=True)
    assert await ask(files, "/link.txt") == (200, "secret")
    assert await ask(files, "/inner.txt") == (200, "body {}")
    assert await ask(files, "/out/root/site.css") == (200, "body {}")
    for path in ("/loop", "/../secret.txt", "/.env", "/out/.."):
        assert (await ask(files, path))[0] == 404


async def test_the_directory_itself_may_be_a_link(tree: Path) -> None:
    link = tree.parent / "current"
    link.symlink_to(tree)
    assert await ask(Files(link), "/site.css") == (200, "body {}")


async def test_dotfiles_are_served_by_choice(tree: Path) -> None:
    files = Files(tree, dotfiles=True)
    assert await ask(files, "/.git/config") == (200, "secret")
    for path in ("/..", "/.", "/../secret.txt", "/.git/.."):
        assert (await ask(files, path))[0] == 404


@pytest.mark.skipif(sys.platform == "win32", reason="there are none")
async def test_what_is_no_regular_file_is_not_there(tree: Path) -> None:
    os.mkfifo(tree / "fifo")
    for follow in (False, True):
        assert (await ask(Files(tree, follow_symlinks=follow), "/fifo"))[0] == 404


async def test_a_file_that_may_not_be_read_is_an_error_that_is_heard_of(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **more: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("kui.responses.open_files.open_cached", lambda *args, **more: None)
    monkeypatch.setattr("kui.responses.open_files.os.open", refuse)
    with pytest.raises(PermissionError):
        await ask(Files(tree), "/site.css")


async def test_without_a_system_call_for_it_the_way_down_is_gone_name_by_name(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kui.responses.open_files.open_cached", lambda *args, **more: None)
    files = Files(tree)
    assert await ask(files, "/deep/er/and/deeper.txt") == (200, "deep")
    for path in ("/link.txt", "/inner.txt", "/out/root/site.css", "/loop/x", "/docs", "/nowhere/x"):
        assert (await ask(files, path))[0] == 404


async def test_no_descriptor_stays_open(tree: Path) -> None:
    files = Files(tree)
    before = len(_descriptors())
    for path in ("/site.css", "/docs", "/nowhere", "/link.txt", "/deep/er", "/docs/index.html"):
        await ask(files, path)
    async with AsyncTestClient(files) as client:
        await client.head("/site.css")
        await client.get("/site.css", headers={"range": "bytes=99-"})
    assert len(_descriptors()) == before
    assert await open_first([]) is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Files("no/such/directory"), "there is no directory 'no/such/directory'"),
        (lambda: Files("kui:nothing"), "there is no directory 'nothing' in the package 'kui'"),
        (lambda: Files("no_such_package:x"), "there is no package 'no_such_package'"),
        (lambda: Files("no_such.package:x"), "there is no package 'no_such.package'"),
        (lambda: Files("/etc", "kui"), "'/etc' is absolute"),
        (lambda: Files("kui:testing", cacheability="a\r\nb"), "control character"),
        (lambda: Files("kui/asgi.py"), "there is no directory"),
    ],
)
def test_what_cannot_be_served_is_refused(make: Callable[[], Files], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
