"""Make the members of problem details (RFC 9457), and find the clients that prefer them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final

from baize.datastructures import MediaType

from .media import quality

__all__ = ["PROBLEM_JSON", "description", "prefers_json", "problem"]

PROBLEM_JSON: Final = "application/problem+json"

# The names of RFC 9110, which the standard library has since 3.13.
_RENAMED: Final = {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}
_JSON: Final = ("application/json", PROBLEM_JSON)
_HTML: Final = "text/html"


@lru_cache(maxsize=512)
def description(status_code: int) -> str:
    """Return the phrase for a status code; for an unknown status, that of its class."""
    if status_code == 500:
        return "The server failed to answer this request"
    try:
        status = HTTPStatus(status_code)
    except ValueError:
        return {2: "Success", 3: "Redirection", 4: "Client error"}.get(
            status_code // 100, "Server error"
        )
    return status.description or status.phrase


def problem(status_code: int, detail: str | None = None, **members: Any) -> dict[str, Any]:
    """Return the members of problem details of the type `about:blank` (RFC 9457, 3.1 and 4.2.1).

    :param status_code: the status of the response; its phrase becomes the title.
    :param detail: a sentence about this occurrence.
    :param members: extension members.

    Example: `problem(403, "Members only.")` ->
    `{"type": "about:blank", "title": "Forbidden", "status": 403, "detail": "Members only."}`.
    """
    try:
        title = _RENAMED.get(status_code) or HTTPStatus(status_code).phrase
    except ValueError:
        title = description(status_code)
    said = {} if detail is None else {"detail": detail}
    return {"type": "about:blank", "title": title, "status": status_code, **said, **members}


def prefers_json(accepted: Sequence[MediaType]) -> bool:
    """True if a client prefers JSON to HTML: with a larger weight, or with the same weight but named first.

    `*/*` alone is no preference.

    :param accepted: the Accept header, as `parse_accept` returns it (RFC 9110, section 12.5.1).
    """
    json = max(quality(accepted, kind) for kind in _JSON)
    html = quality(accepted, _HTML)
    if json != html:
        return json > html
    for each in accepted:
        named = f"{each.main_type}/{each.sub_type}".lower()
        if named in _JSON or named == _HTML:
            return named != _HTML and json > 0
    return False
