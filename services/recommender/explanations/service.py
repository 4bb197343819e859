"""What was recommended, looked up by request id."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeVar
from uuid import UUID

from sqlalchemy.orm import Session

from libs.database.tables import Recommendation
from libs.web.problems import NotFoundError
from services.recommender.explanations import repository
from services.recommender.explanations.schemas import ExplainedItem, Explanation
from services.recommender.memory import Memory

Answer = TypeVar("Answer")
_FLUSH_S = 1.0


def explain(memory: Memory, project_id: UUID, request_id: UUID) -> Explanation:
    """What was recommended in answer to this request.

    Raises:
        NotFoundError: as `written_down`.
    """
    return written_down(
        memory, memory.reading, project_id, request_id, repository.find, lambda _, row: _explanation(row)
    )


def written_down(
    memory: Memory,
    opened: Callable[[], AbstractContextManager[Session]],
    project_id: UUID,
    request_id: UUID,
    find: Callable[[Session, UUID, UUID], Recommendation | None],
    work: Callable[[Session, Recommendation], Answer],
) -> Answer:
    """`work` on what was recommended, in one transaction of `opened`; what this process holds is written if need be.

    Raises:
        NotFoundError: there is no such answer in the project.
    """
    for _ in range(2):
        with opened() as session:
            if (row := find(session, project_id, request_id)) is not None:
                return work(session, row)
        memory.recorder.flush(_FLUSH_S)
    raise NotFoundError(
        f"Nothing is written down of a request {request_id}. It takes a moment after the answer; it may have been "
        "erased, be older than recommendations are kept, or have been dropped while Postgres was away.",
        code="recommendation_not_found",
    )


def _explanation(row: Recommendation) -> Explanation:
    return Explanation(
        request_id=row.request_id,
        created_at=row.created_at,
        deployment=row.deployment,
        arm=row.arm or row.deployment,
        stands_in_for=row.stands_in_for,
        variant=row.variant,
        model=row.model,
        version=row.version,
        user_id=row.user_id,
        session_id=row.session_id,
        strategy=row.strategy,
        history=row.history,
        items=[
            ExplainedItem(rank=rank, item_id=item["item_id"], score=item["score"], reasons=item["reasons"])
            for rank, item in enumerate(row.items, start=1)
        ],
    )
