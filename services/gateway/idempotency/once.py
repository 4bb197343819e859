"""`Idempotency-Key` for every route that creates something."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from libs.web.auth import Caller
from libs.web.idempotency import Answer, IdempotencyHeader, answer_once, request_digest
from services.gateway.context import Gateway, gateway_of
from services.gateway.idempotency.repository import PostgresAnswers


@dataclass(frozen=True, slots=True)
class Creation:
    """A request that creates something, and the key it came with."""

    gateway: Gateway
    key: str | None = None
    operation: str = ""
    body: Any = None

    def once(self, caller: Caller, work: Callable[[Session], Answer], content: str = "") -> JSONResponse:
        """Do `work` in a transaction of its own, or give the answer it gave before under the same key.

        Args:
            content: digest of a body that is no JSON.

        Raises:
            UnprocessableError: the key was used for another request.
        """
        digest = "" if self.key is None else request_digest(self.operation, [self.body, content])
        with self.gateway.writing() as session:
            answers = PostgresAnswers(session, caller.project_id)
            return answer_once(answers, self.key, digest, lambda: work(session))


async def _creation(request: Request, key: IdempotencyHeader = None) -> Creation:
    gateway = gateway_of(request)
    if key is None:
        return Creation(gateway)
    takes_json = getattr(request.scope["route"], "body_field", None) is not None
    body = await request.json() if takes_json else None
    return Creation(gateway, key, f"{request.method} {request.url.path}?{request.url.query}", body)


Creates = Annotated[Creation, Depends(_creation)]
