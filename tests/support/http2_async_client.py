"""A client of HTTP/2 for tests in the server's own loop: h2's, and frames by hand where it would not send them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import anyio
import anyio.abc
import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
from hyperframe.frame import Frame, GoAwayFrame

from .http2_client import WholeFrames
from .process import PATIENCE

Headers = Iterable[tuple[bytes, bytes]]


@dataclass
class Answer:
    """What has come on a stream."""

    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""
    trailers: dict[bytes, bytes] = field(default_factory=dict)
    interim: list[dict[bytes, bytes]] = field(default_factory=list)
    complete: bool = False
    reset: int | None = None

    @property
    def over(self) -> bool:
        return self.complete or self.reset is not None


class AsyncHttp2Client:
    """One connection; `answers` by stream. With `window`, so many bytes may be under way on a stream."""

    def __init__(self, stream: anyio.abc.SocketStream, window: int, *, reads: bool = True) -> None:
        self.stream = stream
        self.answers: defaultdict[int, Answer] = defaultdict(Answer)
        self._whole = WholeFrames()
        self.gone = False
        self.pongs = 0
        self._mute = False
        self.reads = reads
        """False: no window is opened again."""
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
                validate_inbound_headers=True,
            )
        )
        self.h2.local_settings = h2.settings.Settings(
            client=True,
            initial_values={h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window},
        )
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(1 << 28)

    @property
    def goaway(self) -> GoAwayFrame | None:
        return self._whole.goaway

    async def flush(self, *frames: Frame) -> None:
        """Send what h2 has, and frames of one's own behind it."""
        data = self.h2.data_to_send() + b"".join(frame.serialize() for frame in frames)
        await self.send_raw(data)

    async def send_raw(self, data: bytes) -> None:
        if self._mute or not data:
            return
        with anyio.fail_after(PATIENCE):
            try:
                await self.stream.send(data)
            except anyio.BrokenResourceError:
                self.gone = True

    async def ask(
        self, path: str = "/", method: str = "GET", *, end: bool = True, more: Headers = ()
    ) -> int:
        """Send the head of a request; the number of its stream."""
        headers = [(b":method", method.encode()), (b":path", path.encode()), *PSEUDO, *more]
        return await self.ask_with(headers, end=end)

    async def ask_with(self, headers: Headers, *, end: bool = True) -> int:
        """Send headers as they are."""
        number = self.h2.get_next_available_stream_id()
        self.h2.send_headers(number, list(headers), end_stream=end)
        await self.flush()
        return number

    async def send(self, number: int, data: bytes, *, end: bool = False) -> None:
        """Send a body, as far as the windows are opened."""
        while data:
            window = self.h2.local_flow_control_window(number)
            size = min(len(data), window, self.h2.max_outbound_frame_size)
            if size:
                self.h2.send_data(number, data[:size])
                data = data[size:]
                await self.flush()
            else:
                await self.read()
        if end:
            self.h2.end_stream(number)
            await self.flush()

    async def get(self, path: str = "/", method: str = "GET") -> Answer:
        """Ask, and read the answer to its end."""
        return await self.answer(await self.ask(path, method))

    async def answer(self, number: int) -> Answer:
        """Read until a stream is over, or the connection."""
        await self.until(lambda: self.answers[number].over)
        return self.answers[number]

    async def until(self, condition: Callable[[], object]) -> None:
        """Read until something is so, or the connection is over."""
        while not condition() and not self.gone:
            await self.read()

    async def read_to_the_end(self) -> None:
        await self.until(lambda: False)

    async def read(self) -> None:
        """Read once."""
        with anyio.fail_after(PATIENCE):
            try:
                data = await self.stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                self.gone = True
                return
        for frame in self._whole.cut(data):
            for event in self.h2.receive_data(frame):
                self._handle(event)
        await self.flush()

    def _handle(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.PingAckReceived):
            self.pongs += 1
        number = getattr(event, "stream_id", None)
        if not number:
            return
        answer = self.answers[number]
        if isinstance(event, h2.events.ResponseReceived):
            answer.headers = dict(event.headers)
            answer.status = int(answer.headers.pop(b":status"))
        elif isinstance(event, h2.events.InformationalResponseReceived):
            answer.interim.append(dict(event.headers))
        elif isinstance(event, h2.events.TrailersReceived):
            answer.trailers = dict(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            answer.body += event.data
            if self.reads:
                self.h2.acknowledge_received_data(event.flow_controlled_length, number)
        elif isinstance(event, h2.events.StreamEnded):
            answer.complete = True
        elif isinstance(event, h2.events.StreamReset):
            # h2 resets a stream again for what was under way when it was reset.
            answer.reset = event.error_code if answer.reset is None else answer.reset

    async def half_close(self) -> None:
        """Send nothing more."""
        await self.stream.send_eof()
        self._mute = True


PSEUDO = [(b":scheme", b"http"), (b":authority", b"example.org")]
