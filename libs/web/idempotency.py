"""`Idempotency-Key`: a request sent twice is done once, and both get the same answer.

The answer is stored in the transaction that did the work, so there is no moment where the work is done and the
answer is not remembered. Requests with the same key wait for each other on a lock.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol

from fastapi import Header
from fastapi.responses import JSONResponse

from libs.web.problems import FieldProblem, UnprocessableError

IdempotencyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        description="A key of your choice; a repeat with the same body gets the first answer, done once.",
    ),
]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request was answered with."""

    status_code: int
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    """Fields of the body that are never stored: a repeat gets null for them."""

    def storable(self) -> "Answer":
        """The answer without its secrets."""
        return Answer(self.status_code, {**self.body, **dict.fromkeys(self.secrets)}, self.headers)

    def response(self, replayed: bool = False) -> JSONResponse:
        """The answer on the wire."""
        headers = {**self.headers, "Idempotent-Replayed": "true"} if replayed else self.headers
        return JSONResponse(self.body, self.status_code, headers=headers)


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """An answer remembered, and the digest of the request it was given to."""

    request_digest: str
    answer: Answer


class AnswerStore(Protocol):
    """Answers of one project, within one transaction."""

    def lock(self, key: str) -> None:
        """Hold `key` until the transaction ends; wait while another transaction holds it."""

    def find(self, key: str) -> StoredAnswer | None:
        """The answer remembered under `key`."""

    def save(self, key: str, stored: StoredAnswer) -> None:
        """Remember an answer."""


def request_digest(operation: str, body: Any) -> str:
    """What makes two requests the same: what they ask for, and their JSON, however it is spaced and ordered."""
    return hashlib.sha256(json.dumps([operation, body], sort_keys=True).encode()).hexdigest()


def answer_once(store: AnswerStore, key: str | None, digest: str, work: Callable[[], Answer]) -> JSONResponse:
    """Do `work`, or replay the answer it gave before under the same key.

    Raises:
        UnprocessableError: the key was used for another request.
    """
    if key is None:
        return work().response()
    store.lock(key)
    stored = store.find(key)
    if stored is None:
        answer = work()
        store.save(key, StoredAnswer(digest, answer.storable()))
        return answer.response()
    if stored.request_digest != digest:
        message = "This key was used for a different request; use a new key for a new request."
        field_problem = FieldProblem(pointer="/Idempotency-Key", message=message, location="header")
        raise UnprocessableError(message, code="idempotency_key_reused", errors=[field_problem])
    return stored.answer.response(replayed=True)
