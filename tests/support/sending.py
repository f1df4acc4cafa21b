"""Sending a response into a list, and reading the list as a client would."""

from __future__ import annotations

from dataclasses import dataclass

from baize.typing import ASGIApp, Message


@dataclass
class Sent:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def __getitem__(self, name: str) -> str:
        (value,) = self.getlist(name)
        return value

    def __contains__(self, name: str) -> bool:
        return bool(self.getlist(name))

    def getlist(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]


async def send(response: ASGIApp, method: str = "GET") -> Sent:
    messages: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("a response with a complete body receives nothing")

    async def keep(message: Message) -> None:
        messages.append(message)

    await response({"type": "http", "method": method, "headers": []}, receive, keep)
    start, body = messages
    assert (start["type"], body["type"]) == ("http.response.start", "http.response.body")
    return Sent(
        start["status"],
        [(name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"]],
        body["body"],
    )
