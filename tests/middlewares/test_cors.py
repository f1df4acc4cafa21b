"""Who may ask across origins, by the Fetch standard: the decision, without an application."""

from __future__ import annotations

import re
from typing import Any

import pytest

from kui.asgi import allow_cors

EXAMPLE = re.compile(r"https://(www\.)?example\.com")
ORIGIN = "https://example.com"


def ask(cors: allow_cors, method: str = "GET", **headers: str) -> tuple[dict[str, str], bool]:
    """The headers that are added to the answer, and whether it is a preflight's."""
    raw = [
        (name.replace("_", "-").encode(), value.encode("latin-1"))
        for name, value in headers.items()
    ]
    answer = cors.answer(method, raw)
    added = {name.decode(): value.decode("latin-1") for name, value in answer.headers}
    assert len(added) == len(answer.headers), "a header is added once"
    return added, answer.preflight


def preflight(
    cors: allow_cors, origin: str = ORIGIN, method: str = "POST", headers: str = ""
) -> dict[str, str]:
    asked = {"access_control_request_headers": headers} if headers else {}
    added, is_preflight = ask(
        cors, "OPTIONS", origin=origin, access_control_request_method=method, **asked
    )
    assert is_preflight
    return added


def listed(value: str) -> set[str]:
    return set(value.split(", "))


@pytest.mark.parametrize("origin", [ORIGIN, "null", "http://localhost:3000"])
def test_by_default_every_origin_may_ask(origin: str) -> None:
    assert ask(allow_cors(), origin=origin) == (
        {"access-control-allow-origin": origin, "vary": "Origin"},
        False,
    )


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_vary_is_said_to_requests_without_an_origin_too(method: str) -> None:
    assert ask(allow_cors(), method) == ({"vary": "Origin"}, False)


def test_an_origin_that_is_not_allowed_is_told_nothing_but_vary() -> None:
    cors = allow_cors([EXAMPLE], expose_headers=["X-A"], allow_credentials=True)
    assert ask(cors, origin="https://evil.com") == ({"vary": "Origin"}, False)
    assert preflight(cors, "https://evil.com") == {"vary": "Origin"}


@pytest.mark.parametrize(
    "origin",
    [
        "https://example.com.evil.com",
        "https://example.com:8443",
        "https://example.com\n",
        "http://example.com",
        "HTTPS://EXAMPLE.COM",
        "x https://example.com",
        "null",
        "",
        "\xff",
    ],
)
def test_a_pattern_has_to_match_all_of_an_origin(origin: str) -> None:
    added, _ = ask(allow_cors([EXAMPLE]), origin=origin)
    assert "access-control-allow-origin" not in added


def test_one_pattern_of_several_is_enough() -> None:
    cors = allow_cors([EXAMPLE, re.compile("null")])
    for origin in (ORIGIN, "https://www.example.com", "null"):
        assert ask(cors, origin=origin)[0]["access-control-allow-origin"] == origin


def test_patterns_may_come_from_an_iterator() -> None:
    cors = allow_cors(pattern for pattern in [EXAMPLE])
    for _ in range(2):
        assert "access-control-allow-origin" in ask(cors, origin=ORIGIN)[0]


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("OPTIONS", {"origin": ORIGIN}),
        ("OPTIONS", {"access_control_request_method": "POST"}),
        ("POST", {"origin": ORIGIN, "access_control_request_method": "POST"}),
    ],
)
def test_only_a_real_preflight_is_one(method: str, headers: dict[str, str]) -> None:
    assert ask(allow_cors(), method, **headers)[1] is False


def test_a_preflight_is_told_everything() -> None:
    added = preflight(
        allow_cors([EXAMPLE], ["GET", "put"], ["X-A", "X-B"], ["X-C"], True, 60),
        headers="x-a",
    )
    assert added == {
        "access-control-allow-origin": ORIGIN,
        "access-control-allow-credentials": "true",
        "access-control-allow-methods": "GET, PUT",
        "access-control-allow-headers": "X-A, X-B",
        "access-control-max-age": "60",
        "vary": "Origin",
    }


def test_by_default_a_preflight_allows_the_methods_of_the_reference_and_content_type() -> None:
    added = preflight(allow_cors())
    assert listed(added["access-control-allow-methods"]) == {
        "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE",
    }  # fmt: skip
    assert added["access-control-allow-headers"] == "Content-Type"
    assert added["access-control-max-age"] == "600"
    assert "access-control-allow-credentials" not in added


def test_a_method_that_is_not_allowed_is_missing_from_the_list() -> None:
    added = preflight(allow_cors(allow_methods=["GET"]), method="DELETE")
    assert added["access-control-allow-methods"] == "GET"


def test_credentials_and_exposed_headers_are_told_with_the_answer() -> None:
    cors = allow_cors([EXAMPLE], expose_headers=["X-A", "X-B"], allow_credentials=True)
    assert ask(cors, "POST", origin=ORIGIN)[0] == {
        "access-control-allow-origin": ORIGIN,
        "access-control-allow-credentials": "true",
        "access-control-expose-headers": "X-A, X-B",
        "vary": "Origin",
    }


def test_a_star_allows_what_is_asked_for_with_credentials_too() -> None:
    cors = allow_cors([EXAMPLE], ["*"], ["*"], allow_credentials=True)
    added = preflight(cors, method="PURGE", headers="authorization,x-a")
    assert added["access-control-allow-methods"] == "PURGE"
    assert added["access-control-allow-headers"] == "authorization,x-a"
    assert listed(added["vary"]) == {
        "Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers",
    }  # fmt: skip
    assert "access-control-allow-headers" not in preflight(cors)


@pytest.mark.parametrize("wrong", ["a\rb", "a\nb", "a\0b", "a\x7fb", "a\xffb"])
def test_what_may_not_stand_in_a_header_is_not_echoed(wrong: str) -> None:
    cors = allow_cors([re.compile("(?s).*")], ["*"], ["*"])
    added, _ = ask(cors, origin=f"https://{wrong}")
    assert added == {"vary": "Origin"}
    for added in (preflight(cors, method=wrong), preflight(cors, headers=wrong)):
        assert wrong not in added.values()


def test_no_header_may_be_allowed() -> None:
    assert "access-control-allow-headers" not in preflight(allow_cors(allow_headers=[]))


@pytest.mark.parametrize(
    "origins",
    [None, [re.compile(".*")], [EXAMPLE, re.compile("(?s).+")], [re.compile("null|https?://.*")]],
)
def test_credentials_for_every_origin_are_refused(origins: Any) -> None:
    with pytest.raises(ValueError, match="allow_credentials=True needs allow_origins"):
        if origins is None:
            allow_cors(allow_credentials=True)
        else:
            allow_cors(origins, allow_credentials=True)


@pytest.mark.parametrize("origins", [[re.compile(b".*")], [None], [b"https://example.com"]])
def test_origins_are_texts_or_compiled_patterns(origins: Any) -> None:
    with pytest.raises(TypeError, match="a str or a compiled pattern"):
        allow_cors(origins)


@pytest.mark.parametrize("origins", ["*", ["*"]])
def test_a_star_is_told_what_to_write(origins: Any) -> None:
    with pytest.raises(ValueError, match="to allow any origin, leave allow_origins out"):
        allow_cors(origins)


@pytest.mark.parametrize("origin", ["example.com", "https://example.com/", "https://*.example.com"])
def test_a_text_that_is_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(ValueError, match="is no origin"):
        allow_cors([origin])


@pytest.mark.parametrize("text", ["https://a.example", "HTTPS://A.example:443"])
def test_a_text_allows_this_origin_alone(text: str) -> None:
    cors = allow_cors([text], allow_credentials=True)
    assert "access-control-allow-origin" in ask(cors, origin="https://a.example")[0]
    for other in ("https://axexample", "https://a.example.evil", "http://a.example", "null"):
        assert "access-control-allow-origin" not in ask(cors, origin=other)[0]


def test_one_pattern_alone_is_taken_for_a_list_of_one() -> None:
    cors = allow_cors(EXAMPLE)  # type: ignore[arg-type]
    assert "access-control-allow-origin" in ask(cors, origin=ORIGIN)[0]


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ({"allow_methods": "GET"}, TypeError, r"a list of names, such as \['GET'\]"),
        ({"allow_headers": "X-A"}, TypeError, "a list of names"),
        ({"expose_headers": "X-A"}, TypeError, "a list of names"),
        ({"allow_methods": ["GET, POST"]}, ValueError, "neither a name nor"),
        ({"allow_headers": ["X-A\r\nX-B"]}, ValueError, "neither a name nor"),
        ({"expose_headers": [""]}, ValueError, "neither a name nor"),
        ({"max_age": -1}, ValueError, "a number of seconds, not -1"),
        ({"max_age": "600"}, ValueError, "a number of seconds"),
        ({"max_age": True}, ValueError, "a number of seconds"),
        (
            {"expose_headers": ["*"], "allow_credentials": True, "allow_origins": [EXAMPLE]},
            ValueError,
            "in expose_headers as a name",
        ),
        ({"origins": []}, TypeError, "origins"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(
    config: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        allow_cors(**config)
