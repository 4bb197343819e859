"""Server-sent events from rows with a sequence number: resumable by `Last-Event-ID` through any restart."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse
from starlette.types import Message, Send

from libs.web.problems import FieldProblem, UnprocessableError
from libs.web.wakeups import Wakeups

log = structlog.get_logger("octavo.sse")
MAX_SEQ = 2**63 - 1


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One event; `seq` is its id on the wire."""

    seq: int
    kind: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Batch:
    """Events in order. `more`: others are stored already; `ended`: none will ever follow these."""

    events: Sequence[StreamEvent]
    more: bool
    ended: bool


@dataclass(frozen=True, slots=True)
class StreamTimes:
    """The clocks of a stream, in seconds.

    Attributes:
        heartbeat_s: a comment is sent, and the rows are looked at, when nothing happened for so long.
        gather_s: after news arrives, wait so long for more, so that a burst is one read.
        send_s: a client that takes longer to take a chunk is cut off; it resumes by `Last-Event-ID`.
    """

    heartbeat_s: float = 15.0
    gather_s: float = 0.05
    send_s: float = 30.0


def last_event_id(header: str | None, after: int) -> int:
    """Where a stream starts: after the event of the header, else after `after`.

    Raises:
        UnprocessableError: the header is not a sequence number.
    """
    if header is None or header == "":
        return after
    if not re.fullmatch(r"[0-9]{1,18}", header):
        message = "Last-Event-ID is the id of an event of this stream, a number."
        field = FieldProblem(pointer="/Last-Event-ID", message=message, location="header")
        raise UnprocessableError(message, errors=[field])
    return int(header)


def encode_event(event: StreamEvent) -> bytes:
    """The event on the wire. JSON has no raw line breaks, so one data line is enough."""
    data = json.dumps(event.data, separators=(",", ":"))
    return f"id: {event.seq}\nevent: {event.kind}\ndata: {data}\n\n".encode()


END = b"event: end\ndata: {}\n\n"
"""Sent when no event can follow: the client closes instead of connecting again."""
HEARTBEAT = b": heartbeat\n\n"


class EventStream(StreamingResponse):
    """Streams the events of `key` after `after`: what is stored first, then each as it comes.

    `read(after)` returns the next rows and runs in a thread. Memory a stream holds: one batch.
    """

    media_type = "text/event-stream"

    def __init__(
        self, wakeups: Wakeups, key: str, read: Callable[[int], Batch], after: int, times: StreamTimes | None = None
    ) -> None:
        self._wakeups, self._key, self._read, self._after = wakeups, key, read, after
        self._times = times or StreamTimes()
        self._events = self._chunks()
        super().__init__(self._events, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})

    async def stream_response(self, send: Send) -> None:
        """Send events until the client has gone, or does not read for `StreamTimes.send_s`: then it is cut off."""

        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(self._times.send_s):
                await send(message)

        try:
            await super().stream_response(send_in_time)
        except TimeoutError:
            log.info("cut off an event stream whose client does not read", key=self._key)
        finally:
            await self._events.aclose()

    async def _chunks(self) -> AsyncGenerator[bytes]:
        after, times = self._after, self._times
        with self._wakeups.subscription(self._key) as news:
            yield b"retry: 1000\n\n"
            while not self._wakeups.closed:
                news.clear()
                batch = await run_in_threadpool(self._read, after)
                if batch.events:
                    yield b"".join(encode_event(event) for event in batch.events)
                    after = batch.events[-1].seq
                if batch.ended:
                    yield END
                    return
                if batch.more:
                    continue
                if await _in_time(news, times.heartbeat_s):
                    await asyncio.sleep(times.gather_s)
                else:
                    yield HEARTBEAT


async def _in_time(news: asyncio.Event, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            await news.wait()
    except TimeoutError:
        return False
    return True
