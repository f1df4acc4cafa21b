"""Find the exchange that a pair of ASGI callables belongs to, or make one for the time of a block."""

from __future__ import annotations

from baize.typing import Receive, Scope, Send

from .exchange import Exchange

__all__ = ["exchange_of", "owner_of"]


def owner_of(receive: Receive, send: Send) -> Exchange | None:
    """Return the exchange whose `receive` and `send` these are; None if they do not both belong to the same exchange.

    Both must match: a middleware that has replaced one of the two must not be bypassed.
    """
    owner = getattr(send, "__self__", None)
    if isinstance(owner, Exchange) and getattr(receive, "__self__", None) is owner:
        return owner
    return None


class exchange_of:
    """A block that gets the exchange of these callables, or a new exchange, which is settled at the block's end.

    A response that is called within a request gets the request's exchange, which the request settles. A response that
    is called as an ASGI app by itself gets a new one.

    Example::

        async with exchange_of(scope, receive, send) as exchange:
            await exchange.send(start)
    """

    __slots__ = ("_exchange", "_made")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        owner = owner_of(receive, send)
        self._made = owner is None
        self._exchange = Exchange(scope, receive, send) if owner is None else owner

    async def __aenter__(self) -> Exchange:
        return self._exchange

    async def __aexit__(self, *_: object) -> None:
        if self._made:
            await self._exchange.settle()
