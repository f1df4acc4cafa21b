"""The environ that a WSGI app gets of a request (PEP 3333)."""

from __future__ import annotations

import io
from typing import Any

import pytest
from baize.typing import Scope

from kui.asgi_apps.wsgi import environ_of
from kui.routing.mounts import below


def scope(**more: Any) -> Scope:
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "https",
        "path": "/a",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"example.com")],
        "client": ("192.0.2.1", 5000),
        "server": ("192.0.2.2", 8443),
        **more,
    }


def test_what_every_environ_has() -> None:
    body = io.BytesIO()
    environ = environ_of(scope(query_string=b"a=%C3%A9&\xff"), body)
    assert environ["wsgi.input"] is body
    wanted = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a",
        "QUERY_STRING": "a=%C3%A9&\xff",
        "SERVER_NAME": "192.0.2.2",
        "SERVER_PORT": "8443",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "192.0.2.1",
        "HTTP_HOST": "example.com",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https",
        "wsgi.multithread": True,
        "wsgi.run_once": False,
    }
    assert wanted.items() <= environ.items()
    assert "CONTENT_LENGTH" not in environ and "CONTENT_TYPE" not in environ


@pytest.mark.parametrize(
    ("more", "script", "info"),
    [
        ({"path": "/old/x"}, "/old", "/x"),
        ({"path": "/old"}, "/old", ""),
        ({"path": "/old/"}, "/old", "/"),
        ({"path": "/old/old/x"}, "/old", "/old/x"),
        ({"path": "/old/x", "root_path": "/svc"}, "/svc/old", "/x"),
        ({"path": "/svc/old/x", "root_path": "/svc"}, "/svc/old", "/x"),
        ({"path": "/old/é", "root_path": "/é"}, "/Ã©/old", "/Ã©"),
        ({"path": "/old/\ufffd", "raw_path": b"/old/%FF%2F"}, "/old", "/\xff/"),
        ({"path": "/old/a b", "raw_path": b"/%6Fld/a%20b"}, "/old", "/a b"),
    ],
)
def test_the_prefix_is_script_name_and_the_rest_path_info_as_bytes(
    more: Any, script: str, info: str
) -> None:
    environ = environ_of(below(scope(**more), "/old"), io.BytesIO())
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == (script, info)


def test_the_target_as_it_was_sent_is_there_too() -> None:
    sent = scope(path="/a/b", raw_path=b"/a%2Fb", query_string=b"q=1")
    assert environ_of(sent, io.BytesIO())["REQUEST_URI"] == "/a%2Fb?q=1"


def test_headers_become_variables_and_those_of_one_name_one() -> None:
    headers = [
        (b"content-type", b"text/plain"),
        (b"content-length", b"3"),
        (b"accept", b"a"),
        (b"accept", b"b"),
        (b"cookie", b"a=1"),
        (b"cookie", b"b=2"),
        (b"x-\xc3\xa9", b"\xff"),
    ]
    environ = environ_of(scope(headers=headers), io.BytesIO())
    assert environ["CONTENT_TYPE"] == "text/plain"
    assert environ["CONTENT_LENGTH"] == "3"
    assert environ["HTTP_ACCEPT"] == "a, b"
    assert environ["HTTP_COOKIE"] == "a=1; b=2"
    assert not {"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"} & environ.keys()


def test_a_header_cannot_pass_for_another() -> None:
    headers = [(b"x_forwarded_for", b"spoofed"), (b"x-forwarded-for", b"real"), (b"proxy", b"evil")]
    environ = environ_of(scope(headers=headers), io.BytesIO())
    assert environ["HTTP_X_FORWARDED_FOR"] == "real"
    assert "HTTP_PROXY" not in environ


def test_a_server_may_know_neither_its_address_nor_the_client_s() -> None:
    environ = environ_of(scope(server=None, client=None), io.BytesIO())
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("localhost", "443")
    assert environ["REMOTE_ADDR"] == ""
    environ = environ_of(scope(server=("/run/kui.sock", None), scheme="http"), io.BytesIO())
    assert environ["SERVER_PORT"] == "80"
