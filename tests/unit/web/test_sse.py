import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.web.problems import UnprocessableError
from libs.web.sse import END, HEARTBEAT, Batch, EventStream, StreamEvent, StreamTimes, encode_event, last_event_id
from libs.web.wakeups import Wakeups

pytestmark = pytest.mark.anyio
QUICK = StreamTimes(heartbeat_s=30, gather_s=0, send_s=30)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Rows:
    """A job's events in memory."""

    def __init__(self, count: int = 0, page: int = 100) -> None:
        self.events = [StreamEvent(seq, "log", {"n": seq}) for seq in range(1, count + 1)]
        self.page, self.ended, self.reads = page, False, 0

    def add(self) -> None:
        self.events.append(StreamEvent(len(self.events) + 1, "log", {"n": len(self.events) + 1}))

    def read(self, after: int) -> Batch:
        self.reads += 1
        found = self.events[after : after + self.page]
        more = after + len(found) < len(self.events)
        return Batch(found, more=more, ended=self.ended and not more)


async def chunks(stream: EventStream) -> AsyncIterator[bytes]:
    async for chunk in stream.body_iterator:
        yield chunk if isinstance(chunk, bytes) else str(chunk).encode()


def ids(sent: bytes) -> list[int]:
    return [int(line.removeprefix(b"id: ")) for line in sent.split(b"\n") if line.startswith(b"id: ")]


async def everything(stream: EventStream) -> bytes:
    return b"".join([chunk async for chunk in chunks(stream)])


@given(st.integers(0, 30), st.integers(0, 35), st.integers(1, 10))
def test_a_stream_sends_every_later_event_once_in_order(count: int, after: int, page: int) -> None:
    rows = Rows(count, page)
    rows.ended = True
    sent = asyncio.run(everything(EventStream(Wakeups(), "job", rows.read, after, QUICK)))
    assert ids(sent) == list(range(after + 1, count + 1))
    assert sent.endswith(END)


async def test_events_come_as_they_happen() -> None:
    wakeups, rows = Wakeups(), Rows(1)
    stream = chunks(EventStream(wakeups, "job", rows.read, 0, QUICK))
    assert await anext(stream) == b"retry: 1000\n\n"
    assert ids(await anext(stream)) == [1]
    waiting = asyncio.ensure_future(anext(stream))
    await until(lambda: len(wakeups) == 1 and rows.reads == 1)
    rows.add()
    wakeups.wake("job")
    assert ids(await waiting) == [2]
    rows.ended = True
    wakeups.wake("job")
    assert await anext(stream) == END
    assert [chunk async for chunk in stream] == []
    assert len(wakeups) == 0


async def test_news_of_other_jobs_wakes_nobody() -> None:
    wakeups, rows = Wakeups(), Rows(0)
    stream = chunks(EventStream(wakeups, "job", rows.read, 0, QUICK))
    await anext(stream)
    waiting = asyncio.ensure_future(anext(stream))
    await until(lambda: rows.reads == 1)
    wakeups.wake("another")
    rows.add()
    assert not waiting.done()
    wakeups.wake_all()
    assert ids(await waiting) == [1]
    assert rows.reads == 2


async def test_silence_is_filled_with_heartbeats() -> None:
    stream = chunks(EventStream(Wakeups(), "job", Rows(0).read, 0, StreamTimes(heartbeat_s=0.01)))
    await anext(stream)
    assert [await anext(stream), await anext(stream)] == [HEARTBEAT, HEARTBEAT]


async def test_closing_ends_a_waiting_stream() -> None:
    wakeups, rows = Wakeups(), Rows(1)
    reading = asyncio.ensure_future(everything(EventStream(wakeups, "job", rows.read, 0, QUICK)))
    await until(lambda: rows.reads == 1)
    wakeups.close()
    assert not (await reading).endswith(END)


async def test_a_client_that_does_not_read_is_cut_off() -> None:
    """Nothing piles up meanwhile: the next rows are read only when the last ones were taken."""
    wakeups, rows = Wakeups(), Rows(10_000, page=10)
    stalled = asyncio.Event()

    async def send(message: dict[str, Any]) -> None:
        if message.get("body", b"").startswith(b"id:"):
            await stalled.wait()

    async def receive() -> dict[str, Any]:
        await stalled.wait()
        return {"type": "http.disconnect"}

    times = StreamTimes(send_s=0.05)
    stream = EventStream(wakeups, "job", rows.read, 0, times)
    async with asyncio.timeout(20):
        await stream({"type": "http", "asgi": {"spec_version": "2.4"}}, receive, send)
    assert rows.reads == 1


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0)


@given(st.integers(1, 10**18), st.dictionaries(st.text(), st.text()))
def test_an_encoded_event_is_three_lines_whatever_it_holds(seq: int, data: dict[str, str]) -> None:
    first, second, third, *rest = encode_event(StreamEvent(seq, "log", data)).split(b"\n")
    assert (first, second, rest) == (f"id: {seq}".encode(), b"event: log", [b"", b""])
    assert json.loads(third.removeprefix(b"data: ")) == data


def test_last_event_id_wins_over_after() -> None:
    assert last_event_id(None, 3) == 3
    assert last_event_id("", 3) == 3
    assert last_event_id("7", 3) == 7


@pytest.mark.parametrize("text", ["x", "-1", "1.5", "9" * 19, "٣"])
def test_a_last_event_id_that_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(UnprocessableError):
        last_event_id(text, 0)
