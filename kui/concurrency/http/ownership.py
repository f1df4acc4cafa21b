"""The exchange of a pair of ASGI callables: the one that they belong to, or a new one for as long as a block lasts."""

from __future__ import annotations

from baize.typing import Receive, Scope, Send

from .exchange import Exchange

__all__ = ["exchange_of", "owner_of"]


def owner_of(receive: Receive, send: Send) -> Exchange | None:
    """Return the exchange whose `receive` and `send` these are; None if they do not both belong to the same one.

    Both count: a middleware that replaces one of the two must not be passed by.
    """
    owner = getattr(send, "__self__", None)
    if isinstance(owner, Exchange) and getattr(receive, "__self__", None) is owner:
        return owner
    return None


class exchange_of:
    """A block with the exchange of these callables, which is settled at its end if it was made for the block.

    A response that is called within a request shares the request's exchange, which the request settles.
    Called by itself, as an ASGI app, it gets one of its own.

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
