"""API keys in memory, refreshed with every look at the deployments: no request waits for Postgres."""

import threading
from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import Engine

from libs.database.api_keys import KnownKey, find_key
from libs.web.auth import Caller, StoredKey


class CachedKeys:
    """A `libs.web.auth.KeyStore`. A revoked key is refused from the next refresh on; a new one is looked up at once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._keys: dict[str, StoredKey] = {}
        self._used: set[UUID] = set()
        self._lock = threading.Lock()

    def replace(self, keys: Iterable[KnownKey]) -> None:
        """These are the valid keys now."""
        self._keys = {key.prefix: _stored(key) for key in keys}

    def knows(self, key: str) -> bool:
        """Whether `find` answers from memory for this key."""
        return key.count("_") == 2 and key.split("_")[1] in self._keys

    def find(self, prefix: str) -> StoredKey | None:
        """The key with this prefix, used now.

        Raises:
            sqlalchemy.exc.OperationalError: it is not known here, and Postgres cannot be asked.
        """
        known = self._keys.get(prefix)
        if known is None:
            found = find_key(self._engine, prefix)
            known = _stored(found) if found else None
        return known

    def note_use(self, key_id: UUID) -> None:
        """Record that the key is used; written with the next refresh."""
        with self._lock:
            self._used.add(key_id)

    def take_used(self) -> set[UUID]:
        """Keys used since the last call."""
        with self._lock:
            used, self._used = self._used, set()
        return used


def _stored(key: KnownKey) -> StoredKey:
    caller = Caller(key.key_id, key.project_id, frozenset(key.scopes))
    return StoredKey(caller, key.digest, revoked=False, use_is_noted=False)
