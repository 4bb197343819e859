"""/workers: who works on the queue"""

from typing import NamedTuple

from fastapi import Request
from sqlalchemy.orm import Session
from starlette.responses import Response

from libs.database.tables import Worker
from libs.web.paging import CursorText, Position, decode_cursor, encode_cursor
from services.gateway.context import Gw
from services.gateway.dashboard.overview.view import ALIVE_WITHIN_S
from services.gateway.dashboard.pages import Pages
from services.gateway.dashboard.session.service import Visitor
from services.gateway.dashboard.session.visit import ReadsJobs
from services.gateway.dashboard.templating import render
from services.gateway.dashboard.workers import repository
from services.gateway.dashboard.workers.repository import InHand

router = Pages(prefix="/workers")
_A_PAGE = 50


class Shown(NamedTuple):
    """A worker, whether it has reported lately, and what it has in hand."""

    worker: Worker
    alive: bool
    jobs: list[InHand]


@router.page("")
def workers_page(request: Request, gateway: Gw, visitor: ReadsJobs, cursor: CursorText = None) -> Response:
    """The workers, newest first."""
    with gateway.reading() as session:
        workers, following = _page(session, visitor, cursor)
    return render(request, "workers.html", workers=workers, following=following, cursor=cursor)


@router.page("/now")
def workers_part(request: Request, gateway: Gw, visitor: ReadsJobs) -> Response:
    """The first page, again."""
    with gateway.reading() as session:
        workers, following = _page(session, visitor, None)
    return render(request, "workers_now.html", workers=workers, following=following, cursor=None)


def _page(session: Session, visitor: Visitor, cursor: str | None) -> tuple[list[Shown], str | None]:
    rows = repository.page(session, decode_cursor(cursor, "workers", {}), _A_PAGE + 1)
    kept, now = rows[:_A_PAGE], repository.now(session)
    jobs = repository.in_hand(session, visitor.caller.project_id, [worker.id for worker in kept])
    shown = [
        Shown(worker, (now - worker.heartbeat_at).total_seconds() < ALIVE_WITHIN_S, jobs.get(worker.id, []))
        for worker in kept
    ]
    last = Position(kept[-1].started_at, kept[-1].id) if len(rows) > _A_PAGE else None
    return shown, encode_cursor(last, "workers", {}) if last else None
