"""The sockets that a server listens on: how they are made, and that nothing of them is left."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from kui.serving.binding import CannotServe, address_of, bound


def test_a_socket_is_bound_but_does_not_listen_yet() -> None:
    with bound(["127.0.0.1:0"]) as (sock,):
        host, port = sock.getsockname()
        assert host == "127.0.0.1" and port > 0
        with socket.socket() as client, pytest.raises(ConnectionRefusedError):
            client.connect((host, port))
    assert sock.fileno() == -1


def test_all_are_closed_when_one_cannot_be_had() -> None:
    before = len(os.listdir("/dev/fd"))
    with pytest.raises(CannotServe), bound(["127.0.0.1:0", "unix:/nowhere/socket"]):
        pass
    assert len(os.listdir("/dev/fd")) == before


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux has it")
def test_the_stall_timeout_is_set_on_the_listener_and_handed_down() -> None:
    with bound(["127.0.0.1:0"], 1.5) as (sock,):
        sock.listen()
        with socket.create_connection(sock.getsockname()):
            sock.setblocking(True)
            accepted, _ = sock.accept()
            with accepted:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 1500


def test_an_ipv6_address_is_written_with_brackets() -> None:
    try:
        with bound(["[::1]:0"]) as (sock,):
            port = sock.getsockname()[1]
            assert address_of(sock, "https") == f"https://[::1]:{port}"
    except CannotServe as error:
        pytest.skip(str(error))


def test_a_socket_that_was_inherited_is_used_as_it_is() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        with bound([f"fd://{os.dup(sock.fileno())}"]) as (inherited,):
            assert inherited.getsockname() == sock.getsockname()


def test_a_unix_socket_is_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with bound([f"unix:{path}"]) as (sock,):
        assert path.is_socket()
        assert address_of(sock, "http") == f"unix:{path}"
    assert not path.exists()


def test_the_umask_decides_who_connects_to_a_unix_socket(tmp_path: Path) -> None:
    """The page on deployment says so: with `UMask=0007` the group of the proxy may connect, and nobody else."""
    path = tmp_path / "socket"
    before = os.umask(0o007)
    try:
        with bound([f"unix:{path}"]):
            assert path.stat().st_mode & 0o777 == 0o770
    finally:
        os.umask(before)


def test_a_unix_socket_of_another_process_stays(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with bound([f"unix:{path}"]):
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
    assert path.is_socket()


def test_a_unix_socket_that_is_in_use_is_busy(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(CannotServe, match="Address already in use"), bound([f"unix:{path}"]):
            pass
    assert path.is_socket()


def test_a_file_is_never_replaced_by_a_socket(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises(CannotServe, match="Address already in use"), bound([f"unix:{path}"]):
        pass
    assert path.read_text() == "precious"


def test_sockets_of_tcp_say_so_and_hand_it_down() -> None:
    """asyncio sets TCP_NODELAY only on these: otherwise an answer may take 40 ms."""
    with bound(["127.0.0.1:0"]) as (sock,):
        assert sock.proto == socket.IPPROTO_TCP
        sock.listen()
        with socket.create_connection(sock.getsockname()):
            sock.setblocking(True)
            accepted, _ = sock.accept()
            with accepted:
                assert accepted.proto == socket.IPPROTO_TCP
