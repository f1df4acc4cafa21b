"""The scope of a request, for tests that call an app themselves."""

from __future__ import annotations

from typing import Any

from baize.typing import Scope

__all__ = ["http_scope"]


def http_scope(**more: Any) -> Scope:
    """A scope of `GET /` over HTTP/1.1 without headers, with other values where `more` has them."""
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": "/",
        "root_path": "",
        "query_string": b"",
        "headers": [],
        **more,
    }
