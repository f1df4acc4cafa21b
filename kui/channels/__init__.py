"""Publish and subscribe: in the memory of one process, or in Redis for several.

`Channels` is the resource that an app names; a `Store` keeps the messages and numbers them; a `Hub` has
the newest ones of each channel at hand for all readers of the process; a `Subscription` is a reader.
"""

from __future__ import annotations

from .channels import Channels
from .messages import ChannelsUnavailable, Gap, Message, ReaderTooSlow
from .subscriptions import Subscription

__all__ = [
    "Channels",
    "ChannelsUnavailable",
    "Gap",
    "Message",
    "ReaderTooSlow",
    "Subscription",
]
