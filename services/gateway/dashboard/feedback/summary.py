"""What became of recommendations, as the recommender sums it up for the holder of a key."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from libs.web.problems import ProblemError
from services.gateway.context import Gateway
from services.gateway.dashboard.session.service import Visitor
from services.gateway.inference.proxy import ask

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
    found = answer.json()
    if answer.status_code != 200:
        return None, str(found.get("detail", f"The recommender answered {answer.status_code}."))
    return found, ""
