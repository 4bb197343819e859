"""Making, listing and revoking API keys."""

import os
import re
from pathlib import Path
from uuid import UUID, uuid4

from sqlalchemy.orm import Session

from libs.database.tables import DEFAULT_PROJECT_ID, ApiKey
from libs.web.auth import Caller, Scope, digest_of, make_key
from libs.web.paging import Page, decode_cursor
from libs.web.problems import ForbiddenError, NotFoundError
from services.gateway.keys import repository
from services.gateway.keys.schemas import CreatedKey, Key, KeyRequest
from services.gateway.paging import page_of
from services.gateway.repository import owned

_KEY = re.compile(r"oct_(?P<prefix>[0-9a-f]{10})_[0-9a-f]{48}")


def create(session: Session, caller: Caller, request: KeyRequest) -> CreatedKey:
    """Make a key in the caller's project.

    Raises:
        ForbiddenError: it would do more than the caller's own key.
    """
    excess = [scope for scope in request.scopes if not caller.may(scope)]
    if excess:
        raise ForbiddenError(f"Your key cannot give away what it lacks: {', '.join(excess)}.")
    made, text = _add(session, caller.project_id, request.name, request.scopes)
    return CreatedKey(**made.model_dump(), key=text)


def _add(session: Session, project_id: UUID, name: str, scopes: list[Scope]) -> tuple[Key, str]:
    """A new key and its text."""
    new = make_key()
    wanted = sorted({scope.value for scope in scopes})
    row = ApiKey(project_id=project_id, name=name, prefix=new.prefix, digest=new.digest, scopes=wanted)
    return Key.model_validate(repository.add(session, row)), new.text


def listing(session: Session, caller: Caller, cursor: str | None, limit: int) -> Page[Key]:
    """A page of the project's keys, newest first, revoked ones included."""
    after = decode_cursor(cursor, "keys", {})
    rows = repository.page(session, caller.project_id, after, limit + 1)
    return page_of(rows, limit, "keys", {}, Key.model_validate)


def revoke(session: Session, caller: Caller, key_id: UUID) -> None:
    """Make a key of the project invalid at once.

    Raises:
        NotFoundError: the project has no such key.
    """
    key = owned(session, ApiKey, caller.project_id, key_id)
    if key is None:
        raise NotFoundError(f"There is no key {key_id}.", code="key_not_found")
    repository.revoke(session, key)


def adopt_key(session: Session, text: str) -> None:
    """Make a key that was made elsewhere, such as a mounted secret, an admin key of the default project.

    Doing it again changes nothing.

    Raises:
        ValueError: it is no key, or one that was revoked; the message does not repeat it.
    """
    parts = _KEY.fullmatch(text)
    if parts is None:
        raise ValueError("not of the form oct_<10 hex digits>_<48 hex digits>")
    known = repository.by_prefix(session, parts["prefix"])
    if known is None:
        row = ApiKey(project_id=DEFAULT_PROJECT_ID, name="first key", prefix=parts["prefix"], digest=digest_of(text))
        row.scopes = [Scope.ADMIN.value]
        repository.add(session, row)
    elif known.digest != digest_of(text):
        raise ValueError("another key has this prefix")
    elif known.revoked_at is not None:
        raise ValueError("this key was revoked; put a new one there")


def ensure_local_key(session: Session, path: Path) -> str:
    """The admin key of an installation on one machine: the one in `path` if it is valid, else a new one.

    The file has mode 0600 from its first byte. If the transaction fails afterwards, the file holds a key that is
    not valid, and the next call makes another.
    """
    if path.is_file():
        text = path.read_text().strip()
        if repository.by_digest(session, digest_of(text)) is not None:
            path.chmod(0o600)
            return text
    _, text = _add(session, DEFAULT_PROJECT_ID, "local admin", [Scope.ADMIN])
    _write_secret(path, text)
    return text


def _write_secret(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}-{uuid4().hex}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(descriptor)
    temporary.replace(path)
