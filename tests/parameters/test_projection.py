"""A value with Structs in it is written by its declared type: a field that the type does not declare is never sent."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Required,
    TypedDict,
    TypeVar,
)

import msgspec
import pytest

from kui.parameters.projection import of_struct

T = TypeVar("T")


class Public(msgspec.Struct, frozen=True):
    name: str


class User(Public, frozen=True):
    password: str = "secret"


class Stranger(msgspec.Struct, frozen=True):
    name: str
    password: str = "secret"


@dataclasses.dataclass
class Data:
    name: str


@dataclasses.dataclass
class SecretData(Data):
    password: str = "secret"


@dataclasses.dataclass
class DataOfStruct:
    user: Public


class First(msgspec.Struct, tag=True):
    a: int


class SecretFirst(First, tag="First"):
    password: str = "secret"


class Second(msgspec.Struct, tag=True):
    b: int


class Box(msgspec.Struct, Generic[T]):
    item: T


class Typed(TypedDict, total=False):
    user: Required[Public]
    users: NotRequired[list[Public]]
    kids: list[Typed]


class Named(NamedTuple):
    user: Public
    number: int = 1


class Linked(NamedTuple):
    user: Public
    next: Linked | None = None


class Node(msgspec.Struct):
    user: Public
    kids: list[Node] = []


class SecretNode(Node):
    password: str = "secret"


class Renamed(msgspec.Struct, rename="camel"):
    the_user: Public


class Row(msgspec.Struct, array_like=True):
    number: int
    user: Public


class SecretRow(Row):
    password: str = "secret"


Alias = NewType("Alias", Public)
USER = User("ann")
ANN = '{"name":"ann"}'


class Duck:
    name = "ann"
    password = "secret"


@pytest.mark.parametrize(
    ("model", "value", "text"),
    [
        (Public, USER, ANN),
        (Public, Public("ann"), ANN),
        (Public, Stranger("ann"), ANN),
        (Public, Duck(), ANN),
        (Public, {"name": "ann", "password": "secret"}, ANN),
        (Alias, USER, ANN),
        (Annotated[Public, "a user"], USER, ANN),
        (Public | None, None, "null"),
        (Public | None, USER, ANN),
        (list[Public], [USER, Public("ann")], f"[{ANN},{ANN}]"),
        (list[Public | None], [None, USER], f"[null,{ANN}]"),
        (list[Public] | None, None, "null"),
        (set[Public], {USER}, f"[{ANN}]"),
        (frozenset[Public], frozenset([USER]), f"[{ANN}]"),
        (Sequence[Public], (USER,), f"[{ANN}]"),
        (Iterable[Public], [USER], f"[{ANN}]"),
        (tuple[Public, ...], (USER, USER), f"[{ANN},{ANN}]"),
        (tuple[int, Public], (1, USER), f"[1,{ANN}]"),
        (list[list[Public]], [[USER]], f"[[{ANN}]]"),
        (dict[str, Public], {"a": USER}, f'{{"a":{ANN}}}'),
        (Mapping[str, list[Public]], {"a": [USER]}, f'{{"a":[{ANN}]}}'),
        (First | Second, SecretFirst(1), '{"type":"First","a":1}'),
        (First | Second, Second(2), '{"type":"Second","b":2}'),
        (Public | list[Public], [USER], f"[{ANN}]"),
        (Public | float, 5, "5"),
        (Public | Decimal, 5, "5"),
        (Public | str, "text", '"text"'),
        (Public | Literal["none"], "none", '"none"'),
        (Public | int | None, None, "null"),
        (Box[Public], Box(USER), f'{{"item":{ANN}}}'),
        (Box[set[Public] | None], Box(None), '{"item":null}'),
        (Box[tuple[int, str]], Box((1, "a")), '{"item":[1,"a"]}'),
        (Box[Data], Box(SecretData("ann")), f'{{"item":{ANN}}}'),
        (Box[Named], Box(Named(USER)), f'{{"item":[{ANN},1]}}'),
        (Box[Linked], Box(Linked(USER, Linked(USER))), f'{{"item":[{ANN},[{ANN},null]]}}'),
        (Box[Typed], Box({"user": USER, "password": "secret"}), f'{{"item":{{"user":{ANN}}}}}'),
        (Box[Typed | int], Box({"user": USER, "x": "secret"}), f'{{"item":{{"user":{ANN}}}}}'),
        (Box[Typed | int], Box(4), '{"item":4}'),
        (
            Box[Typed],
            Box({"user": USER, "users": [USER], "kids": [{"user": USER, "x": "secret"}]}),
            f'{{"item":{{"user":{ANN},"users":[{ANN}],"kids":[{{"user":{ANN}}}]}}}}',
        ),
        (list[DataOfStruct | int], [DataOfStruct(USER), 4], f'[{{"user":{ANN}}},4]'),
        (
            Node,
            SecretNode(USER, [SecretNode(USER)]),
            f'{{"user":{ANN},"kids":[{{"user":{ANN},"kids":[]}}]}}',
        ),
        (Renamed, Renamed(USER), f'{{"theUser":{ANN}}}'),
        (Row, SecretRow(1, USER), f"[1,{ANN}]"),
    ],
)
def test_what_is_not_declared_is_not_written(model: Any, value: Any, text: str) -> None:
    encode, _ = of_struct(model)
    assert encode(value).decode() == text


@pytest.mark.parametrize(
    ("model", "value"),
    [
        (First | Second, Stranger("ann")),
        (First | Second, {"type": "First", "a": 1, "password": "secret"}),
        (Public | int, SecretData("ann")),
        (Public | int, ["secret"]),
        (Public, object()),
        (tuple[int, Public], (1, USER, "secret")),
        (Node, {"user": USER}),
    ],
)
def test_a_value_of_none_of_the_declared_types_is_refused(model: Any, value: Any) -> None:
    encode, _ = of_struct(model)
    with pytest.raises((TypeError, ValueError, AttributeError)):
        encode(value)


def test_a_value_that_is_what_it_says_is_written_as_it_is() -> None:
    nodes = Node(Public("ann"), [Node(Public("bob"))])
    encode, check = of_struct(Node)
    assert encode(nodes) == msgspec.json.encode(nodes)
    check(nodes)
    with pytest.raises(msgspec.ValidationError):
        check(Node(Public(5)))  # type: ignore[arg-type]  # what the check is for
