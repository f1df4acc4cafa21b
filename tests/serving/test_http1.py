"""HTTP/1.1 without a socket: which requests are read from which bytes, and what is written for a response."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kui.serving.http1 import Http1, Reading
from kui.serving.http1_request import Request
from kui.serving.http1_response import Http1Response, refusal
from kui.serving.responses import Misuse, Phase

from .random_inputs import BITS, check_http1, http1_input
from .random_inputs import read_http1 as read
from .vectors import CHUNKED, GET, POST, VECTORS, Vector

DATE = b"Mon, 30 Nov 2026 12:00:00 GMT"


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def one(data: bytes) -> Request:
    http1 = Http1()
    http1.receive_data(data)
    assert http1.error is None
    assert http1.request is not None
    return http1.request


def refused(data: bytes) -> int:
    http1 = Http1()
    http1.receive_data(data)
    assert http1.error is not None
    return http1.error.status


@pytest.mark.parametrize("size", [1, 7, 3000, 1 << 22])
@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_a_suspicious_request_is_refused_or_taken_however_it_is_cut(
    vector: Vector, size: int
) -> None:
    if size < 1000 and len(vector.data) > 200_000:
        size = 1000
    seen = read(cut(vector.data, size))
    refused = bool(seen) and isinstance(seen[-1][0], int)
    assert (None if refused else len(seen)) in vector.outcomes


STREAM = b"".join(
    (
        POST + b"Content-Length: 11\r\n\r\nhello\r\n\r\n, ",
        b"\r\n",
        CHUNKED + b"5;x=y\r\nhe\r\n\r\r\n3\r\n\nlo\r\n0\r\nA: b\r\nC: d\r\n\r\n",
        b"GET /a%20b?c=d HTTP/1.1\r\nHost: y\r\n\r\n",
        POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"2\r\nhi\r\n0\r\n\r\n",
        POST + b"Upgrade: foo\r\nConnection: upgrade\r\nContent-Length: 2\r\n\r\nho",
        b"HEAD http://z:1/p HTTP/1.1\r\nHost: other\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
)
WHOLE = read([STREAM])


def test_requests_are_read_one_after_the_other() -> None:
    assert [(method, path, body) for method, path, _, _, body in WHOLE] == [
        ("POST", b"/", b"hello\r\n\r\n, "),
        ("POST", b"/", b"he\r\n\r\nlo"),
        ("GET", b"/a%20b", b""),
        ("POST", b"/", b"hi"),
        ("POST", b"/", b"ho"),
        ("HEAD", b"/p", b""),
        ("OPTIONS", b"*", b""),
    ]
    assert WHOLE[2][2] == b"c=d"
    assert WHOLE[5][3] == [(b"host", b"z:1")]
    assert (b"a", b"b") not in WHOLE[2][3], "trailers are no headers of the next request"


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_the_same_is_read_wherever_it_is_cut(places: list[int]) -> None:
    places = sorted({0, *places, len(STREAM)})
    pieces = [STREAM[a:b] for a, b in pairwise(places)]
    assert read(pieces) == WHOLE


@given(st.integers(1, 40), st.sampled_from([v for v in VECTORS if len(v.data) < 1000]))
def test_a_vector_is_read_the_same_in_pieces_of_any_size(size: int, vector: Vector) -> None:
    def outcome(seen: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        return [entry[:1] if isinstance(entry[0], int) else entry for entry in seen]

    assert outcome(read(cut(vector.data, size))) == outcome(read([vector.data]))


@given(st.lists(st.one_of(st.sampled_from(BITS), st.binary(max_size=20)), max_size=12))
def test_no_bytes_raise_anything(pieces: list[bytes]) -> None:
    check_http1(pieces)


@given(st.randoms())
def test_no_request_raises_anything_that_was_changed_a_little(random: Random) -> None:
    """`python -m tests.serving.random_inputs` does the same two million times."""
    for _ in range(10):
        check_http1(http1_input(random))


def test_nothing_is_parsed_behind_the_current_request() -> None:
    http1 = Http1()
    http1.receive_data((GET + b"\r\n") * 1000 + b"garbage")
    assert http1.request is not None and http1.request.complete
    assert http1.reading is Reading.REST and http1.error is None
    assert http1.kept == 999 * len(GET + b"\r\n") + len(b"garbage")


def test_bytes_behind_a_websockets_request_are_kept_for_it() -> None:
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    http1 = Http1()
    http1.receive_data(GET + upgrade + b"\x81\x00")
    http1.receive_data(b"\x81\x01")
    assert http1.request is not None and http1.request.websocket
    assert http1.reading is Reading.UPGRADED
    assert http1.take_rest() == b"\x81\x00\x81\x01"


@pytest.mark.parametrize(
    "head", [POST, b"GET / HTTP/1.0\r\nHost: x\r\n", GET + b"Content-Length: 2\r\n"]
)
def test_an_upgrade_where_no_websocket_can_be_is_ignored(head: bytes) -> None:
    request = one(head + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\nhi")
    assert not request.websocket
    assert request.complete


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 501),
        (b"GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET a HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET ftp://x/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET http:///a HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET http://u@x/a HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: u@x\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (GET + b"A: " + b"b" * 70_000, 431),
        (GET + b"A: b\r\n" * 101 + b"\r\n", 431),
    ],
)
def test_a_refusal_has_the_status_that_fits(data: bytes, status: int) -> None:
    assert refused(data) == status


def test_the_target_is_split_and_its_path_decoded() -> None:
    request = one(b"GET /%C3%BC%2F?a=%20 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert request.decoded_path == "/ü/"
    assert (request.path, request.query) == (b"/%C3%BC%2F", b"a=%20")
    assert one(b"GET http://x?q HTTP/1.1\r\nHost: x\r\n\r\n").path == b"/"


@pytest.mark.parametrize(
    ("head", "kept"),
    [
        (GET, True),
        (GET + b"Connection: close\r\n", False),
        (b"GET / HTTP/1.0\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n", True),
    ],
)
def test_who_keeps_the_connection(head: bytes, kept: bool) -> None:
    assert one(head + b"\r\n").keep_alive is kept


# ---- what goes out


def answer(*messages: dict[str, Any], head: bytes = GET, keep_alive: bool = True) -> bytes:
    response = Http1Response(one(head + b"\r\n"), keep_alive)
    return b"".join(bytes(part) for message in messages for part in response.send(message, DATE))


def start(status: int = 200, *headers: tuple[bytes, bytes], **more: Any) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(headers), **more}


def body(data: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


def test_a_complete_body_gets_its_length() -> None:
    assert answer(start(), body(b"hello")) == (
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ndate: " + DATE + b"\r\n\r\nhello"
    )


def test_a_body_without_a_length_is_sent_in_chunks() -> None:
    sent = answer(start(), body(b"he", True), body(b"", True), body(b"llo"))
    head, _, rest = sent.partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head
    assert rest == b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"


def test_a_client_of_http_1_0_gets_the_body_up_to_the_close() -> None:
    sent = answer(
        start(),
        body(b"he", True),
        body(b"llo"),
        head=b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n",
    )
    head, _, rest = sent.partition(b"\r\n\r\n")
    assert b"connection: close" in head and b"chunked" not in head
    assert rest == b"hello"


@pytest.mark.parametrize(
    ("head", "keep_alive", "headers", "expected"),
    [
        (GET, True, [], None),
        (GET, False, [], b"close"),
        (GET + b"Connection: close\r\n", True, [], b"close"),
        (GET, True, [(b"Connection", b"Close")], b"close"),
        (GET, True, [(b"Connection", b"keep-alive"), (b"Transfer-Encoding", b"gzip")], None),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n", True, [], b"keep-alive"),
    ],
)
def test_the_connection_header_is_the_servers(
    head: bytes, keep_alive: bool, headers: list[tuple[bytes, bytes]], expected: bytes | None
) -> None:
    sent = answer(start(200, *headers), body(b""), head=head, keep_alive=keep_alive)
    found = [line for line in sent.split(b"\r\n") if line.lower().startswith(b"connection:")]
    assert found == ([] if expected is None else [b"connection: " + expected])
    assert b"gzip" not in sent


@pytest.mark.parametrize(
    ("head", "status"),
    [(b"HEAD / HTTP/1.1\r\nHost: x\r\n", 200), (GET, 204), (GET, 304)],
)
def test_no_body_is_sent_where_none_may_be(head: bytes, status: int) -> None:
    sent = answer(start(status, (b"content-length", b"5")), body(b"hello"), head=head)
    assert sent.endswith(b"\r\n\r\n") and b"chunked" not in sent
    assert (b"content-length: 5" in sent) is (status != 204)


def test_a_large_body_goes_out_in_slices() -> None:
    response = Http1Response(one(GET + b"\r\n"), True)
    response.send(start(), DATE)
    data = bytes(range(256)) * 1000
    parts = response.send(body(data), DATE)
    assert all(len(part) <= 64 * 1024 for part in parts)
    assert b"".join(parts).partition(b"\r\n\r\n")[2] == data


def test_trailers_follow_the_last_chunk() -> None:
    messages = [
        start(200, (b"trailer", b"a"), trailers=True),
        body(b"hi"),
        {"type": "http.response.trailers", "headers": [(b"a", b"b")], "more_trailers": True},
        {"type": "http.response.trailers", "headers": [(b"c", b"d")]},
    ]
    rest = answer(*messages).partition(b"\r\n\r\n")[2]
    assert rest == b"2\r\nhi\r\n0\r\na: b\r\nc: d\r\n\r\n"


def test_early_hints_come_before_the_head() -> None:
    hint = {"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]}
    sent = answer(hint, start(), body(b""))
    assert sent.startswith(
        b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200"
    )
    assert answer(hint, start(), body(b""), head=b"GET / HTTP/1.0\r\n").startswith(b"HTTP/1.1 200")


def test_a_status_line_has_its_reason_or_a_blank() -> None:
    assert answer(start(299), body(b"")).startswith(b"HTTP/1.1 299 \r\n")
    assert refusal(431, "too large", DATE).startswith(
        b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    )


@pytest.mark.parametrize(
    "header",
    [
        (b"a b", b"c"),
        (b"", b"c"),
        (b"a:", b"c"),
        (b"a\r\nb", b"c"),
        (b"a", b"b\r\nc: d"),
        (b"a", b"b\0"),
        (b"a", b"b\n"),
        (b"content-length", b"+5"),
        (b"content-length", b""),
    ],
)
def test_a_header_that_breaks_the_response_is_refused(header: tuple[bytes, bytes]) -> None:
    with pytest.raises(Misuse):
        answer(start(200, header), body(b"hello"))


@pytest.mark.parametrize(
    "messages",
    [
        [body(b"")],
        [start(), start()],
        [start(), body(b""), body(b"")],
        [start(), body(b"", True), start()],
        [start(100)],
        [start(600)],
        [start(), {"type": "http.response.trailers"}],
        [{"type": "websocket.accept"}],
        [start(200, (b"content-length", b"4")), body(b"hello")],
        [start(200, (b"content-length", b"6")), body(b"hello")],
        [start(200, (b"content-length", b"4")), body(b"he", True), body(b"llo", True)],
        [start(200, (b"content-length", b"6")), body(b"he", True), body(b"llo")],
    ],
)
def test_what_makes_no_response_is_refused(messages: list[dict[str, Any]]) -> None:
    with pytest.raises(Misuse):
        answer(*messages)


def test_a_refused_message_leaves_the_response_where_it_was() -> None:
    response = Http1Response(one(GET + b"\r\n"), True)
    with pytest.raises(Misuse):
        response.send(body(b""), DATE)
    assert response.phase is Phase.WAITING and not response.begun
