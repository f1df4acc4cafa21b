"""Limits are frozen numbers that cannot be nonsense."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from kui.limits import Limits


def test_the_defaults_are_those_that_are_documented() -> None:
    limits = Limits()
    assert (limits.body, limits.fields, limits.parts) == (16 * 2**20, 1000, 1000)
    assert (limits.field_bytes, limits.file_bytes, limits.part_headers) == (2**20, 2**30, 2**14)


def test_limits_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Limits().body = 1  # type: ignore[misc]


@pytest.mark.parametrize("value", ["16", 1.5, None, True])
def test_a_limit_is_an_int(value: Any) -> None:
    with pytest.raises(TypeError, match="parts"):
        Limits(parts=value)


def test_a_limit_cannot_be_negative() -> None:
    with pytest.raises(ValueError, match="file_bytes"):
        Limits(file_bytes=-1)
