"""What each placeholder takes, and what it builds."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from baize.routing import CONVERTOR_TYPES, AnyConvertor, Convertor, IntegerConvertor
from hypothesis import given
from hypothesis import strategies as st

from kui.routing.converters import NO_MATCH, converter_named
from kui.routing.patterns import PathPattern
from kui.routing.tree import Tree

A_UUID = "c9bf9e57-1685-4c89-bafb-ff5af830be8a"


@pytest.fixture
def convertors() -> Iterator[dict[str, Convertor[Any]]]:
    """baize's table of converters, put back after the test."""
    before = dict(CONVERTOR_TYPES)
    yield CONVERTOR_TYPES
    CONVERTOR_TYPES.clear()
    CONVERTOR_TYPES.update(before)


class Slug(Convertor[str]):
    regex = "[a-z]+(-[a-z]+)*"

    def to_python(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("str", "a b", "a b"),
        ("str", "1", "1"),
        ("str", "é\n", "é\n"),
        ("int", "0", 0),
        ("int", "007", 7),
        pytest.param("int", "9" * 4300, 10**4300 - 1, id="int-longest"),
        ("decimal", "1", Decimal(1)),
        ("decimal", "1.50", Decimal("1.50")),
        ("uuid", A_UUID, UUID(A_UUID)),
        ("uuid", A_UUID.upper(), UUID(A_UUID)),
        ("uuid", A_UUID.replace("-", ""), UUID(A_UUID)),
        ("date", "2024-02-29", date(2024, 2, 29)),
        ("any", "", ""),
        ("any", "a/b//c\n/", "a/b//c\n/"),
    ],
)
def test_a_text_that_fits_becomes_a_value(name: str, text: str, value: object) -> None:
    found = converter_named(name).parse(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("str", ""),
        ("int", ""),
        ("int", "-1"),
        ("int", "+1"),
        ("int", "1_000"),
        ("int", " 1"),
        ("int", "1\n"),
        ("int", "²"),
        ("int", "٣"),
        pytest.param("int", "1" * 5000, id="int-too-long"),
        ("decimal", "1x5"),
        ("decimal", "1."),
        ("decimal", ".5"),
        ("decimal", "-1"),
        ("decimal", "1e5"),
        ("decimal", "NaN"),
        ("decimal", "٣"),
        ("decimal", "1\n"),
        pytest.param("decimal", "1" * 5000, id="decimal-too-long"),
        ("uuid", A_UUID.replace("-", "") + "0"),
        ("uuid", A_UUID.replace("-", "", 1)),
        ("uuid", "{" + A_UUID + "}"),
        ("uuid", A_UUID[:-1] + "g"),
        ("uuid", A_UUID + "\n"),
        ("date", "2026-02-30"),
        ("date", "0000-01-01"),
        ("date", "2026-1-1"),
        ("date", "20260101"),
        ("date", "2026-W01-1"),
        ("date", "٢٠٢٦-01-01"),
    ],
)
def test_a_text_that_does_not_fit_is_no_match(name: str, text: str) -> None:
    assert converter_named(name).parse(text) is NO_MATCH


def test_a_number_is_bounded_even_where_the_interpreter_has_no_limit() -> None:
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        assert converter_named("int").parse("1" * 5000) is NO_MATCH
    finally:
        sys.set_int_max_str_digits(limit)


def test_a_number_longer_than_a_lower_limit_of_the_interpreter_is_no_match() -> None:
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(640)
    try:
        assert converter_named("int").parse("1" * 700) is NO_MATCH
    finally:
        sys.set_int_max_str_digits(limit)


class Colour(str, Enum):  # noqa: UP042  # the older way, whose str() is not its value
    RED = "red"


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("str", "a b", "a b"),
        ("str", 5, "5"),
        ("str", Colour.RED, "red"),
        ("int", 7, "7"),
        ("int", "7", "7"),
        ("decimal", Decimal(10), "10"),
        ("decimal", 10, "10"),
        ("decimal", Decimal("1.50"), "1.50"),
        ("decimal", Decimal("1E+2"), "100"),
        ("decimal", Decimal("1E-7"), "0.0000001"),
        ("decimal", 0.1, "0.1"),
        ("uuid", UUID(A_UUID), A_UUID),
        ("date", date(2026, 1, 2), "2026-01-02"),
        ("any", "", ""),
        ("any", "a/b", "a/b"),
    ],
)
def test_a_value_that_fits_becomes_a_text(name: str, value: object, text: str) -> None:
    assert converter_named(name).text_of(value) == text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("str", ""),
        ("str", None),
        ("str", True),
        ("str", object()),
        ("int", -1),
        ("int", True),
        ("int", 1.0),
        ("int", "٣"),
        pytest.param("int", 10**5000, id="int-too-large"),
        ("decimal", Decimal("NaN")),
        ("decimal", Decimal("Infinity")),
        ("decimal", Decimal("-1")),
        ("decimal", Decimal("1E+999999")),
        ("decimal", Decimal("1E-999999")),
        ("decimal", float("inf")),
        ("uuid", "x"),
        ("date", datetime(2026, 1, 2)),
        ("date", "2026-02-30"),
        ("any", None),
    ],
)
def test_a_value_that_would_not_be_matched_again_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"does not fit the converter {name}"):
        converter_named(name).text_of(value)


@given(st.decimals(min_value=0, allow_nan=False, allow_infinity=False))
def test_every_decimal_that_is_built_is_the_one_that_is_matched(value: Decimal) -> None:
    converter = converter_named("decimal")
    try:
        text = converter.text_of(value)
    except ValueError:
        assert abs(value.adjusted()) > 4000 or value.is_signed()
    else:
        assert converter.parse(text) == value


def test_an_own_converter_is_found_when_a_path_is_registered(
    convertors: dict[str, Convertor[Any]],
) -> None:
    convertors["slug"] = Slug()
    tree = Tree[str]()
    tree.put(PathPattern("/{title:slug}"), "found")
    assert tree.find("/a-b") == ("found", ["a-b"])
    assert tree.find("/a--b") is None
    assert tree.find("/a-b\n") is None


@pytest.mark.parametrize("error", [ValueError, ZeroDivisionError, OverflowError, UnicodeError])
def test_an_own_converter_refuses_a_text_by_an_error(
    convertors: dict[str, Convertor[Any]], error: type[Exception]
) -> None:
    class Refusing(Slug):
        def to_python(self, value: str) -> str:
            raise error

    convertors["refusing"] = Refusing()
    tree = Tree[str]()
    tree.put(PathPattern("/{a:refusing}"), "refusing")
    assert tree.find("/a") is None
    tree.put(PathPattern("/{a}"), "str")
    assert tree.find("/a") == ("str", ["a"])


def test_another_error_of_an_own_converter_is_not_hidden(
    convertors: dict[str, Convertor[Any]],
) -> None:
    class Broken(Slug):
        def to_python(self, value: str) -> str:
            raise KeyError(value)

    convertors["broken"] = Broken()
    tree = Tree[str]()
    tree.put(PathPattern("/{a:broken}"), "broken")
    with pytest.raises(KeyError):
        tree.find("/a")


def test_an_own_converter_may_give_none(convertors: dict[str, Convertor[Any]]) -> None:
    class Nothing(Slug):
        def to_python(self, value: str) -> Any:
            return None

    convertors["nothing"] = Nothing()
    tree = Tree[str]()
    tree.put(PathPattern("/{a:nothing}"), "found")
    assert tree.find("/a") == ("found", [None])


def test_a_built_in_that_was_replaced_is_the_applications_own(
    convertors: dict[str, Convertor[Any]],
) -> None:
    class Signed(Convertor[int]):
        regex = "-?[0-9]+"

        def to_python(self, value: str) -> int:
            return int(value)

        def to_string(self, value: int) -> str:
            return str(value)

    convertors["int"] = Signed()
    assert converter_named("int").parse("-5") == -5
    convertors["int"] = IntegerConvertor()
    assert converter_named("int").parse("-5") is NO_MATCH
    del convertors["int"]
    assert converter_named("int").parse("5") == 5


def test_an_own_subclass_of_any_takes_slashes(convertors: dict[str, Convertor[Any]]) -> None:
    class Parts(AnyConvertor):
        def to_python(self, value: str) -> Any:
            return value.split("/")

        def to_string(self, value: Any) -> str:
            return "/".join(value)

    convertors["parts"] = Parts()
    pattern = PathPattern("/{p:parts}")
    tree = Tree[str]()
    tree.put(pattern, "found")
    assert tree.find("/a/b\n/c") == ("found", [["a", "b\n", "c"]])
    assert pattern.build({"p": ["a", "b c"]}) == "/a/b%20c"
    with pytest.raises(ValueError, match="move it to the end"):
        PathPattern("/{p:parts}/x")


def test_an_unknown_converter_is_refused_by_a_sentence_that_names_those_there_are() -> None:
    with pytest.raises(ValueError, match="no converter 'number': use one of str, int, uuid"):
        PathPattern("/{a:number}")


def test_an_own_regex_that_is_none_is_refused(convertors: dict[str, Convertor[Any]]) -> None:
    class Wrong(Slug):
        regex = "("

    convertors["wrong"] = Wrong()
    with pytest.raises(ValueError, match="'wrong' is not a regular expression"):
        PathPattern("/{a:wrong}")


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/a/<int:id>", "{id:int}"),
        ("/<name>", "{name}"),
        ("/<string:name>/x", "{name:str}"),
        ("/files/<path:rest>", "{rest:any}"),
        ("/<float:price>", "{price:decimal}"),
    ],
)
def test_a_placeholder_of_flask_is_told_what_to_write(path: str, wanted: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"would be fixed text: write '{wanted}'")):
        PathPattern(path)
