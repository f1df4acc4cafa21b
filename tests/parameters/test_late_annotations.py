"""Annotations that name what is defined later, as Python 3.14 and later allow without quotes (PEP 649)."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from kui.argument_checks import own_signature, takes
from kui.parameters.handlers import declares_answer
from kui.parameters.signatures import Unresolved, signature_of
from kui.parameters.targets import declares

SOURCE = """
from typing import Annotated
from kui.asgi import Query

def functions():
    async def late(q: Annotated[Later, Query()], *, more: Later | None = None) -> list[Item]: ...
    async def never(q: Annotated[Nowhere, Query()]) -> None: ...
    async def plain() -> str: ...

    known = declares(late), declares_answer(late), declares_answer(plain), takes(late, 1)
    Later = int

    class Item: ...

    return known, late, never, Item
"""


@pytest.mark.skipif(
    sys.version_info < (3, 14), reason="Python evaluates annotations where they are written"
)
def test_a_name_may_be_defined_after_the_route() -> None:
    module: dict[str, Any] = {
        "__name__": "late_annotations",
        "declares": declares,
        "declares_answer": declares_answer,
        "takes": takes,
    }
    exec(compile(SOURCE, "late_annotations.py", "exec", dont_inherit=True), module)
    known, late, never, item = module["functions"]()
    assert known == (True, True, False, True)
    found = signature_of(late, {})
    assert [one.annotation for one in found.parameters] == [int, int | None]
    assert found.returns == list[item]
    with pytest.raises(Unresolved, match="'Nowhere', which is not defined"):
        signature_of(never, {})


def test_a_signature_is_read_without_its_annotations() -> None:
    def function(a: Nowhere, *, b: Nowhere = 1) -> Nowhere: ...  # type: ignore[name-defined]  # noqa: F821

    for as_text in (False, True):
        found = own_signature(function, as_text=as_text)
        assert [*found.parameters] == ["a", "b"]
    assert own_signature(function, as_text=True).return_annotation == "Nowhere"
    assert takes(function, 1) and not takes(function, 2)
