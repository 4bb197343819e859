"""Who is let in: what waits for a thread is bounded, and who comes on top is told to come again."""

from anyio.to_thread import current_default_thread_limiter

from libs.web.problems import UnavailableError
from services.recommender.context import Rec
from services.recommender.recommendations.together import Together


async def admit(recommender: Rec, together: Together) -> None:
    """Refuse a request while too many wait for a thread already.

    Raises:
        UnavailableError: they do.
    """
    waiting = current_default_thread_limiter().statistics().tasks_waiting + len(together)
    if waiting >= recommender.settings.max_waiting:
        message = f"{waiting} requests are waiting already. Ask again in 1 s."
        raise UnavailableError(message, code="overloaded", headers={"Retry-After": "1"})
