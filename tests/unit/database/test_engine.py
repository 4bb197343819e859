"""Connections: UTC, JSON that Postgres takes, transactions that end, sessions that cannot hold a lock for ever."""

from collections.abc import Callable, Iterator

import psycopg
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from libs.database.engine import SILENCE, each_statement, is_transient, make_engine, read_only, transaction
from libs.database.tables import DEFAULT_PROJECT_ID, Project
from libs.database.triggers import EVENTS_CHANNEL, OUTBOX_CHANNEL
from tests.support.specs import submitted
from tests.support.waiting import until


def test_times_come_in_utc(engine: Engine):
    with transaction(engine) as session:
        assert session.get_one(Project, DEFAULT_PROJECT_ID).created_at.utcoffset().total_seconds() == 0


def test_block_that_raises_leaves_nothing(engine: Engine):
    def fail_halfway() -> None:
        with transaction(engine) as session:
            session.add(Project(name="other"))
            session.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    with transaction(engine) as session:
        assert session.query(Project).count() == 1


@pytest.fixture
def one_connection(postgres_url: str) -> Iterator[Engine]:
    engine = make_engine(postgres_url, pool_size=1, max_overflow=0)
    yield engine
    engine.dispose()


def test_a_write_in_a_read_only_transaction_is_refused_and_the_next_one_may_write(one_connection: Engine):
    with pytest.raises(DBAPIError, match="read-only transaction"), read_only(one_connection) as session:
        session.execute(text("UPDATE projects SET name = 'other'"))
    with transaction(one_connection) as session:
        session.execute(text("UPDATE projects SET name = 'other'"))


def test_each_statement_stands_by_itself_and_the_next_transaction_does_not(one_connection: Engine):
    rename = text("UPDATE projects SET name = :name")

    def fail_after(execute: Callable[..., object], name: str) -> None:
        execute(rename, {"name": name})
        raise RuntimeError

    with pytest.raises(RuntimeError), each_statement(one_connection) as connection:
        fail_after(connection.execute, "kept")
    with pytest.raises(RuntimeError), transaction(one_connection) as session:
        fail_after(session.execute, "lost")
    with read_only(one_connection) as session:
        assert session.scalar(text("SELECT name FROM projects")) == "kept"


def test_json_without_a_number_for_it_is_stored_as_text(engine: Engine, db):
    job = submitted(db)
    job.result = {"metrics": {"loss": float("nan"), "best": float("-inf"), "plain": 0.5}}
    db.commit()
    db.refresh(job)
    assert job.result == {"metrics": {"loss": "NaN", "best": "-Infinity", "plain": 0.5}}


def backend_of(engine: Engine) -> int:
    """Which session of Postgres the pool gives."""
    with engine.connect() as connection:
        return connection.execute(text("SELECT pg_backend_pid()")).scalar_one()


def test_connection_is_replaced_when_postgres_ended_it_and_only_then(engine: Engine, postgres_url: str):
    with engine.connect() as connection:
        connection.execute(text("LISTEN octavo_news"))
        connection.commit()
    first = backend_of(engine)
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as other:
        other.execute("NOTIFY octavo_news")
        assert backend_of(engine) == first
        ended = other.execute("SELECT pg_terminate_backend(%s, 10000)", [first]).fetchone()
    assert ended == (True,)
    assert backend_of(engine) != first


def test_session_that_falls_silent_in_a_transaction_is_ended(postgres_url: str, engine: Engine):
    silent = make_engine(postgres_url, idle_timeout_s=0.05)
    with silent.connect() as connection:
        connection.execute(text("SELECT * FROM projects FOR UPDATE"))
        skipping = text("SELECT id FROM projects FOR UPDATE SKIP LOCKED")

        def unlocked() -> list[object]:
            with transaction(engine) as session:
                return session.execute(skipping).all()

        until(unlocked, "the lock was given up", 10)
        with pytest.raises(DBAPIError) as ended:
            connection.execute(text("SELECT 1"))
        assert is_transient(ended.value)
        connection.invalidate()
    silent.dispose()


def test_submitting_notifies_the_relay_and_the_event_streams(postgres_url: str, db):
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as listening:
        listening.execute(f"LISTEN {OUTBOX_CHANNEL}")
        listening.execute(f"LISTEN {EVENTS_CHANNEL}")
        job = submitted(db)
        heard = {(note.channel, note.payload) for note in listening.notifies(timeout=10, stop_after=2)}
    assert heard == {(OUTBOX_CHANNEL, ""), (EVENTS_CHANNEL, str(job.id))}


def test_a_text_with_a_nul_is_stored_with_another_character_for_it(db):
    text = "a\0b\\u0000c\\\0\0"
    job = submitted(db)
    job.error = {"\0": [text]}
    db.commit()
    db.refresh(job)
    assert job.error == {"\ufffd": [text.replace("\0", "\ufffd")]}


def test_a_network_that_falls_silent_is_noticed(engine: Engine):
    with engine.connect() as connection:
        asked = connection.connection.driver_connection.info.get_parameters()
    assert {name: asked[name] for name in SILENCE} == {name: str(value) for name, value in SILENCE.items()}
