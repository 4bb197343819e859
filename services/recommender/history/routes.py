"""/v1/users/{user_id}/history and /v1/sessions/{session_id}/history"""

from typing import Annotated

from fastapi import Path

from libs.web.paging import CursorText, Limit, Page
from libs.web.problems import responses
from libs.web.routing import Router
from services.recommender.access import ErasesEvents, ReadsEvents
from services.recommender.history import service
from services.recommender.history.repository import Actor
from services.recommender.history.schemas import PastEvent
from services.recommender.ids import Id
from services.recommender.memory import Mem

router = Router(prefix="/v1", tags=["events"])
UserId = Annotated[Id, Path(description="With `/` written as `%2F` or as it is.")]
SessionId = UserId


@router.get("/users/{user_id:path}/history", responses=responses(503))
def user_history(
    caller: ReadsEvents, memory: Mem, user_id: UserId, cursor: CursorText = None, limit: Limit = 50
) -> Page[PastEvent]:
    """What a user did, newest first. Nothing is known of a user who was never seen, and of one who was erased."""
    return service.history_page(memory, caller.project_id, Actor("user", user_id), cursor, limit)


@router.delete("/users/{user_id:path}/history", status_code=204, responses=responses(503))
def erase_user(caller: ErasesEvents, memory: Mem, user_id: UserId) -> None:
    """Erase a user: events, sessions, recommendations and feedback, at once and for good. Again changes nothing.

    Data sets and models that were made of the events before are not touched.
    """
    service.erase(memory, caller.project_id, Actor("user", user_id))


@router.get("/sessions/{session_id:path}/history", responses=responses(503))
def session_history(
    caller: ReadsEvents, memory: Mem, session_id: SessionId, cursor: CursorText = None, limit: Limit = 50
) -> Page[PastEvent]:
    """What was done in a session, newest first."""
    return service.history_page(memory, caller.project_id, Actor("session", session_id), cursor, limit)


@router.delete("/sessions/{session_id:path}/history", status_code=204, responses=responses(503))
def erase_session(caller: ErasesEvents, memory: Mem, session_id: SessionId) -> None:
    """Erase a session: its events, of whatever user, its recommendations and their feedback."""
    service.erase(memory, caller.project_id, Actor("session", session_id))
