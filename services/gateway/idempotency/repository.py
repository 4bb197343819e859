"""Answers remembered under `Idempotency-Key`, in Postgres."""

import hashlib
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from libs.database.tables import IdempotencyKey
from libs.web.idempotency import Answer, StoredAnswer


class PostgresAnswers:
    """The remembered answers of one project, within the session's transaction."""

    def __init__(self, session: Session, project_id: UUID) -> None:
        self._session = session
        self._project_id = project_id

    def lock(self, key: str) -> None:
        """Hold `key` until the transaction ends."""
        digest = hashlib.sha256(f"idempotency:{self._project_id}:{key}".encode()).digest()
        number = int.from_bytes(digest[:8], signed=True)
        self._session.execute(select(func.pg_advisory_xact_lock(number)))

    def find(self, key: str) -> StoredAnswer | None:
        """The answer remembered under `key`."""
        row = self._session.get(IdempotencyKey, (self._project_id, key))
        if row is None:
            return None
        return StoredAnswer(row.request_digest, Answer(row.status_code, row.response, row.headers))

    def save(self, key: str, stored: StoredAnswer) -> None:
        """Remember an answer."""
        answer = stored.answer
        self._session.add(
            IdempotencyKey(
                project_id=self._project_id,
                key=key,
                request_digest=stored.request_digest,
                status_code=answer.status_code,
                response=answer.body,
                headers=answer.headers,
            )
        )
