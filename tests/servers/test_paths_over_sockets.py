"""Requests for what lies outside of a tree of files, byte for byte, under three servers."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.process import PATIENCE, read_until

from .conftest import StartServer

SECRET = b"the secret of this machine"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """`root` is the tree; the secret lies beside it, behind links, and in names that begin with a dot."""
    (tmp_path / "secret.txt").write_bytes(SECRET)
    (tmp_path / "root-secret.txt").write_bytes(SECRET)
    root = tmp_path / "root"
    (root / "docs").mkdir(parents=True)
    (root / ".git").mkdir()
    (root / "file.txt").write_text("a file")
    (root / "docs" / "index.html").write_text("docs")
    (root / ".git" / "config").write_bytes(SECRET)
    (root / ".env").write_bytes(SECRET)
    (root / "back\\slash").write_bytes(SECRET)
    (root / "nul.txt").write_bytes(SECRET)
    (root / "link.txt").symlink_to(tmp_path / "secret.txt")
    (root / "out").symlink_to(tmp_path)
    return root


def ask(url: str, target: bytes, method: bytes = b"GET") -> tuple[int, bytes]:
    """The status, 0 where the server has hung up without one, and all that came."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE) as sock:
        sock.sendall(
            b"%b %b HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n" % (method, target)
        )
        received = read_until(sock)
    found = re.match(rb"HTTP/1.1 (\d+)", received)
    return int(found[1]) if found else 0, received


def ways_out(root: Path) -> list[bytes]:
    outside = str(root.parent / "secret.txt").encode()
    up = [
        b"..",
        b"%2e%2e",
        b"%2E.",
        b".%2e",
        b"%252e%252e",
        b"..;",
        b"...",
        b"%c0%ae%c0%ae",
        b"..%00",
    ]
    slashes = [b"/", b"%2f", b"%2F", b"\\", b"%5c", b"//", b"%c0%af", b"/./", b"%252f"]
    ways = [one + slash + b"secret.txt" for one in up for slash in slashes]
    ways += [
        b"docs" + slash + one + slash + one + slash + b"secret.txt"
        for one in up
        for slash in slashes
    ]
    ways += [
        outside,
        b"/" + outside,
        outside.replace(b"/", b"%2f"),
        b"../root-secret.txt",
        b"%2e%2e/root-secret.txt",
        b"file.txt%00",
        b"file.txt%00.html",
        b"%00",
        b".env",
        b"%2eenv",
        b".git/config",
        b"%2egit%2fconfig",
        b"back%5cslash",
        b"nul.txt",
        b"NUL",
        b"con",
        b"com1",
        b"C:/secret.txt",
        b"c%3a%5csecret.txt",
        b"link.txt",
        b"out/secret.txt",
        b"out%2fsecret.txt",
        b"a" * 300,
        b"a/" * 2000,
        b"%ff%fe",
        b"%ed%a0%80",
        b"file.txt/",
        b"file.txt/..",
        b"file.txt ",
        b"file.txt%20",
        b"file.txt.",
        b"~root/secret.txt",
        b"%0d%0aset-cookie:%20a=1",
    ]
    return [way for way in ways if b" " not in way]


def test_no_path_leads_out_of_a_tree(server: StartServer, tree: Path) -> None:
    process = server("tests.servers.mounted:app", TREE=str(tree))
    tried = 0
    for prefix in (b"/static/", b"/pages/"):
        for way in ways_out(tree):
            status, received = ask(process.url, prefix + way)
            tried += 1
            assert SECRET not in received, (prefix, way)
            # A server may refuse a target before we see it.
            assert status in (404, 400, 414, 0), (prefix, way, received[:200])
            assert b"set-cookie" not in received.lower().partition(b"\r\n\r\n")[0]
    assert tried > 250
    assert ask(process.url, b"/static/file.txt")[1].endswith(b"a file")
    assert ask(process.url, b"/static/%66ile.txt")[1].endswith(b"a file")
    assert "Traceback" not in process.log


def test_links_lead_out_by_choice_alone_and_dots_never(server: StartServer, tree: Path) -> None:
    process = server("tests.servers.mounted:app", TREE=str(tree))
    assert ask(process.url, b"/linked/link.txt")[1].endswith(SECRET)
    for way in (b"../secret.txt", b"%2e%2e/secret.txt", b"out/../../secret.txt", b".env"):
        status, received = ask(process.url, b"/linked/" + way)
        assert SECRET not in received and status in (404, 400, 0)


def test_a_target_in_absolute_form_and_an_odd_one_are_answered(
    server: StartServer, tree: Path
) -> None:
    process = server("tests.servers.mounted:app", TREE=str(tree))
    status, received = ask(process.url, process.url.encode() + b"/static/file.txt")
    assert status in (200, 400, 404) and SECRET not in received
    for target in (
        b"*",
        b"static/file.txt",
        b"//static/file.txt",
        b"/static//file.txt",
        b"/static/?/../x",
    ):
        status, received = ask(process.url, target)
        assert status in (400, 404, 0), (target, received[:100])
    assert "Traceback" not in process.log


def test_a_redirect_to_a_directory_stays_here(server: StartServer, tree: Path) -> None:
    process = server("tests.servers.mounted:app", TREE=str(tree))
    for target, location in {
        b"/pages/docs": b"/pages/docs/",
        b"/pages/docs?a=%0d%0ax": b"/pages/docs/?a=%0d%0ax",
        b"/pages/%64ocs?//evil.example": b"/pages/%64ocs/?//evil.example",
        b"/pages": b"/pages/",
    }.items():
        status, received = ask(process.url, target)
        found = re.search(rb"(?i)\r\nlocation: ([^\r]*)\r\n", received)
        if target == b"/pages":
            assert status == 404  # there is no index.html
            continue
        assert status == 307 and found is not None, target
        assert found[1] == location
    for target in (
        b"//evil.example/docs",
        b"/pages//evil.example/docs",
        b"/pages/%2f/evil.example/docs",
    ):
        assert ask(process.url, target)[0] in (404, 400)
