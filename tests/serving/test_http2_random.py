"""Clients of HTTP/2 that send frames at random: each comes to its end, and the streams that are in order have their answers."""

from __future__ import annotations

from random import Random

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from .random_inputs import check_stories, http2_frames, http2_stories, run_http2

on_both = pytest.mark.parametrize("loop", ["trio", "asyncio"])


@on_both
@given(random=st.randoms())
def test_any_frames_bring_the_connection_to_its_end_and_nothing_else(
    loop: str, random: Random
) -> None:
    anyio.run(run_http2, http2_frames(random), backend=loop)


@on_both
@given(random=st.randoms())
def test_streams_in_order_are_answered_whatever_becomes_of_others(
    loop: str, random: Random
) -> None:
    pieces, expected = http2_stories(random)
    check_stories(anyio.run(run_http2, pieces, backend=loop), expected)
