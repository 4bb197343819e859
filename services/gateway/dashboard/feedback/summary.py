"""What became of recommendations, as the recommender sums it up for the holder of a key."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from libs.web.problems import ProblemError
from services.gateway.context import Gateway
from services.gateway.dashboard.session.service import Visitor
from services.gateway.inference.proxy import ask, read_answer

Summary = Mapping[str, Any]
"""`FeedbackSummary` of the recommender."""


async def summary_of(
    gateway: Gateway, visitor: Visitor, of: str, name: str, days: int, k: int
) -> tuple[Summary | None, str]:
    """The figures of the answers of a `model` or a `deployment`; where there are none, why."""
    path = f"/v1/feedback/summary?{of}={quote(name, safe='')}&days={days}&k={k}"
    try:
        answer = await ask(gateway.recommender, path, visitor.key_text)
    except ProblemError as error:
        return None, error.detail
    return read_answer(gateway.recommender, answer)
