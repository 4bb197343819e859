"""News from Postgres, fanned out in memory: one LISTEN connection a process, any number of waiters.

A wake-up carries no data. Who is woken reads the rows it has not seen, so a lost or doubled notification costs
nothing, and a waiter that is slow holds one flag and no queue.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import structlog
from psycopg import sql
from sqlalchemy import make_url

from libs.database.engine import SILENCE

log = structlog.get_logger("octavo.wakeups")
_RECONNECT_S = (0.1, 0.5, 1.0, 2.0, 5.0)


class Wakeups:
    """Who waits for news of which key. All of it on one event loop."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)
        self.closed = False

    @contextmanager
    def subscription(self, key: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever there may be news of `key`; the waiter clears it before it reads."""
        news = asyncio.Event()
        self._waiting[key].add(news)
        try:
            yield news
        finally:
            self._waiting[key].discard(news)
            if not self._waiting[key]:
                del self._waiting[key]

    def wake(self, key: str) -> None:
        """There may be news of `key`."""
        for news in self._waiting.get(key, ()):
            news.set()

    def wake_all(self) -> None:
        """There may be news of anything: notifications may have been missed."""
        for waiters in self._waiting.values():
            for news in waiters:
                news.set()

    def close(self) -> None:
        """End all waiting: the process is about to stop."""
        self.closed = True
        self.wake_all()

    def __len__(self) -> int:
        return sum(len(waiters) for waiters in self._waiting.values())


class PostgresListener:
    """Turns NOTIFY on one channel, payload = key, into wake-ups; connects again whenever the connection is lost."""

    def __init__(self, database_url: str, channel: str, wakeups: Wakeups) -> None:
        self._conninfo = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
        self._channel = channel
        self._wakeups = wakeups
        self.connected = asyncio.Event()

    async def run(self) -> None:
        """Listen until cancelled."""
        failures = 0
        while True:
            try:
                await self._listen()
            except psycopg.Error as error:
                log.warning("lost the connection that listens for events", error=str(error).strip())
            failures = 0 if self.connected.is_set() else failures + 1
            self.connected.clear()
            await asyncio.sleep(_RECONNECT_S[min(failures, len(_RECONNECT_S) - 1)])

    async def _listen(self) -> None:
        connection = await psycopg.AsyncConnection.connect(
            self._conninfo, autocommit=True, application_name="octavo-listener", **SILENCE
        )
        async with connection:
            await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._channel)))
            self.connected.set()
            self._wakeups.wake_all()
            await self._hand_on(connection)

    async def _hand_on(self, connection: psycopg.AsyncConnection) -> None:
        """Wake who waits, until the connection is lost.

        Read as it comes instead of by `connection.notifies()`, which registers with the event loop anew for each
        notification: with many jobs that was a tenth of all the process did.

        Raises:
            psycopg.Error: the connection is lost.
        """
        loop, pgconn, descriptor = asyncio.get_running_loop(), connection.pgconn, connection.fileno()
        lost = loop.create_future()

        def read() -> None:
            try:
                pgconn.consume_input()
                while (notification := pgconn.notifies()) is not None:
                    self._wakeups.wake(notification.extra.decode())
            except psycopg.Error as error:
                # At once: libpq has closed it, and the next socket gets its number and would wait for this reader.
                loop.remove_reader(descriptor)
                lost.set_exception(error)

        loop.add_reader(descriptor, read)
        try:
            read()  # what came with the answer to LISTEN
            await lost
        except asyncio.CancelledError:
            loop.remove_reader(descriptor)
            raise
