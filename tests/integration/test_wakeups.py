"""The connection that listens for news: what its loss leaves behind."""

import asyncio
import socket
from contextlib import ExitStack, closing

from sqlalchemy import Engine

from libs.web.wakeups import PostgresListener, Wakeups

_KILL = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
           WHERE application_name = 'octavo-listener' AND datname = current_database()"""
_WAIT_S = 20.0


def test_a_socket_that_gets_the_number_of_a_lost_connection_is_read(postgres_url: str, engine: Engine) -> None:
    """It hung, whosever it was: the request of a client, or the one passed on to an inference service."""

    async def run() -> list[bytes]:
        listener = PostgresListener(postgres_url, "news", Wakeups())
        listening = asyncio.create_task(listener.run())
        await listener.connected.wait()
        with engine.connect() as connection:
            assert connection.exec_driver_sql(_KILL).scalar()
        while listener.connected.is_set():
            await asyncio.sleep(0)
        with ExitStack() as opened:  # all stay open, so that each pair gets other numbers than the one before
            heard = [await _sent_and_read(opened) for _ in range(4)]
        listening.cancel()
        return heard

    assert asyncio.run(asyncio.wait_for(run(), _WAIT_S)) == [b"hello"] * 4


async def _sent_and_read(opened: ExitStack) -> bytes:
    """What comes out of a new pair of sockets."""
    near, far = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=near)
    opened.enter_context(closing(far))
    opened.enter_context(closing(writer))
    far.sendall(b"hello")
    return await reader.read(5)
