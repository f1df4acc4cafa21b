"""The tables of a WebSocket's states, without a loop and without a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from kui.concurrency.websocket.states import (
    INCOMING,
    OUTGOING,
    Incoming,
    SocketEvent,
    SocketState,
    WebSocketDisconnect,
    WebSocketState,
    how_it_ended,
)

TABLES = [(INCOMING, Incoming), (OUTGOING, SocketState)]


def reached(table, first):
    """The states that any sequence of events leads to."""
    found, new = set(), {first}
    while new:
        found |= new
        new = {after for state in new for after in table[state].values()} - found
    return found


def after(*events: SocketEvent) -> WebSocketState:
    state = WebSocketState()
    for event in events:
        state.happens(event)
    return state


@pytest.mark.parametrize(("table", "states"), TABLES)
def test_every_state_has_a_row_and_can_be_reached(table, states) -> None:
    assert set(table) == set(states)
    assert reached(table, next(iter(states))) == set(states)


@pytest.mark.parametrize(("table", "states"), TABLES)
def test_a_direction_only_ever_moves_down_its_list(table, states) -> None:
    order = list(states)
    for state, row in table.items():
        assert all(order.index(next_one) > order.index(state) for next_one in row.values())


@pytest.mark.parametrize("state", SocketState)
def test_the_client_may_leave_in_any_state_and_nothing_comes_after_it(state) -> None:
    assert OUTGOING[state].get(SocketEvent.LEAVE, state) is SocketState.CLOSED
    assert all(row.get(SocketEvent.LEAVE, each) is Incoming.ENDED for each, row in INCOMING.items())


@pytest.mark.parametrize(
    ("events", "incoming", "outgoing"),
    [
        ([], Incoming.HANDSHAKE, SocketState.CONNECTING),
        ([SocketEvent.CONNECT], Incoming.NOTHING_YET, SocketState.CONNECTING),
        ([SocketEvent.CONNECT, SocketEvent.ACCEPT], Incoming.MESSAGES, SocketState.OPEN),
        (
            [SocketEvent.CONNECT, SocketEvent.ACCEPT, SocketEvent.CLOSE],
            Incoming.UNWANTED,
            SocketState.CLOSING,
        ),
        ([SocketEvent.CONNECT, SocketEvent.CLOSE], Incoming.ENDED, SocketState.CLOSED),
        ([SocketEvent.CONNECT, SocketEvent.DENY], Incoming.NOTHING_YET, SocketState.DENYING),
        (
            [SocketEvent.CONNECT, SocketEvent.DENY, SocketEvent.DENY_LAST],
            Incoming.NOTHING_YET,
            SocketState.CLOSED,
        ),
    ],
)
def test_events_lead_both_directions_on(events, incoming, outgoing) -> None:
    state = after(*events)
    assert (state.incoming, state.outgoing) == (incoming, outgoing)


def opened() -> WebSocketState:
    return after(SocketEvent.CONNECT, SocketEvent.ACCEPT)


def test_the_first_reason_of_an_end_stays() -> None:
    state = opened()
    state.close(4000, "first")
    state.close(4001, "second")
    state.leave(1006)
    assert state.ending == (4000, "first")
    assert state.outgoing is SocketState.CLOSED


def test_the_end_gives_a_sender_no_credit() -> None:
    for end in (lambda state: state.close(1000, ""), lambda state: state.leave(1006)):
        state = opened()
        state.credit = 5
        end(state)
        assert state.credit == 0


def test_halves_are_told_of_each_step_of_the_end_and_listeners_of_the_first() -> None:
    state = opened()
    told: list[str] = []
    state.tell = (lambda: told.append("half"),)
    state.listen(lambda: told.append("listener"))
    assert state.is_watched
    state.close(1000, "")
    assert told == ["half", "listener"]
    state.leave(1000)
    assert told == ["half", "listener", "half"]
    assert not state.is_watched


def test_a_listener_that_comes_late_is_told_at_once_and_one_that_was_taken_back_never() -> None:
    state = opened()
    told: list[str] = []

    def listener() -> None:
        told.append("taken back")

    state.listen(listener)
    state.unlisten(listener)
    state.leave(1006)
    assert told == []
    state.listen(lambda: told.append("late"))
    assert told == ["late"]


@pytest.mark.parametrize(
    ("state", "by_closer", "says"),
    [
        (after(), False, "before accept"),
        (after(SocketEvent.CONNECT, SocketEvent.DENY), False, "while the WebSocket is denying"),
    ],
)
def test_what_comes_too_early_is_told_what_to_do(state, by_closer, says) -> None:
    error = state.refusal("send", by_closer)
    assert isinstance(error, RuntimeError)
    assert says in str(error)


def test_what_comes_too_late_is_an_error_for_the_closer_alone() -> None:
    state = opened()
    state.close(4000, "enough")
    assert isinstance(state.refusal("send", True), RuntimeError)
    error = state.refusal("send", False)
    assert isinstance(error, WebSocketDisconnect)
    assert (error.code, error.reason) == (4000, "enough")
    state.failure = LookupError()
    assert state.refusal("receive", False) is state.failure


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"code": 4000, "reason": "bye"}, (4000, "bye")),
        ({"code": 1005, "reason": ""}, (1005, "")),
        ({"code": 1005}, (1006, "")),
        ({"code": None}, (1006, "")),
        ({}, (1006, "")),
        ({"code": 1001, "reason": None}, (1001, "")),
    ],
)
def test_how_a_connection_ended_is_the_same_from_every_server(message, expected) -> None:
    assert how_it_ended({"type": "websocket.disconnect", **message}) == expected


@pytest.mark.parametrize(("table", "states"), TABLES)
def test_the_page_on_the_design_has_these_tables(table, states) -> None:
    page = (Path(__file__).parents[3] / "docs" / "design.md").read_text()
    page = page[page.index("### A WebSocket") :]
    head, *rows = [line for line in page.splitlines() if line.startswith("| ")]
    heads = [line for line in page.splitlines() if line.startswith("| state ")]
    assert len(heads) == len(TABLES)
    for line in heads:
        assert [cell.strip(" `") for cell in line.split("|")[2:-1]] == [
            event.name for event in SocketEvent
        ]
    for state in states:
        row = next(line for line in (head, *rows) if line.startswith(f"| `{state.name}` |"))
        cells = [cell.strip(" `") for cell in row.split("|")[2:-1]]
        expected = [table[state].get(event) for event in SocketEvent]
        assert cells == [each.name if each else "" for each in expected]
