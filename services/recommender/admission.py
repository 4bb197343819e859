"""Who is let in: what waits for a thread is bounded, and who comes on top is told to come again."""

from anyio.to_thread import current_default_thread_limiter
from fastapi import Request

from libs.web.problems import UnavailableError


async def admit(request: Request) -> None:
    """Refuse a request while too many wait for a thread already.

    Raises:
        UnavailableError: they do.
    """
    state = request.app.state
    waiting = current_default_thread_limiter().statistics().tasks_waiting + len(state.together)
    if waiting >= state.recommender.settings.max_waiting:
        state.recommender.shed.inc()
        message = f"{waiting} requests are waiting already. Ask again in 1 s."
        raise UnavailableError(message, code="overloaded", headers={"Retry-After": "1"})
