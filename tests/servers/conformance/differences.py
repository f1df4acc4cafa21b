"""What other servers do otherwise than the tests say. Each line must still be true, or its test fails.

The table is what shows that the tests ask for HTTP and ASGI: where two servers agree with a test and
the third does not, it is the third that differs.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["DIFFERENCES", "Difference", "find"]


class Difference(NamedTuple):
    """Why a server fails some tests, each named without `test_`, and with an id if it is only that case."""

    reason: str
    tests: tuple[str, ...]
    always: bool = True
    """False if it depends on what comes first."""


REFUSED = "what_can_be_read_in_two_ways_is_refused_and_ends_the_connection"
LONG = "a_head_that_is_too_large_gets_a_status_that_its_client_reads"
PIPELINED = "a_client_that_leaves_is_seen_to_leave_whatever_it_has_pipelined"
LENGTH = "a_content_length_that_is_no_number_never_leaves"
SHAKE = "a_handshake_that_is_wrong_is_refused"
FRAME = "what_is_no_frame_fails_the_socket_with_its_code"


def cases(test: str, *ids: str) -> tuple[str, ...]:
    return tuple(f"{test}[{case}]" for case in ids)


UVICORN = (
    Difference(
        "a response without a Content-Length of the app's is chunked, also in HTTP/1.0",
        (
            "a_body_in_one_message_gets_a_length",
            "http_1_0_gets_a_body_that_ends_with_the_connection",
        ),
    ),
    Difference(
        "ends HTTP/1.0 connections, sends them 100, and cuts them with FIN",
        (
            "http_1_0_keeps_the_connection_if_it_asks_for_it",
            "http_1_0_is_never_sent_a_1xx",
            "http_1_0_sees_that_a_body_without_a_length_was_cut",
        ),
    ),
    Difference("raises where a 204 or 304 has a body", ("a_status_without_a_body_has_none",)),
    Difference("adds a second Date", ("the_date_of_the_app_is_kept",)),
    Difference(
        "has no such extension",
        ("a_response_has_its_trailers", "an_early_hint_comes_before_the_response"),
    ),
    Difference(
        "keeps the white space behind a value", ("white_space_around_a_value_is_no_part_of_it",)
    ),
    Difference("keeps the Host", ("a_target_in_absolute_form_replaces_the_host",)),
    Difference(
        "checks neither the values of an app's framing headers nor its names outside ASCII",
        (
            *cases(LENGTH, "-1", "+5", "5, 5", "0x5", "5_0", r"\xb2"),
            "the_app_has_no_say_in_the_transfer_encoding",
            "a_header_that_is_none_never_leaves[name outside ASCII]",
            "a_header_that_is_none_never_leaves[empty name]",
            "a_header_that_is_none_never_leaves_in_a_handshake[x-injected a-1]",
        ),
    ),
    Difference(
        "leaves to httptools what a request is",
        cases(
            REFUSED,
            "gzip and chunked",
            "chunks in HTTP 1.0",
            "100 KB of a chunk extension",
            "100 KB of trailers",
            "no Host",
            "two Hosts",
            "HTTP 0.9",
            "HTTP 2.0 with a Host",
            "fragment in a target",
        ),
    ),
    Difference(
        "has no limit for a head",
        cases(LONG, "1 MB of a value", "1 MB of a target", "20,000 headers", "101 headers"),
    ),
    Difference(
        "drops the body of a request with Upgrade, as httptools does",
        cases(
            "an_upgrade_that_is_not_wanted_is_ignored_and_its_body_kept",
            "Upgrade to something unknown",
            "Upgrade to HTTP/2",
        ),
    ),
    Difference(
        "does not see a client leave that has pipelined",
        cases(PIPELINED, "close-1", "close-30", "reset-1", "reset-30"),
    ),
    Difference(
        "hangs up on half a client",
        (
            "half_a_client_gets_the_answer_of_an_app_that_heard_it_leave",
            "pipelined_requests_of_half_a_client_are_all_answered",
        ),
        always=False,
    ),
    Difference(
        "answers what comes behind a request before the request",
        ("what_is_wrong_behind_a_request_does_not_spoil_its_answer",),
    ),
    Difference(
        "a `send` to nobody is no error over HTTP, and `send` outlives its request",
        (
            "sending_to_a_client_that_has_reset_is_an_error",
            "receive_and_send_end_with_their_request",
        ),
    ),
    Difference(
        "waits for ever for a head and for a body, and reads one without end",
        (
            "a_head_that_does_not_end_is_a_408",
            "a_head_that_comes_by_drops_is_a_408",
            "a_body_that_does_not_go_on_is_not_waited_for",
            "a_body_without_end_is_not_read_for_ever",
        ),
    ),
    Difference(
        "keeps a connection whose client may still send what it expected to be asked for",
        ("a_client_that_is_answered_at_once_gets_no_100",),
    ),
    Difference(
        "an app that returns after the start leaves its client waiting",
        ("an_app_that_fails_before_it_has_sent_anything_is_a_500[/starts/x]",),
    ),
    Difference("answers 400", cases(SHAKE, "version 8", "no version")),
    Difference(
        "loses what comes with a handshake", ("what_comes_with_the_handshake_is_read_after_it",)
    ),
    Difference(
        "leaves the socket of an app that fails open",
        ("an_app_that_fails_after_it_accepted_closes_with_1011",),
    ),
    Difference("calls it 1005", ("a_client_that_leaves_without_a_word_is_a_1006",)),
)

HYPERCORN = (
    Difference(
        "a body without a Content-Length of the app's is chunked",
        ("a_body_in_one_message_gets_a_length",),
    ),
    Difference(
        "has no reason phrases",
        (
            *cases(
                "a_status_line_has_a_reason_phrase", "200-OK", "404-Not Found", "418-I'm a Teapot"
            ),
            "a_handshake_is_answered_by_the_letter",
        ),
    ),
    Difference("adds a second Date", ("the_date_of_the_app_is_kept",)),
    Difference(
        "has no such extension",
        ("a_response_has_its_trailers", "an_early_hint_comes_before_the_response"),
    ),
    Difference("takes it for the path", ("a_target_in_absolute_form_replaces_the_host",)),
    Difference(
        "ends HTTP/1.0 connections, and cuts them with FIN",
        (
            "http_1_0_keeps_the_connection_if_it_asks_for_it",
            "http_1_0_sees_that_a_body_without_a_length_was_cut",
        ),
    ),
    Difference(
        "bytes behind a request are its end",
        (
            "empty_lines_before_and_between_requests_are_skipped",
            "bytes_behind_the_last_request_do_not_spoil_its_answer",
        ),
    ),
    Difference(
        "leaves to h11 what a request is",
        (
            *cases(
                REFUSED,
                "CONNECT",
                "HTTP 0.9",
                "HTTP 2.0 with a Host",
                "a length and chunks",
                "chunks and a length",
                "chunk size beyond 64 bits",
                "length beyond 64 bits",
                "chunks in HTTP 1.0",
                "folded line",
                "fragment in a target",
                "line feed alone in the headers",
                "line feeds alone",
            ),
            f"{LONG}[101 headers]",
            f"{LENGTH}[5, 5]",
        ),
    ),
    Difference(
        "does not see a client leave that has pipelined",
        cases(PIPELINED, "close-1", "close-30", "reset-1", "reset-30"),
    ),
    Difference(
        "waits for ever for a body, and hangs up on a head without a word",
        (
            "a_head_that_does_not_end_is_a_408",
            "a_head_that_comes_by_drops_is_a_408",
            "a_body_that_does_not_go_on_is_not_waited_for",
        ),
    ),
    Difference(
        "sends 100 before the app reads",
        (
            "a_client_that_waits_for_100_gets_it_when_the_app_reads",
            "a_client_that_is_answered_at_once_gets_no_100",
        ),
    ),
    Difference(
        "a `send` to nobody is no error, `send` outlives its request",
        (
            "sending_to_a_client_that_has_reset_is_an_error",
            "receive_and_send_end_with_their_request",
            "sending_after_the_end_is_an_error",
            "an_app_that_only_sends_learns_that_its_client_has_left",
            "a_socket_that_takes_nothing_holds_its_app_back",
        ),
    ),
    Difference(
        "the disconnect is a message like others, behind the body and for one receiver",
        (
            "of_several_receivers_one_gets_the_body_and_all_hear_of_the_end",
            "a_client_that_leaves_behind_an_unread_body_is_heard_of[reset]",
        ),
        always=False,
    ),
    Difference(
        "an exception that is no Exception ends the server",
        (
            "a_system_exit_of_an_app_ends_its_request_and_nothing_else",
            "an_unanswered_handshake_is_cut_with_its_connection",
        ),
        always=False,
    ),
    Difference(
        "an app that returns after the start leaves its client waiting",
        ("an_app_that_fails_before_it_has_sent_anything_is_a_500[/starts/x]",),
    ),
    Difference(
        "answers 400, and looks at no key",
        cases(SHAKE, "version 8", "no version", "short key", "bad key"),
    ),
    Difference(
        "takes what comes with a handshake for the end of the connection",
        (
            "what_comes_with_the_handshake_is_read_after_it",
            "nonsense_behind_a_handshake_fails_the_socket_and_its_app_hears_of_it",
        ),
    ),
    Difference("hangs up without a close frame", (FRAME, "a_message_that_is_too_large_is_a_1009")),
    Difference(
        "tells the app 1006 whatever the client said",
        (
            "a_close_code_reaches_the_app_and_comes_back",
            "a_close_without_a_code_is_a_1005",
            "frames_behind_a_close_frame_are_ignored",
            "what_was_sent_before_the_close_is_received_before_it",
        ),
    ),
    Difference(
        "cuts what is in flight, and waits for who stalls",
        (
            "a_request_in_flight_is_answered_and_told_of_the_end",
            "a_websocket_is_told_that_the_server_goes_away",
            "a_client_that_stalls_does_not_hold_the_exit_back",
        ),
    ),
)

HYPERCORN_ASYNCIO = (
    Difference(
        "hangs up on half a client",
        ("a_client_that_has_said_all_it_has_to_say_gets_its_answer",),
        always=False,
    ),
)

DIFFERENCES = {
    "uvicorn": UVICORN,
    "hypercorn-asyncio": (*HYPERCORN, *HYPERCORN_ASYNCIO),
    "hypercorn-trio": HYPERCORN,
}


def find(kind: str, test: str, parameters: str) -> Difference | None:
    """Why this server is expected to fail this test; None if it must not."""
    name = test.removeprefix("test_")
    case = f"{name}[{parameters.removeprefix(kind).removeprefix('-')}]"
    for difference in DIFFERENCES.get(kind, ()):
        if name in difference.tests or case in difference.tests:
            return difference
    return None
