"""Connections to Postgres, and the one place a transaction is opened and ended.

Whoever opens a transaction ends it: functions that take a `Session` never commit.
"""

import re
import select
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from pydantic_core import to_json
from sqlalchemy import Connection, CursorResult, Engine, Executable, create_engine, event
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.orm import Session

from libs.settings import platform_settings

SILENCE: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,  # ms
}
"""What every connection asks of libpq: a server or a network that falls silent is noticed within half a minute. By the
system's own settings that takes a quarter of an hour, or two hours where nothing is being sent."""


def make_engine(
    url: str | None = None,
    *,
    application: str = "octavo",
    pool_size: int = 5,
    max_overflow: int = 10,
    statement_timeout_s: float = 30.0,
    idle_timeout_s: float = 30.0,
) -> Engine:
    """A pool of connections whose times are in UTC; one that Postgres ended is replaced when it is next taken.

    Args:
        url: SQLAlchemy URL; the settings' `database_url` when left out.
        application: shown by Postgres in `pg_stat_activity`.
        pool_size: connections kept open; `max_overflow` more are opened under load.
        statement_timeout_s: Postgres ends a statement that takes longer, so that no lock is held for ever.
        idle_timeout_s: Postgres ends a session that leaves its transaction open for longer without a word: that of a
            frozen process, or of a machine that vanished.
    """
    engine = create_engine(
        url or platform_settings().database_url.get_secret_value(),
        pool_size=pool_size,
        max_overflow=max_overflow,
        json_serializer=_to_json,
        connect_args={
            **SILENCE,
            "application_name": application,
            "options": f"-c timezone=UTC -c statement_timeout={int(statement_timeout_s * 1000)} "
            f"-c idle_in_transaction_session_timeout={int(idle_timeout_s * 1000)}",
        },
    )

    @event.listens_for(engine, "checkout")
    def check_alive(connection: psycopg.Connection, *_: object) -> None:
        """Ask Postgres only when it has said something unasked: a session that it ends, it ends with a word."""
        try:
            if connection.closed or _has_news(connection.fileno()):
                engine.dialect.do_ping(connection)  # type: ignore[arg-type]
        except psycopg.Error as error:
            raise DisconnectionError from error

    return engine


def _has_news(descriptor: int) -> bool:
    """Whether there is something to read, or the other side has closed."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


def _to_json(value: Any) -> str:
    """JSON that a JSONB column takes.

    NaN and infinities become strings, as JSON has no such numbers; a NUL in a text, which Postgres has not, becomes
    U+FFFD.
    """
    text = to_json(value, inf_nan_mode="strings").decode()
    return _NUL.sub(r"\1\\ufffd", text) if r"\u0000" in text else text


def is_transient(error: DBAPIError) -> bool:
    """Whether Postgres was away, or ended the session or the statement: the same again may work.

    Not transient: what it says about the data itself, such as a value that does not fit.
    """
    return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)


def session(engine: Engine) -> Session:
    """A session whose objects stay readable after its transaction has ended."""
    return Session(engine, expire_on_commit=False)


def execute_plainly(session: Session, statement: Executable, parameters: Mapping[str, Any]) -> CursorResult[Any]:
    """Run a statement of columns, not objects, without the ORM's part, which costs a third of a short statement.

    What waits in the session is written first, as before any other of its statements.
    """
    session.flush()
    return session.connection().execute(statement, parameters)


@contextmanager
def transaction(engine: Engine) -> Iterator[Session]:
    """One transaction: committed when the block ends, rolled back when it raises."""
    with session(engine) as opened, opened.begin():
        yield opened


@contextmanager
def each_statement(engine: Engine) -> Iterator[Connection]:
    """A connection on which each statement is a transaction of its own: one trip to Postgres in place of three."""
    with engine.connect() as opened:
        yield opened.execution_options(isolation_level="AUTOCOMMIT")


@contextmanager
def read_only(engine: Engine) -> Iterator[Session]:
    """One read-only transaction: a write in it is an error of Postgres."""
    with transaction(engine) as opened:
        # An option of the connection: an engine with the option, made each time, costs as much as a short statement.
        opened.connection(execution_options={"postgresql_readonly": True})
        yield opened
