"""/v1/keys"""

from typing import Annotated
from uuid import UUID

from fastapi import Security
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from libs.web.auth import Caller, Scope, authenticate
from libs.web.idempotency import Answer
from libs.web.paging import CursorText, Limit, Page
from libs.web.problems import responses
from libs.web.routing import Router
from services.gateway.context import Gw
from services.gateway.idempotency.once import Creates
from services.gateway.keys import service
from services.gateway.keys.schemas import CreatedKey, Key, KeyRequest

router = Router(prefix="/v1/keys", tags=["keys"])
Manager = Annotated[Caller, Security(authenticate, scopes=[Scope.KEYS_MANAGE])]


@router.post("", status_code=201, response_model=CreatedKey, responses=responses())
def create_key(caller: Manager, body: KeyRequest, creation: Creates) -> JSONResponse:
    """Make an API key. Its text is in this answer and nowhere else: only a digest is stored.

    A repeat under the same `Idempotency-Key` makes no second key, and its answer is without the text.
    """

    def work(session: Session) -> Answer:
        return Answer(201, service.create(session, caller, body).model_dump(mode="json"), secrets=("key",))

    return creation.once(caller, work)


@router.get("", responses=responses())
def list_keys(caller: Manager, gateway: Gw, cursor: CursorText = None, limit: Limit = 50) -> Page[Key]:
    """List the project's keys, newest first."""
    with gateway.reading() as session:
        return service.listing(session, caller, cursor, limit)


@router.delete("/{key_id}", status_code=204, responses=responses(404))
def revoke_key(caller: Manager, gateway: Gw, key_id: UUID) -> None:
    """Revoke a key: requests with it are refused, within a second by every process. Again changes nothing."""
    with gateway.writing() as session:
        service.revoke(session, caller, key_id)
    gateway.keys.forget()
