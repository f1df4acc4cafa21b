"""JSON: its bytes, its options, and what stands for objects that it does not know."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePosixPath
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kui.connections import HTTPConnection
from kui.current import request_var
from kui.responses import JSONResponse
from kui.responses.convert import ResponseConverter
from tests.support.sending import send

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def body(content: Any, **options: Any) -> str:
    rendered = JSONResponse(content, **options).body
    assert rendered is not None
    return rendered.decode()


@pytest.fixture
def app() -> Iterator[SimpleNamespace]:
    """An application that answers the current request."""
    app = SimpleNamespace(json_encoder={}, response_converter=ResponseConverter())
    token = request_var.set(HTTPConnection({"type": "http", "app": app}))  # type: ignore[arg-type]
    yield app
    request_var.reset(token)


@pytest.mark.anyio
async def test_json_is_compact_and_in_utf_8() -> None:
    sent = await send(JSONResponse({"a": [1, "é"], "b": None}, 201, {"X-A": "b"}))
    assert (sent.status, sent["x-a"], sent["content-type"]) == (201, "b", "application/json")
    assert sent.body == '{"a":[1,"é"],"b":null}'.encode()


@given(VALUES)
def test_json_reads_what_was_written(value: Any) -> None:
    assert json.loads(body(value)) == value
    assert json.loads(body(value, indent=2)) == value


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_nan_is_refused(number: float) -> None:
    for content in (number, [number], {"a": number}):
        with pytest.raises(ValueError, match="not JSON compliant"):
            JSONResponse(content)
        with pytest.raises(ValueError, match="not JSON compliant"):
            JSONResponse(content, indent=1)


def test_nan_may_be_asked_for() -> None:
    assert body([math.nan], allow_nan=True) == "[NaN]"


def test_all_options_of_json_dumps_are_taken() -> None:
    class Encoder(json.JSONEncoder):
        def default(self, o: Any) -> Any:
            return sorted(o)

    assert body({"b": 1, "a": 2}, sort_keys=True) == '{"a":2,"b":1}'
    assert body({"a": [1]}, indent=1) == json.dumps({"a": [1]}, indent=1)
    assert body("é", ensure_ascii=True) == '"\\u00e9"'
    assert body({(1,): 2, "a": 3}, skipkeys=True) == '{"a":3}'
    assert body([1, 2], separators=(" , ", ":")) == "[1 , 2]"
    assert body({1, 2}, cls=Encoder) == "[1,2]"
    assert body([1], check_circular=False, indent=None, default=None, cls=None) == "[1]"


def test_an_unknown_option_is_an_error() -> None:
    with pytest.raises(TypeError, match="colour"):
        JSONResponse([], colour="red")


def test_a_lone_surrogate_becomes_a_replacement_character() -> None:
    assert body(["\ud800", "é"]) == '["\ufffd","é"]'
    assert body(["\ud83d\ude00"]) == '["\U0001f600"]'


def test_so_it_is_in_escapes_and_what_only_looks_like_one_stays() -> None:
    value = ["\ud800", "\ud83d\ude00\ude00", "\\ud800", "\\\ud800", "\U0001f600"]
    sent = body(value, ensure_ascii=True)
    assert sent.isascii()
    assert json.loads(sent) == [
        "\ufffd",
        "\U0001f600\ufffd",
        "\\ud800",
        "\\\ufffd",
        "\U0001f600",
    ]


def test_what_contains_itself_is_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)
    for options in ({}, {"indent": 1}):
        with pytest.raises(ValueError, match=r"contains itself|Circular"):
            JSONResponse(circle, **options)


def test_an_error_leaves_nothing_behind_for_the_next() -> None:
    content = [{"a": object()}]
    for _ in range(2):
        with pytest.raises(TypeError, match="object is not JSON"):
            JSONResponse(content)
    content[0]["a"] = 1
    assert body(content) == '[{"a":1}]'


def test_default_is_asked_for_what_json_does_not_know() -> None:
    assert body({"price": Decimal("1.50")}, default=str) == '{"price":"1.50"}'


@dataclass
class Item:
    name: str
    price: Decimal = Decimal("1.50")
    parts: list[Item] = field(default_factory=list)


class Model(pydantic.BaseModel):
    day: date
    price: Decimal


MODEL = Model(day=date(2026, 11, 20), price=Decimal("1.50"))


class Shade(Enum):
    DARK = "dark"


@pytest.mark.parametrize("options", [{}, {"indent": None}])
@pytest.mark.parametrize(
    ("key", "text"),
    [
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (date(2026, 11, 20), "2026-11-20"),
        (datetime(2026, 11, 20, 12, tzinfo=UTC), "2026-11-20T12:00:00+00:00"),
        (Decimal("1.50"), "1.50"),
        (Shade.DARK, "dark"),
        (PurePosixPath("/a"), "/a"),
        (7, "7"),
    ],
)
def test_a_key_becomes_the_text_that_it_is_as_a_value(
    key: Any, text: str, options: dict[str, Any]
) -> None:
    content = {"a": ({key: key},), 1: True, None: [Item("b")]}
    value = key if key == 7 else text
    assert json.loads(body(content, **options)) == {
        "a": [{text: value}],
        "1": True,
        "null": [{"name": "b", "price": "1.50", "parts": []}],
    }


def test_a_key_deep_in_a_dataclass_is_found() -> None:
    @dataclass
    class Stock:
        by_day: dict[date, int]

    assert body([Stock({date(2026, 11, 20): 1})]) == '[{"by_day":{"2026-11-20":1}}]'


def test_the_application_says_how_a_key_is_encoded(app: SimpleNamespace) -> None:
    app.json_encoder = {UUID: lambda key: key.hex[-3:]}
    assert body({UUID(int=7): 1}) == '{"007":1}'


def test_a_key_that_is_no_text_is_refused() -> None:
    for key in (frozenset((1, 2)), Item):
        with pytest.raises(TypeError, match=r"a key of JSON is text|type is not JSON"):
            JSONResponse({key: 1})


def test_dataclasses_are_objects_however_deep() -> None:
    @dataclass(slots=True)
    class Point:
        x: int
        y: list[Any]

    assert body([Point(1, [Point(2, [])])]) == '[{"x":1,"y":[{"x":2,"y":[]}]}]'


def test_pydantic_models_are_objects() -> None:
    assert body([MODEL]) == '[{"day":"2026-11-20","price":"1.50"}]'
    assert body(MODEL) == '{"day":"2026-11-20","price":"1.50"}'


def test_the_application_says_how_a_type_is_encoded(app: SimpleNamespace) -> None:
    app.json_encoder = {Decimal: float, UUID: str, Item: lambda item: item.name}
    assert body([Decimal("1.5"), UUID(int=7), Item("a")]) == (
        '[1.5,"00000000-0000-0000-0000-000000000007","a"]'
    )
    assert body({"a": Decimal("1.5")}, indent=None) == '{"a":1.5}'


def test_the_application_is_asked_for_fields_too(app: SimpleNamespace) -> None:
    app.json_encoder = {Decimal: str}
    assert body(Item("a", parts=[Item("b")])) == (
        '{"name":"a","price":"1.50","parts":[{"name":"b","price":"1.50","parts":[]}]}'
    )


def test_a_type_is_looked_up_by_its_bases_the_nearest_first(app: SimpleNamespace) -> None:
    class Base:
        pass

    class Child(Base):
        pass

    class Grandchild(Child):
        pass

    app.json_encoder = {object: lambda _: "object", Base: lambda _: "base"}
    assert body([Grandchild(), object()]) == '["base","object"]'
    app.json_encoder[Child] = lambda _: "child"
    assert body([Grandchild(), Base()]) == '["child","base"]'
    assert json.loads(body(Item("a")))["name"] == "a"


def test_a_default_comes_before_the_application_and_leaves_it_what_it_does_not_know(
    app: SimpleNamespace,
) -> None:
    def default(value: Any) -> Any:
        if isinstance(value, Decimal):
            return str(value)
        raise TypeError(f"not mine: {value!r}")

    app.json_encoder = {Decimal: float, set: sorted}
    assert body([Decimal("1.5"), {2, 1}], default=default) == '["1.5",[1,2]]'
    with pytest.raises(TypeError, match=r"not mine: 1j"):
        JSONResponse([1j], default=default)


def test_an_encoder_class_leaves_the_application_what_it_does_not_know(
    app: SimpleNamespace,
) -> None:
    app.json_encoder = {Decimal: float}
    assert body([Decimal("1.5")], cls=json.JSONEncoder) == "[1.5]"


class Colour(Enum):
    RED = "red"
    DAY = date(2026, 11, 30)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime(2026, 11, 30, 8, 5, 3), '"2026-11-30T08:05:03"'),
        (datetime(2026, 11, 30, 8, 5, 3, 7, tzinfo=UTC), '"2026-11-30T08:05:03.000007+00:00"'),
        (date(2026, 11, 30), '"2026-11-30"'),
        (time(8, 5), '"08:05:00"'),
        (timedelta(), '"PT0S"'),
        (timedelta(days=1, hours=2, minutes=3, seconds=4), '"P1DT2H3M4S"'),
        (timedelta(days=400), '"P400D"'),
        (timedelta(hours=-1.5), '"-PT1H30M"'),
        (timedelta(microseconds=1500), '"PT0.0015S"'),
        (UUID(int=7), '"00000000-0000-0000-0000-000000000007"'),
        (Decimal("1.50"), '"1.50"'),
        (Decimal("1e400"), '"1E+400"'),
        (Colour.RED, '"red"'),
        (Colour.DAY, '"2026-11-30"'),
        ({3, 1, 2}, "[1,2,3]"),
        (frozenset("ba"), '["a","b"]'),
        ({1j} - {1j}, "[]"),
        ({frozenset({"a"})}, '[["a"]]'),
        (PurePosixPath("a/b"), '"a/b"'),
    ],
)
def test_common_types_need_no_encoder(value: Any, text: str, app: SimpleNamespace) -> None:
    assert body(value) == text
    assert body({"a": [value]}) == f'{{"a":[{text}]}}'
    assert body([value], indent=None, sort_keys=True) == f"[{text}]"
    app.json_encoder = {object: lambda _: "mine"}
    assert body([value]) == '["mine"]'
    assert body([value], default=lambda _: "first") == '["first"]'


def test_a_set_whose_elements_have_no_order_is_json_too() -> None:
    assert sorted(json.loads(body({1, "a"})), key=str) == [1, "a"]


@given(st.timedeltas())
def test_a_duration_is_read_as_it_was(value: timedelta) -> None:
    assert pydantic.TypeAdapter(timedelta).validate_json(body(value)) == value


def test_an_unknown_type_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(TypeError, match=r"complex is not JSON: name it in Kui\(json_encoder=...\)"):
        JSONResponse([1j])
