"""Frames, closes and leaving of a WebSocket that is open (RFC 6455, 5 to 7)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.wire import BINARY, CLOSE, CONT, PING, PONG, TEXT, Wire, frame

from .apps import PUSHES
from .servers import Site


@contextmanager
def opened(site: Site, path: str = "ws_echo") -> Iterator[Wire]:
    with site.connect() as wire:
        assert wire.upgrade(f"/{path}/{site.name}").status == 101
        yield wire


def closing(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, struct.pack("!H", code) + reason)


def test_messages_of_both_kinds_are_echoed(site: Site) -> None:
    with opened(site) as wire:
        for opcode, payload in (
            (TEXT, "grüße".encode()),
            (BINARY, b"\0\xff"),
            (TEXT, b""),
            (BINARY, b""),
        ):
            wire.send(frame(opcode, payload))
            got = wire.frame()
            assert (got.opcode, got.payload, got.fin) == (opcode, payload, True)


def test_a_frame_may_come_a_byte_at_a_time(site: Site) -> None:
    with opened(site) as wire:
        for byte in frame(TEXT, b"slow"):
            wire.send(bytes([byte]))
        assert wire.frame().payload == b"slow"


def test_a_message_in_fragments_is_one_message(site: Site) -> None:
    half, rest = "ü".encode()[:1], "ü".encode()[1:]
    with opened(site) as wire:
        wire.send(frame(TEXT, half, fin=False) + frame(CONT, b"", fin=False) + frame(CONT, rest))
        got = wire.frame()
        assert (got.opcode, got.payload) == (TEXT, "ü".encode())


def test_a_ping_between_fragments_is_answered_at_once(site: Site) -> None:
    with opened(site) as wire:
        wire.send(frame(TEXT, b"one ", fin=False) + frame(PING, b"now"))
        got = wire.frame()
        assert (got.opcode, got.payload) == (PONG, b"now")
        wire.send(frame(CONT, b"message"))
        assert wire.frame().payload == b"one message"


def test_a_pong_that_was_not_asked_for_is_ignored(site: Site) -> None:
    with opened(site) as wire:
        wire.send(frame(PONG, b"hello") + frame(TEXT, b"next"))
        assert wire.frame().payload == b"next"


BROKEN = {
    "no mask": (1002, frame(TEXT, b"hello", mask=False)),
    "reserved bit": (1002, frame(TEXT, b"hello", rsv=4)),
    "unknown opcode": (1002, frame(3, b"hello")),
    "unknown control opcode": (1002, frame(11, b"hello")),
    "continuation of nothing": (1002, frame(CONT, b"hello")),
    "message within a message": (1002, frame(TEXT, b"a", fin=False) + frame(TEXT, b"b")),
    "ping in fragments": (1002, frame(PING, b"hello", fin=False)),
    "ping that is too long": (1002, frame(PING, b"h" * 126)),
    "text that is no UTF-8": (1007, frame(TEXT, b"\xff")),
    "text that ends within a character": (1007, frame(TEXT, b"\xc3")),
    "surrogate": (1007, frame(TEXT, b"\xed\xa0\x80")),
    "text in fragments that is no UTF-8": (
        1007,
        frame(TEXT, b"\xc3", fin=False) + frame(CONT, b"\x28"),
    ),
    "close with one byte": (1002, frame(CLOSE, b"\x03")),
    "close code 1005": (1002, closing(1005)),
    "close code 1006": (1002, closing(1006)),
    "close code 999": (1002, closing(999)),
    "close reason that is no UTF-8": (1007, closing(1000, b"\xff")),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_no_frame_fails_the_socket_with_its_code(site: Site, case: str) -> None:
    code, data = BROKEN[case]
    with opened(site) as wire:
        wire.send(data)
        assert wire.close_code() == code
        wire.until_closed()
        site.hears(f"disconnect ({code}|1006|1005).*")


def test_a_message_that_is_too_large_is_a_1009(site: Site) -> None:
    """16 MiB is what all the servers' defaults have in common; a head that promises more is enough."""
    with opened(site) as wire:
        wire.send(struct.pack("!BBQ", 0x82, 0xFF, 17 << 20) + b"mask" + b"x" * 70_000)
        assert wire.close_code() == 1009
        site.hears("disconnect .*")


@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4999])
def test_a_close_code_reaches_the_app_and_comes_back(site: Site, code: int) -> None:
    with opened(site) as wire:
        wire.send(closing(code, b"that is why"))
        assert wire.close_code() == code
        assert wire.until_closed() == b""
        site.hears(f"disconnect {code} that is why")


def test_a_close_without_a_code_is_a_1005(site: Site) -> None:
    with opened(site) as wire:
        wire.send(frame(CLOSE))
        assert wire.frame().opcode == CLOSE
        site.hears("disconnect 1005")


@pytest.mark.parametrize("leave", ["close", "reset", "half_close"])
def test_a_client_that_leaves_without_a_word_is_a_1006(site: Site, leave: str) -> None:
    with opened(site) as wire:
        wire.send(frame(TEXT, b"hello"))
        assert wire.frame().payload == b"hello"
        {"close": wire.sock.close, "reset": wire.reset, "half_close": wire.half_close}[leave]()
        site.hears("disconnect 1006")


def test_what_was_sent_before_the_close_is_received_before_it(site: Site) -> None:
    with opened(site, "ws_deaf") as wire:
        wire.send(frame(BINARY, b"x" * 100) * 50 + closing(1000))
        site.release()
        site.hears("had 5000")
        site.hears("disconnect 1000")


def test_an_app_that_receives_nothing_holds_its_socket_back(site: Site) -> None:
    with opened(site, "ws_deaf") as wire:
        part = frame(BINARY, b"x" * 8000)
        wire.sock.settimeout(0.3)
        sent = 0
        try:
            while sent < 5000:
                wire.sock.sendall(part)
                sent += 1
        except TimeoutError:
            pass
        assert sent < 4000
        site.release()


def test_a_socket_that_takes_nothing_holds_its_app_back(site: Site) -> None:
    with site.connect(receive_buffer=4096) as wire:
        wire.upgrade(f"/ws_floods/{site.name}")
        site.hears("accepted")
        before = -1
        while len(site.heard(r"sent \d+")) != before:
            before = len(site.heard(r"sent \d+"))
            assert before < PUSHES // 2
            site.is_well()
        wire.reset()
        site.hears("cannot send")


@pytest.mark.parametrize("leave", ["close", "reset", "by a close frame"])
def test_an_app_that_only_sends_learns_that_its_client_has_left(site: Site, leave: str) -> None:
    with opened(site, "ws_sends") as wire:
        assert wire.frame().payload == b"tick"
        if leave == "by a close frame":
            wire.send(closing(1000))
        elif leave == "reset":
            wire.reset()
        else:
            wire.sock.close()
        site.hears("cannot send")


def test_a_ping_is_answered_while_the_app_only_sends(site: Site) -> None:
    with opened(site, "ws_sends") as wire:
        wire.send(frame(PING, b"still there?"))
        while (got := wire.frame()).opcode != PONG:
            assert got.payload == b"tick"
        assert got.payload == b"still there?"


def test_sending_after_the_end_is_an_error(site: Site) -> None:
    """ASGI websocket 2.4: `send` raises an OSError."""
    with opened(site, "ws_after_the_end") as wire:
        wire.send(closing(1000))
        site.hears("disconnect 1000")
        site.hears("cannot send")


def test_frames_behind_a_close_frame_are_ignored(site: Site) -> None:
    with opened(site) as wire:
        wire.send(closing(1000) + frame(TEXT, b"more") + b"nonsense")
        assert wire.close_code() == 1000
        assert wire.until_closed() == b""
        site.hears("disconnect 1000")
