"""TLS as a `Pipe` over another pipe, the same on every loop, with `ssl.MemoryBIO`.

asyncio's own TLS cannot end only one side of a connection, and waits half a minute for a close_notify.
"""

from __future__ import annotations

import ssl
from contextlib import suppress

from .pipes import CHUNK, BytesLike, Pipe, Turns
from .state import ServerState
from .timing import NEVER

__all__ = ["TlsPipe", "secured"]


class TlsPipe:
    """A `Pipe` over another one. It must not be used before `shake_hands` has returned."""

    __slots__ = (
        "_broken",
        "_ended",
        "_finished",
        "_incoming",
        "_object",
        "_outbox",
        "_outgoing",
        "_raw",
        "_turns",
        "client",
        "protocol",
        "secure",
        "server",
    )

    def __init__(self, raw: Pipe, context: ssl.SSLContext) -> None:
        self.client, self.server = raw.client, raw.server
        self.protocol: str | None = None
        self.secure = True
        self._raw = raw
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._turns = Turns()
        self._outbox = b""  # what was pushed while a message was being sent, not encrypted yet
        self._broken = False
        self._ended = False  # True once the client's close_notify has arrived
        self._finished = False

    @property
    def credit(self) -> int:
        """See `Pipe`."""
        return self._raw.credit

    async def shake_hands(self) -> None:
        """Do the TLS handshake with the client.

        :raises OSError: the client has gone, or the handshake has failed (ssl.SSLError is an OSError).
        """
        raw = self._raw
        while True:
            try:
                self._object.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._write_out()
            finally:
                self._push_out()  # also sends the alert after a failure
            while (data := raw.take()) is None:
                await raw.wait()
            if not data:
                raise ConnectionResetError("the client has left in the handshake")
            self._incoming.write(data)
        self.protocol = self._object.selected_alpn_protocol()

    def take(self) -> bytes | None:
        """See `Pipe`. What arrives after `finish` is not decrypted."""
        while not self._finished:
            if self._ended:
                return b""
            if self._incoming.pending or self._object.pending():  # otherwise reading would raise
                data = self._decrypt()
                if data is not None:
                    self._ended = not data
                    return data
            raw = self._raw.take()
            if not raw:  # the end even without close_notify: HTTP tells if something is missing
                return raw
            self._incoming.write(raw)
        return self._raw.take()

    def _decrypt(self) -> bytes | None:
        """Return what can be decrypted of what has arrived; None if there is nothing."""
        try:
            return self._object.read(CHUNK)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLError as error:
            raise ConnectionResetError(f"TLS: {error.reason}") from error
        finally:
            self._push_out()

    async def wait(self) -> None:
        """See `Pipe`."""
        await self._raw.wait()

    def wake(self) -> None:
        """See `Pipe`."""
        self._raw.wake()

    async def yield_(self) -> None:
        """See `Pipe`."""
        await self._raw.yield_()

    async def write(self, *parts: BytesLike, more: bool = False) -> None:
        """See `Pipe`. A slice is encrypted only when the one before it was sent."""
        if self._turns.taken:
            await self._turns.wait()
        else:
            self._turns.take()
        try:
            for part in parts:
                if len(part) <= CHUNK:
                    await self._write_slice(part, more)
                    continue
                view = memoryview(part)
                for at in range(0, len(view), CHUNK):
                    await self._write_slice(view[at : at + CHUNK], more)
            while self._outbox:
                outbox, self._outbox = self._outbox, b""
                await self._write_slice(outbox, more)
        except BaseException:
            self._broken = True
            raise
        finally:
            self._turns.pass_on()

    async def _write_slice(self, part: BytesLike, more: bool) -> None:
        if self._raw.credit <= 0:
            await self._raw.yield_()
        self._encrypt(part)
        await self._write_out(more)

    def _encrypt(self, part: BytesLike) -> None:
        if self._broken:
            raise ConnectionAbortedError("an earlier message was not sent to its end")
        if not part:
            return
        try:
            self._object.write(part)
        except ssl.SSLError as error:
            raise ConnectionResetError(f"TLS: {error.reason}") from error

    async def _write_out(self, more: bool = False) -> None:
        if self._outgoing.pending:
            await self._raw.write(self._outgoing.read(), more=more)

    def _push_out(self) -> None:
        if self._outgoing.pending:
            self._raw.push(self._outgoing.read())

    def push(self, data: bytes) -> None:
        """See `Pipe`."""
        if self._turns.taken:
            self._outbox += data
            if len(self._outbox) > CHUNK:
                self.abort()
        else:
            with suppress(OSError):  # the next read or write raises it
                self._encrypt(data)
                self._push_out()

    def finish(self) -> None:
        """See `Pipe`."""
        self._say_end()
        self._raw.finish()

    def _say_end(self) -> None:
        """Send close_notify. The client's is not waited for, because HTTP itself tells where its messages end."""
        if not (self._finished or self._broken):
            self._finished = True
            with suppress(ssl.SSLError):
                self._object.unwrap()
            self._push_out()

    def close(self) -> None:
        """See `Pipe`."""
        self._say_end()
        self._raw.close()

    def abort(self) -> None:
        """See `Pipe`."""
        self._finished = True
        self._raw.abort()

    def stalled(self, now: float) -> bool:
        """See `Pipe`."""
        return self._raw.stalled(now)

    def hung_up(self) -> bool:
        """See `Pipe`."""
        return self._raw.hung_up()


class _Handshake:
    """A connection during its TLS handshake, which has a deadline."""

    __slots__ = ("_deadline", "_pipe")

    def __init__(self, pipe: TlsPipe, deadline: float) -> None:
        self._pipe = pipe
        self._deadline = deadline

    def tick(self, now: float) -> None:
        """See `Timed`."""
        if now >= self._deadline:
            self._pipe.abort()

    def shut_down(self) -> None:
        """See `Served`."""
        self._pipe.abort()

    def cut(self) -> None:
        """See `Served`."""
        self._pipe.abort()


async def secured(state: ServerState, raw: Pipe, context: ssl.SSLContext | None) -> Pipe | None:
    """Return `raw` without TLS; otherwise do the handshake, and return a TLS pipe, or None if it has failed."""
    if context is None:
        return raw
    pipe = TlsPipe(raw, context)
    limit = state.limits.handshake
    shaking = _Handshake(pipe, state.ticker.now + limit if limit else NEVER)
    state.add(shaking)
    try:
        await pipe.shake_hands()
        return pipe
    except OSError:
        raw.close()
        return None
    except BaseException:
        raw.abort()
        raise
    finally:
        state.discard(shaking)
