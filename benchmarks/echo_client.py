"""`echo_client.py HOST:PORT PATH CONNECTIONS SECONDS`: echoes of a WebSocket, one under way on each connection.

Prints the number of echoes, echoes a second, and the latency's median and 99th percentile in microseconds. Standard library only: it is to
cost less than the server.
"""

from __future__ import annotations

import base64
import os
import select
import socket
import sys
import time

SIZE = 100
MASK = b"\x01\x02\x03\x04"
TEXT = b"x" * SIZE
FRAME = (
    b"\x81"
    + bytes([0x80 | SIZE])
    + MASK
    + bytes(each ^ MASK[at % 4] for at, each in enumerate(TEXT))
)
ECHO = b"\x81" + bytes([SIZE]) + TEXT


def connect(host: str, port: int, path: str) -> socket.socket:
    sock = socket.create_connection((host, port), timeout=10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    key = base64.b64encode(os.urandom(16)).decode()
    sock.sendall(
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    head = b""
    while b"\r\n\r\n" not in head:
        head += sock.recv(4096)
    if b" 101 " not in head:
        raise SystemExit(head.decode())
    return sock


def main(address: str, path: str, connections: int, seconds: float) -> None:
    host, _, port = address.partition(":")
    poll = select.epoll()
    socks = {}
    sent = {}
    for _ in range(connections):
        sock = connect(host, int(port), path)
        socks[sock.fileno()] = sock
        poll.register(sock, select.EPOLLIN)
    times = []
    begin = time.monotonic()
    end = begin + seconds
    for number, sock in socks.items():
        sent[number] = time.monotonic()
        sock.sendall(FRAME)
    while (now := time.monotonic()) < end:
        for number, _ in poll.poll(1):
            if socks[number].recv(4096) != ECHO:
                raise SystemExit("no echo")
            now = time.monotonic()
            times.append(now - sent[number])
            sent[number] = now
            socks[number].send(FRAME)
    times.sort()
    print(len(times), len(times) / (now - begin))
    print(times[len(times) // 2] * 1e6, times[len(times) * 99 // 100] * 1e6)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
