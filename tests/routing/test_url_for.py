"""From a name and parameters to a path, and back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import UUID

import pytest
from baize.routing import CONVERTOR_TYPES, Convertor
from hypothesis import example, given
from hypothesis import strategies as st

from kui.routing import HttpRoute, NoSuchRoute, RouteTable, SocketRoute


async def one() -> None: ...


async def two() -> None: ...


def router_of(*paths: str) -> RouteTable:
    """A router whose routes are named p0, p1, ..."""
    return RouteTable([HttpRoute(path, one, f"p{number}") for number, path in enumerate(paths)])


def test_the_name_is_the_handlers_unless_another_is_given() -> None:
    router = RouteTable(HttpRoute("/a", one), HttpRoute("/b", two, "other"), SocketRoute("/c", two))
    assert router.url_for("one") == "/a"
    assert router.url_for("other") == "/b"
    assert router.url_for("two") == "/c"


def test_none_is_no_name() -> None:
    router = RouteTable(HttpRoute("/a", one, None))
    with pytest.raises(NoSuchRoute, match="no route has the name 'one'"):
        router.url_for("one")


def test_a_handler_without_a_name_gives_none() -> None:
    class Handler:
        async def __call__(self) -> None: ...

    router = RouteTable(HttpRoute("/a", Handler()), HttpRoute("/b", Handler()))
    with pytest.raises(KeyError) as raised:
        router.url_for("Handler")
    assert str(raised.value) == "no route has the name 'Handler'"


def test_two_equal_names_that_were_given_are_an_error_that_shows_both_routes() -> None:
    router = RouteTable(HttpRoute("/a", one, "x"))
    with pytest.raises(ValueError, match=r"'x' .*/a \(.*one\).*/b \(.*two\)"):
        router << HttpRoute("/b", two, "x")
    with pytest.raises(ValueError, match=r"'x' .*/a .*WebSocket /b"):
        router << SocketRoute("/b", two, "x")
    assert [route.path for route in router] == ["/a"]


def test_two_equal_default_names_are_an_error_only_when_they_are_asked_for() -> None:
    router = RouteTable(HttpRoute("/a", one), HttpRoute("/b", one))
    with pytest.raises(ValueError, match=r"'one' .*/a .*/b "):
        router.url_for("one")


def test_two_equal_default_names_on_one_path_are_none() -> None:
    router = RouteTable()
    router.http.get("/a")(one)
    router.http.post("/a")(one)
    assert router.url_for("one") == "/a"


@pytest.mark.parametrize("turn", [1, -1])
def test_a_given_name_wins_over_a_default_one(turn: int) -> None:
    routes = [HttpRoute("/a", one), HttpRoute("/b", two, "one"), HttpRoute("/c", one)]
    assert RouteTable(routes[::turn]).url_for("one") == "/b"


def test_parameters_are_given_as_a_mapping_or_by_name() -> None:
    router = router_of("/{name}/{params}", "/{x}")
    assert router.url_for("p0", {"name": "a", "params": "b"}) == "/a/b"
    assert router.url_for("p0", {"params": "b"}, name="a") == "/a/b"
    with pytest.raises(TypeError, match="as the second argument, without a name"):
        router.url_for("p1", params={"x": "a"})
    assert router.url_for("p1", x="a") == "/a"
    with pytest.raises(ValueError, match="'x' was given twice"):
        router.url_for("p1", {"x": "a"}, x="a")


def test_a_parameter_may_have_any_name() -> None:
    router = router_of("/{name}/{self}/{params}/{values}")
    values = {"name": "a", "self": "b", "params": "c", "values": "d"}
    assert router.url_for("p0", **values) == router.url_for("p0", values) == "/a/b/c/d"


def test_missing_and_unknown_parameters_are_refused() -> None:
    router = router_of("/{a}/{b}", "/")
    with pytest.raises(ValueError, match="needs the parameter 'b'"):
        router.url_for("p0", {"a": 1})
    with pytest.raises(ValueError, match="has no parameter 'c'"):
        router.url_for("p0", {"a": 1, "b": 2, "c": 3})
    with pytest.raises(ValueError, match="has no parameter 'c'"):
        router.url_for("p1", c=None)


@pytest.mark.parametrize(
    ("path", "value", "built"),
    [
        ("/{x}", "a b", "/a%20b"),
        ("/{x}", "é", "/%C3%A9"),
        ("/{x}", "a?b#c[d]%", "/a%3Fb%23c%5Bd%5D%25"),
        ("/{x}", "-._~!$&'()*+,;=:@", "/-._~!$&'()*+,;=:@"),
        ("/{x}", '"<>\\^`{|}\n\x00', "/%22%3C%3E%5C%5E%60%7B%7C%7D%0A%00"),
        ("/{x}", "%2F", "/%252F"),
        ("/{x}", "%2e%2E", "/%252e%252E"),
        ("/{x}", "...", "/..."),
        ("/f/{x:any}", "a b/c//d/", "/f/a%20b/c//d/"),
        ("/f/{x:any}", "", "/f/"),
        ("/é/{x:int}", 7, "/%C3%A9/7"),
        ("/v{x:int}.json", 7, "/v7.json"),
        ("/{x:decimal}", Decimal("10"), "/10"),
        ("/{x:date}", date(2026, 1, 2), "/2026-01-02"),
        ("/{x:uuid}", UUID(int=1), "/00000000-0000-0000-0000-000000000001"),
    ],
)
def test_what_must_be_quoted_is(path: str, value: object, built: str) -> None:
    assert router_of(path).url_for("p0", x=value) == built


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("/{a}", {"a": ""}),
        ("/{a}", {"a": "x/y"}),
        ("/{a}", {"a": None}),
        ("/{a}", {"a": "."}),
        ("/{a}/b", {"a": ".."}),
        ("/{a}.", {"a": "."}),
        ("/f/{a:any}", {"a": "../secret"}),
        ("/f/{a:any}", {"a": "x/./y"}),
        ("/f/{a:any}", {"a": "x/.."}),
        ("/{a:any}", {"a": "/evil.example"}),
        ("/{a}", {"a": "\ud800"}),
        ("/{a:int}", {"a": -1}),
        ("/{a:int}", {"a": "x"}),
        ("/{a:date}", {"a": "2026-02-30"}),
        ("/{a}-{b}", {"a": "x", "b": "y-z"}),
        ("/{a:int}{b:int}", {"a": 1, "b": 23}),
    ],
)
def test_a_value_that_would_not_come_back_is_refused(path: str, values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w") as raised:
        router_of(path).url_for("p0", values)
    assert "\n" not in str(raised.value)


def test_several_parameters_of_one_segment_come_back() -> None:
    assert router_of("/{a}-{b}").url_for("p0", a="x-y", b="z") == "/x-y-z"
    assert router_of("/{a}-{b:any}").url_for("p0", a="x-y", b="z/w") == "/x-y-z/w"


class Upper(Convertor[str]):
    regex = "[A-Z]+"

    def to_python(self, value: str) -> str:
        return value.lower()

    def to_string(self, value: str) -> str:
        return value.upper()


@pytest.fixture
def upper() -> Iterator[None]:
    CONVERTOR_TYPES["upper"] = Upper()
    yield
    del CONVERTOR_TYPES["upper"]


@pytest.mark.usefixtures("upper")
def test_an_own_converter_builds_what_it_matches() -> None:
    router = router_of("/{a:upper}")
    assert router.url_for("p0", a="abc") == "/ABC"
    for wrong in ("a1", "", 5, None):
        with pytest.raises(ValueError, match="does not fit the converter upper"):
            router.url_for("p0", a=wrong)


values = {
    "str": st.text(min_size=1),
    "int": st.integers(0, 10**30),
    "decimal": st.decimals(0, 10**9, allow_nan=False, places=3),
    "uuid": st.uuids(),
    "date": st.dates(),
    "any": st.text("ab/. é", max_size=20),
}


@st.composite
def paths_and_values(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    path = ""
    given: dict[str, Any] = {}
    for number in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["str", "str", "int", "decimal", "uuid", "date"]))
        given[f"p{number}"] = draw(values[kind])
        path += draw(st.sampled_from(["/", "/", "/é-", "-", "."])) if path else "/"
        path += f"{{p{number}:{kind}}}"
    if draw(st.booleans()):
        given["rest"] = draw(values["any"])
        path += draw(st.sampled_from(["/", "-"])) + "{rest:any}"
    return path, given


def resolved(path: str) -> str:
    """The path as a client asks for it: without its dot segments (RFC 3986, 5.2.4)."""
    *segments, last = path[1:].split("/")
    kept: list[str] = []
    for segment in segments:
        if segment == "..":
            kept = kept[:-1]
        elif segment != ".":
            kept.append(segment)
    return "/" + "/".join([*kept, "" if last in {".", ".."} else last])


@given(paths_and_values())
@example(("/{p0:str}", {"p0": ";"}))
@example(("/{p0:str}/{p1:str}", {"p0": ";v=1", "p1": "a;"}))
@example(("/{p0:str}", {"p0": "?#"}))
def test_what_is_built_is_found_with_the_same_values(case: tuple[str, dict[str, Any]]) -> None:
    path, given = case
    router = router_of(path)
    try:
        built = router.url_for("p0", given)
    except ValueError:
        return
    assert built.isascii()
    assert urlsplit(f"http://host{built}").path == resolved(built) == built
    assert router.http_routes.search(unquote(built), "GET")[:2] == (one, given)
