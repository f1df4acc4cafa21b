"""Tasks, cancel scopes, threads and timeouts: the rest of Kui reaches them through this package (docs/design.md).

Its functions are named by their purpose (`in_thread`, `shielded`). It imports nothing else of Kui.
"""

from .async_cached import AsyncCached
from .cleanup import GRACE, shielded
from .http.exchange import ClientDisconnect, Exchange, Gone, body_expected
from .http.ownership import exchange_of, owner_of
from .signals import ExitSignal, chained_signals
from .stray import AwaitedTaskCancelled, failure_of, strays_fail
from .threads import (
    FILE_THREADS,
    GENERATORS,
    HANDLERS,
    UPLOAD_THREADS,
    Limiter,
    call,
    in_thread,
    is_async,
)

__all__ = [
    "FILE_THREADS",
    "GENERATORS",
    "GRACE",
    "HANDLERS",
    "UPLOAD_THREADS",
    "AsyncCached",
    "AwaitedTaskCancelled",
    "ClientDisconnect",
    "Exchange",
    "ExitSignal",
    "Gone",
    "Limiter",
    "body_expected",
    "call",
    "chained_signals",
    "exchange_of",
    "failure_of",
    "in_thread",
    "is_async",
    "owner_of",
    "shielded",
    "strays_fail",
]
