"""What was read of a body and who may still read it: decided without a loop."""

from __future__ import annotations

import pytest

from kui.concurrency.http.held_body import NEXT_APP, HeldBody


def held(*chunks: bytes, complete: bool = False) -> HeldBody:
    body = HeldBody()
    for chunk in chunks:
        body.keep(chunk)
    body.complete = complete
    return body


def test_a_body_that_is_complete_is_for_all_readers() -> None:
    body = held(b"a", b"b", complete=True)
    assert (body.complete, body.size, body.value()) == (True, 2, b"ab")
    for reader in "one", "other":
        assert body.first_chunks() == [b"ab", b""]
        body.give(reader)
    assert body.hand_on(over=True) == {"type": "http.request", "body": b"ab", "more_body": False}
    assert body.first_chunks() == [b"ab", b""]


def test_a_body_that_is_not_is_for_one_reader_with_what_was_kept() -> None:
    body = held(b"a", b"b")
    first = body.first_chunks()
    body.give("one")
    assert first == [b"a", b"b"]
    for wants in (lambda: body.first_chunks(), lambda: body.hand_on(over=False)):
        with pytest.raises(RuntimeError, match="the body was given away by one"):
            wants()


def test_the_next_app_begins_with_what_was_kept_and_receives_the_rest() -> None:
    body = held(b"a", b"b")
    assert body.to_hand_on
    assert body.hand_on(over=False) == {"type": "http.request", "body": b"ab", "more_body": True}
    assert body.reader == NEXT_APP
    assert not body.to_hand_on
    with pytest.raises(RuntimeError, match="the body was given to the next app"):
        body.check()


def test_nothing_is_handed_on_where_nothing_was_read() -> None:
    assert not HeldBody().to_hand_on


def test_a_body_that_was_given_and_was_empty_is_handed_on() -> None:
    body = HeldBody()
    body.first_chunks()
    body.give("one")
    assert body.hand_on(over=True)["body"] == b""
