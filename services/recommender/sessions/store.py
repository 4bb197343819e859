"""Sessions in Valkey: the newest items and the model's state, rebuilt from Postgres whenever they are not there.

Postgres has every event before the cache does, so all of the cache may vanish at any time. A cached session equals
what Postgres would answer, with one exception: when a process is killed, or loses Valkey alone, between its commit
and its append, others may miss those events until it is back, they are sent again, or the session's time to live ends.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby, islice
from time import monotonic
from typing import Any, Protocol, TypeVar
from uuid import UUID, uuid4

import redis
import structlog
from prometheus_client import CollectorRegistry, Counter
from redis.backoff import NoBackoff
from redis.retry import Retry

from services.recommender.memory_settings import MemorySettings
from services.recommender.sessions import scripts

log = structlog.get_logger("octavo.recommender.sessions")
T = TypeVar("T")
_PREFIX = "octavo:session:"
_SEPARATOR = b"\x1f"  # no id may hold a control character
_LEASE_MS = 10_000
_AWAY_S = 1.0
_MOST_STALE = 100_000
_EVERY = "*"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class StoredEvent(Protocol):
    """An event as Postgres has it."""

    id: Any
    item_id: Any
    occurred_at: Any


LoadEvents = Callable[[UUID, str, int], Sequence[StoredEvent]]
"""Project, session and limit → its newest events in Postgres, oldest first."""


@dataclass(frozen=True, slots=True)
class SessionEvent:
    """A committed event of a session."""

    session_id: str
    id: int
    item_id: str
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session at one moment.

    Attributes:
        items: newest item ids, oldest first.
        state: what the model asked for carries after the first `state_after` of `items`; None: compute it from them.
        ticket: what `save_state` wants; empty while the cache is away, and where it has events before `items`.
    """

    items: list[str]
    state: bytes | None = None
    state_after: int = 0
    ticket: str = ""


class SessionStore:
    """The session cache of one process. Safe to use from several threads."""

    def __init__(self, settings: MemorySettings, load: LoadEvents, registry: CollectorRegistry) -> None:
        self._load = load
        self._kept_items = settings.session_items
        self._ttl_ms = int(settings.session_ttl_s * 1000)
        self._client = redis.Redis.from_url(
            settings.session_cache_url,
            socket_timeout=settings.sessions_timeout_s,
            socket_connect_timeout=settings.sessions_timeout_s,
            # Once more on a new connection, if Valkey closed this one; not after a timeout, which would be two.
            retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
        )
        self._read, self._fill, self._append, self._append_and_read, self._save, self._forget = (
            self._client.register_script(text)
            for text in (
                scripts.READ,
                scripts.FILL,
                scripts.APPEND,
                scripts.APPEND_AND_READ,
                scripts.SAVE_STATE,
                scripts.FORGET,
            )
        )
        self._reads = Counter(
            "octavo_recommender_session_reads", "Sessions read, by where they were.", ("source",), registry=registry
        )
        self._lock = threading.Lock()
        self._stale: set[str] = set()
        self._away_until = 0.0

    def read(
        self, project_id: UUID, session_id: str, digest: str = "", new: Sequence[SessionEvent] = ()
    ) -> SessionView:
        """The session, and its state if it is that of the model with this digest.

        Args:
            new: events of it that were committed and that nobody appended; as `append`, in the same trip.

        Raises:
            sqlalchemy.exc.OperationalError: it is not in the cache, and Postgres does not answer.
        """
        key, token = _key(project_id, session_id), uuid4().hex
        fields = self._fields(key, [token, _LEASE_MS, self._ttl_ms, digest], new)
        if fields is not None:
            self._reads.labels("cache").inc()
            return self._view(fields)
        self._reads.labels("postgres").inc()
        events = self._load(project_id, session_id, self._kept_items)
        kept = self._ask(lambda: self._fill(keys=[key], args=[token, *self._filling(events)]), 0)
        return SessionView([event.item_id for event in events], ticket=token if kept else "")

    def append(self, project_id: UUID, events: Iterable[SessionEvent]) -> None:
        """Bring the cache up to date with events that were committed; never raises for a cache that is away."""
        ordered = sorted(events, key=_in_order)
        batches = {_key(project_id, name): list(group) for name, group in groupby(ordered, lambda one: one.session_id)}
        if not batches or self._ask(lambda: self._append_all(batches), False):
            return
        self._distrust(batches)

    def save_state(self, project_id: UUID, session_id: str, view: SessionView, digest: str, state: bytes) -> None:
        """Keep the state that the model with this digest has after all items of `view`; best effort.

        It is dropped when the session was changed in any way but by newer events since `view` was read.
        """
        if view.ticket:
            key, after = _key(project_id, session_id), len(view.items)
            self._ask(lambda: self._save(keys=[key], args=[view.ticket, digest, state, after]), 0)

    def forget(self, project_id: UUID, session_ids: Iterable[str]) -> None:
        """Drop sessions whose events were deleted, and keep nothing of them for `_LEASE_MS`."""
        keys = [_key(project_id, session_id) for session_id in session_ids]
        if keys and not self._ask(lambda: self._forget_all(keys), False):
            self._distrust(keys)

    def drop(self, project_id: UUID, session_ids: Iterable[str]) -> None:
        """Drop sessions that may lack committed events; who reads them next finds them in Postgres."""
        keys = [_key(project_id, session_id) for session_id in session_ids]
        if keys:
            self._distrust(keys)
            self._ask(lambda: None, None)  # it drops them before it asks: other processes would still believe them

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _fields(self, key: str, asked: list[Any], new: Sequence[SessionEvent]) -> Sequence[bytes | None] | None:
        """What the cache has of a session, once it has the new events; None: nothing."""
        fields: Sequence[bytes | None] | None
        if not new:
            fields = self._ask(lambda: self._read(keys=[key], args=asked), None)
            return fields
        args = [*self._appending(sorted(new, key=_in_order)), *asked]
        has_answered, fields = self._ask(lambda: (True, self._append_and_read(keys=[key], args=args)), (False, None))
        if not has_answered:
            self._distrust([key])
        return fields

    def _filling(self, events: Sequence[StoredEvent]) -> list[Any]:
        joined = _join(event.item_id for event in events)
        newest = (_microseconds(events[-1].occurred_at), events[-1].id) if events else (0, 0)
        return [joined, len(events), *newest, self._ttl_ms]

    def _view(self, fields: Sequence[bytes | None]) -> SessionView:
        joined, count, token, state, after = fields
        items = [item.decode() for item in (joined or b"").split(_SEPARATOR)] if int(count or 0) else []
        if len(items) > self._kept_items:  # Postgres would not show the first of them: no state counts them either
            return SessionView(items[-self._kept_items :])
        return SessionView(items, state, int(after or 0), (token or b"").decode())

    def _forget_all(self, keys: list[str]) -> bool:
        with self._client.pipeline(transaction=False) as pipeline:
            for key in keys:
                self._forget(keys=[key], args=[_LEASE_MS], client=pipeline)
            pipeline.execute()
        return True

    def _append_all(self, batches: dict[str, list[SessionEvent]]) -> bool:
        if len(batches) == 1:  # a pipeline asks first whether Valkey knows the script
            ((key, events),) = batches.items()
            self._append(keys=[key], args=self._appending(events))
            return True
        with self._client.pipeline(transaction=False) as pipeline:
            for key, events in batches.items():
                self._append(keys=[key], args=self._appending(events), client=pipeline)
            pipeline.execute()
        return True

    def _appending(self, events: Sequence[SessionEvent]) -> list[Any]:
        marks = [mark for one in (events[0], events[-1]) for mark in (_microseconds(one.occurred_at), one.id)]
        joined = _join(event.item_id for event in events)
        return [joined, len(events), *marks, 2 * self._kept_items, self._ttl_ms]

    def _ask(self, call: Callable[[], T], otherwise: T) -> T:
        """What Valkey says; `otherwise` while it is away, which costs one timeout a second and not one a request."""
        if monotonic() < self._away_until:
            return otherwise
        try:
            self._drop_stale()
            return call()
        except redis.RedisError as error:
            self._away_until = monotonic() + _AWAY_S
            log.warning("the session cache is away; sessions come from Postgres", error=str(error)[:300])
            return otherwise

    def _distrust(self, keys: Iterable[str]) -> None:
        """Remember what the cache has missed; it is dropped before anything else is asked of it."""
        with self._lock:
            self._stale.update(keys)
            if len(self._stale) > _MOST_STALE:
                self._stale = {_EVERY}

    def _drop_stale(self) -> None:
        if not self._stale:
            return
        with self._lock:  # nobody reads before what is stale has gone
            missed = self._client.scan_iter(f"{_PREFIX}*", 1000) if _EVERY in self._stale else iter(self._stale)
            while batch := list(islice(missed, 1000)):
                self._client.unlink(*batch)
            self._stale = set()


def _in_order(event: SessionEvent) -> tuple[str, datetime, int]:
    return event.session_id, event.occurred_at, event.id


def _key(project_id: UUID, session_id: str) -> str:
    return f"{_PREFIX}{project_id.hex}:{session_id}"


def _join(items: Iterable[str]) -> bytes:
    return _SEPARATOR.join(item.encode() for item in items)


def _microseconds(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)
