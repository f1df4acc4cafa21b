"""Publish and subscribe: in the memory of one process, or in Redis for several.

`Channels` is the resource of an app. A `Store` keeps and numbers the messages, a `Hub` buffers the newest messages of
each channel for all readers of the process, and a `Subscription` is a reader.
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
