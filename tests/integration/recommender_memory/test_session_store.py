"""The session cache says what Postgres would say, whatever is appended, forgotten, evicted or away."""

import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import redis
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from sqlalchemy import Engine

from libs.database.engine import session, transaction
from libs.database.tables import DEFAULT_PROJECT_ID, Project
from services.local.valkey import LocalValkey
from services.recommender.events.schemas import Event
from services.recommender.events.service import ingest, store
from services.recommender.history import repository
from services.recommender.history.repository import Actor
from services.recommender.memory import Memory
from services.recommender.memory_settings import MemorySettings
from services.recommender.sessions.store import SessionEvent, SessionStore
from tests.support.memory import memory_settings, remembering
from tests.support.postgres import open_folder
from tests.support.waiting import until

PROJECT = DEFAULT_PROJECT_ID
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def appended(memory: Memory, *items: str, second: int, project_id=PROJECT) -> list[str]:
    """What one trip that brings new events answers."""
    at = BEGIN + timedelta(seconds=second)
    events = [Event(item_id=item, session_id="s", timestamp=at) for item in items]
    return memory.sessions.read(project_id, "s", new=store(memory, project_id, events, "append")).items


def send(memory: Memory, *items: str, second: int = 0, project_id=PROJECT, session_id: str = "s") -> None:
    at = (BEGIN + timedelta(seconds=second)).isoformat()
    events = [{"item_id": item, "session_id": session_id, "timestamp": at} for item in items]
    ingest(memory, project_id, json.dumps(events).encode(), "application/json")


def in_postgres(memory: Memory, limit: int = 5, project_id=PROJECT) -> list[str]:
    with session(memory.engine) as opened:
        rows = repository.newest(opened, project_id, Actor("session", "s"), limit)
    return [row.item_id for row in reversed(rows)]


def reads(memory: Memory, source: str) -> float:
    return memory.sessions._reads.labels(source)._value.get()


@pytest.fixture
def cache(settings: MemorySettings) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(settings.session_cache_url) as client:
        yield client


def test_the_cache_is_database_1_of_the_brokers_server_unless_a_url_is_given():
    made = memory_settings("postgresql+psycopg://x", "redis://:p@127.0.0.1:6379/0")
    assert made.session_cache_url == "redis://:p@127.0.0.1:6379/1"
    for broker, cache in (
        ("redis://127.0.0.1:6379", "redis://127.0.0.1:6379/1"),
        ("rediss://h:1/0?ssl_ca_certs=/etc/ca.pem", "rediss://h:1/1?ssl_ca_certs=/etc/ca.pem"),
    ):
        assert memory_settings("postgresql+psycopg://x", broker).session_cache_url == cache
    elsewhere = memory_settings("postgresql+psycopg://x", "redis://a/0", sessions_url="redis://b/7")
    assert elsewhere.session_cache_url == "redis://b/7"


def test_a_session_is_read_in_postgres_once_and_appended_to(memory: Memory, cache: redis.Redis):
    send(memory, "a", second=1)
    assert memory.sessions.read(PROJECT, "s").items == ["a"]
    send(memory, "b", second=2)
    send(memory, "c", "d", second=2)
    assert memory.sessions.read(PROJECT, "s").items == ["a", "b", "c", "d"]
    assert (reads(memory, "postgres"), reads(memory, "cache")) == (1, 1)
    key = f"octavo:session:{PROJECT.hex}:s"
    assert cache.keys() == [key.encode()]
    assert 3500 < cache.ttl(key) <= 3600


def test_an_event_older_than_the_newest_takes_its_place_in_time(memory: Memory):
    send(memory, "b", second=5)
    assert memory.sessions.read(PROJECT, "s").items == ["b"]
    send(memory, "a", second=1)
    assert memory.sessions.read(PROJECT, "s").items == ["a", "b"]
    assert reads(memory, "postgres") == 2


def test_an_event_that_is_sent_again_mends_a_session_that_missed_it(memory: Memory, monkeypatch: pytest.MonkeyPatch):
    """The process that stored it first was killed before it told the cache."""
    appends = (SessionStore, "append", lambda *_: None)
    for number, first in enumerate((ingested, answered)):
        send(memory, "old", session_id="s", second=number)
        memory.sessions.read(PROJECT, "s")
        with monkeypatch.context() as killed:
            killed.setattr(*appends)
            ingested(memory, f"new{number}")
        assert f"new{number}" not in memory.sessions.read(PROJECT, "s").items
        assert first(memory, f"new{number}") == in_postgres(memory)


def ingested(memory: Memory, item: str) -> list[str]:
    event = {"item_id": item, "session_id": "s", "event_id": item, "timestamp": f"{BEGIN + timedelta(minutes=1)}"}
    ingest(memory, PROJECT, json.dumps(event).encode(), "application/json")
    return memory.sessions.read(PROJECT, "s").items


def answered(memory: Memory, item: str) -> list[str]:
    event = Event(item_id=item, session_id="s", event_id=item, timestamp=BEGIN + timedelta(minutes=1))
    return memory.sessions.read(PROJECT, "s", new=store(memory, PROJECT, [event], "append")).items


def test_a_session_nobody_knows_is_empty_and_another_project_does_not_see_it(memory: Memory):
    assert memory.sessions.read(PROJECT, "s").items == []
    send(memory, "a")
    assert memory.sessions.read(PROJECT, "s").items == ["a"]
    assert memory.sessions.read(uuid4(), "s").items == []


def test_the_state_of_this_model_is_kept_over_new_events_and_no_others(memory: Memory):
    send(memory, "a", "b", second=1)
    view = memory.sessions.read(PROJECT, "s", "digest-1")
    assert (view.items, view.state) == (["a", "b"], None)
    memory.sessions.save_state(PROJECT, "s", view, "digest-1", b"\x00state\xff\x1f")
    send(memory, "c", second=2)
    later = memory.sessions.read(PROJECT, "s", "digest-1")
    assert (later.items, later.state, later.state_after) == (["a", "b", "c"], b"\x00state\xff\x1f", 2)
    assert memory.sessions.read(PROJECT, "s", "digest-2").state is None
    assert memory.sessions.read(PROJECT, "s").state is None


def test_two_versions_keep_their_states_of_one_session_side_by_side(memory: Memory):
    send(memory, "a", second=1)
    view = memory.sessions.read(PROJECT, "s", "old")
    memory.sessions.save_state(PROJECT, "s", view, "old", b"of old")
    memory.sessions.save_state(PROJECT, "s", view, "new", b"of new")
    assert [memory.sessions.read(PROJECT, "s", digest).state for digest in ("old", "new")] == [b"of old", b"of new"]


def test_a_state_of_fewer_events_never_replaces_one_of_more(memory: Memory):
    send(memory, "a", second=1)
    early = memory.sessions.read(PROJECT, "s", "m")
    send(memory, "b", second=2)
    late = memory.sessions.read(PROJECT, "s", "m")
    memory.sessions.save_state(PROJECT, "s", late, "m", b"two")
    memory.sessions.save_state(PROJECT, "s", early, "m", b"one")
    found = memory.sessions.read(PROJECT, "s", "m")
    assert (found.state, found.state_after) == (b"two", 2)


def test_a_state_of_a_session_that_was_put_in_another_order_is_dropped(memory: Memory):
    send(memory, "b", second=5)
    before = memory.sessions.read(PROJECT, "s", "m")
    send(memory, "a", second=1)
    assert memory.sessions.read(PROJECT, "s", "m").items == ["a", "b"]
    memory.sessions.save_state(PROJECT, "s", before, "m", b"of b alone")
    assert memory.sessions.read(PROJECT, "s", "m").state is None


def test_a_state_is_of_the_items_that_are_shown_and_of_no_more(memory: Memory):
    """The cache keeps up to twice `session_items` (5) before it starts anew; a view shows the newest 5."""
    send(memory, *"abcd", second=1)
    memory.sessions.save_state(PROJECT, "s", memory.sessions.read(PROJECT, "s", "m"), "m", b"abcd")
    send(memory, *"efg", second=2)
    view = memory.sessions.read(PROJECT, "s", "m")
    assert (view.items, view.state, view.ticket) == (list("cdefg"), None, "")
    send(memory, *"hij", second=3)
    assert memory.sessions.read(PROJECT, "s", "m").items == list("fghij")
    assert memory.sessions.read(PROJECT, "s", "m").state is None
    send(memory, "k", second=4)
    assert memory.sessions.read(PROJECT, "s", "m").items == list("ghijk")
    assert reads(memory, "postgres") == 2


def store_whose_postgres(settings: MemorySettings, meanwhile: Callable[[SessionStore], None]) -> SessionStore:
    """A store whose reads of Postgres see nothing yet, and are overtaken by what happens meanwhile."""
    made: list[SessionStore] = []

    def load(*_: object) -> list[SessionEvent]:
        meanwhile(made[0])
        return []

    made.append(SessionStore(settings, load, CollectorRegistry()))
    return made[0]


def test_what_was_read_before_an_event_is_not_kept_after_it(settings: MemorySettings, cache: redis.Redis):
    new = SessionEvent("s", 1, "a", BEGIN)
    store = store_whose_postgres(settings, lambda store: store.append(PROJECT, [new]))
    assert store.read(PROJECT, "s").ticket == ""
    assert cache.keys() == []
    store.close()


def test_what_was_read_before_an_erasure_is_not_kept_after_it(settings: MemorySettings, cache: redis.Redis):
    store = store_whose_postgres(settings, lambda store: store.forget(PROJECT, ["s"]))
    assert store.read(PROJECT, "s").ticket == ""
    assert [cache.hkeys(key) for key in cache.scan_iter()] == [[b"token"]]
    store.close()


def test_an_event_committed_before_an_erasure_and_told_after_it_is_not_kept(
    memory: Memory, settings: MemorySettings, cache: redis.Redis
):
    send(memory, "kept", second=1)
    memory.sessions.forget(PROJECT, ["s"])
    assert memory.sessions.read(PROJECT, "s").items == ["kept"]
    memory.sessions.append(PROJECT, [SessionEvent("s", 99, "erased", BEGIN + timedelta(seconds=2))])
    assert memory.sessions.read(PROJECT, "s").items == ["kept"]
    (key,) = cache.keys()
    assert 0 < cache.pttl(key) <= 10_000


@examples(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.sampled_from(["send", "append"]), st.integers(0, 4), st.integers(1, 3)),
            st.just(("read",)),
            st.just(("flush",)),
            st.just(("scripts",)),
        ),
        max_size=14,
    )
)
def test_in_whatever_order_things_happen_the_cache_equals_postgres(
    memory: Memory, cache: redis.Redis, steps: list[tuple]
):
    project_id = uuid4()
    with transaction(memory.engine) as opened:
        opened.add(Project(id=project_id, name=project_id.hex))
    for number, (kind, *arguments) in enumerate(steps):
        if kind == "send":
            second, count = arguments
            send(memory, *(f"{number}.{n}" for n in range(count)), second=second, project_id=project_id)
        elif kind == "append":
            second, count = arguments
            items = appended(memory, *(f"{number}.{n}" for n in range(count)), second=second, project_id=project_id)
            assert items == in_postgres(memory, project_id=project_id)
        elif kind == "read":
            assert memory.sessions.read(project_id, "s").items == in_postgres(memory, project_id=project_id)
        elif kind == "flush":
            cache.flushdb()
        else:
            cache.script_flush()
    assert memory.sessions.read(project_id, "s").items == in_postgres(memory, project_id=project_id)


@pytest.fixture
def valkey() -> Iterator[LocalValkey]:
    with open_folder("octavo-sessions-") as folder:
        server = LocalValkey(folder)
        server.start()
        yield server
        server.stop()


def test_a_cache_that_takes_connections_and_says_nothing_is_waited_for_once(engine: Engine, postgres_url: str):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        settings = memory_settings(postgres_url, url, sessions_url=url, sessions_timeout_s=0.05)
        with remembering(engine, settings) as memory:
            assert memory.sessions.read(PROJECT, "s").items == []
        silent.setblocking(False)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()


def test_a_killed_valkey_costs_no_event_and_no_order(engine: Engine, postgres_url: str, valkey: LocalValkey):
    """Killed between two events, and back with what it knew before: what it missed is dropped before it is asked."""
    settings = memory_settings(postgres_url, valkey.url, sessions_timeout_s=2.0)
    with remembering(engine, settings) as memory, redis.Redis.from_url(settings.session_cache_url) as cache:
        key = f"octavo:session:{PROJECT.hex}:s"
        send(memory, "a", second=1)
        memory.sessions.read(PROJECT, "s")
        known = cache.dump(key)
        os.kill(valkey.process.pid, signal.SIGKILL)
        valkey.process.wait(30)
        send(memory, "b", second=2)
        away = memory.sessions.read(PROJECT, "s", "m")
        assert (away.items, away.ticket) == (["a", "b"], "")
        memory.sessions.save_state(PROJECT, "s", away, "m", b"state")
        assert appended(memory, "c", second=3) == ["a", "b", "c"]
        valkey.stop()
        valkey.start()
        cache.restore(key, 0, known)
        until(lambda: memory.sessions.read(PROJECT, "s").ticket, "the cache is used again")
        view = memory.sessions.read(PROJECT, "s", "m")
        assert (view.items, view.state) == (["a", "b", "c"], None)
        assert reads(memory, "cache") == 1
