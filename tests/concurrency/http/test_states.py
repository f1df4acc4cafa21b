"""The tables of an exchange's states, without a loop and without a server."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from kui.concurrency.http.states import (
    BODY,
    RESPONSE,
    BodyEvent,
    ExchangeState,
    Gone,
    RequestBodyState,
    ResponseEvent,
    ResponseState,
    event_of,
)

START = {"type": "http.response.start", "status": 200}


def reached(table, first):
    """The states that any sequence of events leads to."""
    found, new = set(), {first}
    while new:
        found |= new
        new = {after for state in new for after in table[state].values()} - found
    return found


def test_every_state_has_a_row_and_can_be_reached() -> None:
    assert set(BODY) == set(RequestBodyState)
    assert set(RESPONSE) == set(ResponseState)
    assert reached(RESPONSE, ResponseState.NOT_BEGUN) == set(ResponseState)
    bodies = reached(BODY, RequestBodyState.COMING) | reached(BODY, RequestBodyState.UNANNOUNCED)
    assert bodies == set(RequestBodyState)


def test_no_state_is_come_back_to() -> None:
    for table, states in ((BODY, RequestBodyState), (RESPONSE, ResponseState)):
        for state in states:
            assert all(state not in reached(table, after) for after in table[state].values())


def test_what_was_discarded_is_never_whole_again() -> None:
    assert RequestBodyState.WHOLE not in reached(BODY, RequestBodyState.CUT)


@pytest.mark.parametrize("events", list(itertools.permutations(BodyEvent, 3)))
def test_the_end_of_a_body_is_seen_in_any_order(events) -> None:
    state = ExchangeState()
    state.request_body = RequestBodyState.COMING
    for event in events:
        state.body_event(event)
    assert not state.body_is_coming
    assert state.request_body is RequestBodyState.CUT_SHORT


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([START], ResponseState.BODY),
        ([START, {"type": "http.response.body", "more_body": True}], ResponseState.BODY),
        ([START, {"type": "http.response.body"}], ResponseState.ENDING),
        ([START, {"type": "http.response.pathsend"}], ResponseState.ENDING),
        ([START, {"type": "http.response.early_hint"}], ResponseState.BODY),
        ([{**START, "trailers": True}], ResponseState.BODY_THEN_TRAILERS),
        (
            [{**START, "trailers": True}, {"type": "http.response.body"}],
            ResponseState.BODY_THEN_TRAILERS,
        ),
        (
            [{**START, "trailers": True}, {"type": "http.response.trailers"}],
            ResponseState.ENDING,
        ),
        (
            [
                {**START, "trailers": True},
                {"type": "http.response.trailers", "more_trailers": True},
            ],
            ResponseState.BODY_THEN_TRAILERS,
        ),
    ],
)
def test_messages_lead_the_response_on(messages, expected) -> None:
    state = ExchangeState()
    for message in messages:
        state.response_event(event_of(message))
    assert state.response is expected


def test_a_response_that_was_sent_is_not_abandoned() -> None:
    state = ExchangeState()
    for event in (ResponseEvent.START, ResponseEvent.LAST_PIECE, ResponseEvent.SENT):
        state.response_event(event)
    state.response_event(ResponseEvent.ABANDONED)
    assert state.response is ResponseState.ENDED


@pytest.mark.parametrize("first", Gone)
@pytest.mark.parametrize("second", Gone)
def test_the_first_reason_stays_unless_it_is_a_drain(first, second) -> None:
    state = ExchangeState()
    assert state.ends(first)
    replaced = first is Gone.DRAIN and second is not Gone.DRAIN
    assert state.ends(second) is replaced
    assert state.gone is (second if replaced else first)


def rows_of(table, events):
    """The rows of a table as the page on the design has them."""
    for state in table:
        cells = [table[state].get(event) for event in events]
        yield state.name, [f"`{cell.name}`" if cell is not None else "" for cell in cells]


@pytest.mark.parametrize(("table", "events"), [(BODY, BodyEvent), (RESPONSE, ResponseEvent)])
def test_the_page_on_the_design_has_these_tables(table, events) -> None:
    page = (Path(__file__).parents[3] / "docs" / "design.md").read_text()
    listed = [event for event in events if event is not ResponseEvent.OTHER]
    for name, cells in rows_of(table, listed):
        row = next(line for line in page.splitlines() if line.startswith(f"| `{name}` |"))
        assert [cell.strip() for cell in row.split("|")][-1 - len(cells) : -1] == cells, name
