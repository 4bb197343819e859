"""API keys: `Authorization: Bearer oct_<prefix>_<secret>`, and the scope each route declares.

Every route takes a caller by `Security(authenticate, scopes=[...])`, or says `Depends(public)`. The key names the
project; no request does. Only the SHA-256 of a key is stored, and compared in constant time.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol
from uuid import UUID

import structlog
from fastapi import Depends, Request
from fastapi.security import HTTPBearer, SecurityScopes
from starlette.concurrency import run_in_threadpool

from libs.web.problems import ForbiddenError, UnauthorizedError
from libs.web.timing import span


class Scope(StrEnum):
    """What a key may do. `admin` includes all."""

    ADMIN = "admin"
    JOBS_READ = "jobs:read"
    JOBS_WRITE = "jobs:write"
    DATASETS_READ = "datasets:read"
    DATASETS_WRITE = "datasets:write"
    MODELS_READ = "models:read"
    MODELS_WRITE = "models:write"
    DEPLOYMENTS_READ = "deployments:read"
    DEPLOYMENTS_WRITE = "deployments:write"
    KEYS_MANAGE = "keys:manage"
    INFER = "infer"
    EVENTS_READ = "events:read"
    EVENTS_WRITE = "events:write"
    EVENTS_ERASE = "events:erase"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a key, and the project it belongs to."""

    key_id: UUID
    project_id: UUID
    scopes: frozenset[str]

    def may(self, scope: str) -> bool:
        """Whether the key carries `scope`."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key as the database has it; `use_is_noted` while its last recorded use is recent."""

    caller: Caller
    digest: str
    revoked: bool
    use_is_noted: bool


class KeyStore(Protocol):
    """Where keys are looked up. An application puts one at `app.state.keys`."""

    def knows(self, key: str) -> bool:
        """Whether this key is looked up, and its use noted, without waiting for anything."""

    def find(self, prefix: str) -> StoredKey | None:
        """The key with this prefix."""

    def note_use(self, key_id: UUID) -> None:
        """Record that the key is used now."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key at its making: the only moment its text exists here."""

    text: str
    prefix: str
    digest: str


def make_key() -> NewKey:
    """A new random key: 40 bits of prefix to find it by, 192 bits of secret."""
    prefix = secrets.token_hex(5)
    text = f"oct_{prefix}_{secrets.token_hex(24)}"
    return NewKey(text, prefix, digest_of(text))


def digest_of(key: str) -> str:
    """What is stored of a key. It is random and long, so a plain SHA-256 is enough."""
    return hashlib.sha256(key.encode()).hexdigest()


_NO_DIGEST = "0" * 64


def identify(text: str, keys: KeyStore) -> Caller:
    """The caller a key stands for.

    Raises:
        UnauthorizedError: no such key, or it was revoked. The answer is the same for both.
    """
    parts = text.split("_")
    well_formed = len(parts) == 3 and parts[0] == "oct" and len(text) <= 200
    stored = keys.find(parts[1]) if well_formed else None
    matches = hmac.compare_digest(digest_of(text), stored.digest if stored else _NO_DIGEST)
    if stored is None or not matches or stored.revoked:
        raise UnauthorizedError("This API key is not valid. `octavo keys create`, run with a valid one, makes another.")
    if not stored.use_is_noted:
        keys.note_use(stored.caller.key_id)
    return stored.caller


class _Authenticate(HTTPBearer):
    """The caller of a request, who carries every scope the route declares. One dependency: each costs every request."""

    def __init__(self) -> None:
        super().__init__(auto_error=False, scheme_name="ApiKey", description="`Bearer oct_<prefix>_<secret>`")

    async def __call__(self, request: Request, wanted: SecurityScopes) -> Caller:  # type: ignore[override]
        credentials = await super().__call__(request)
        if credentials is None:
            raise UnauthorizedError("Send an API key: `Authorization: Bearer oct_…`.")
        keys: KeyStore = request.app.state.keys
        text = credentials.credentials
        with span("auth"):
            caller = identify(text, keys) if keys.knows(text) else await run_in_threadpool(identify, text, keys)
        structlog.contextvars.bind_contextvars(key_id=str(caller.key_id))
        missing = [scope for scope in wanted.scopes if not caller.may(scope)]
        if missing:
            raise ForbiddenError(f"This key lacks the scope {', '.join(missing)}.")
        return caller


authenticate = _Authenticate()


async def public() -> None:
    """Marks a route that needs no key."""


Public = Depends(public)
