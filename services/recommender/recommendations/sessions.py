"""A live session: its items, and the model's features after them in one step an event where the model can step."""

from collections.abc import Sequence
from uuid import UUID

from libs.serving.recommendation.model import LoadedRecommender
from libs.serving.recommendation.ranking import Floats
from libs.serving.recommendation.session_state import SessionState, SessionStates, StateUnusable
from libs.web.timing import span
from services.recommender.memory import Memory
from services.recommender.sessions.store import SessionEvent, SessionView


def session_of(
    model: LoadedRecommender, memory: Memory, project_id: UUID, session_id: str, new: Sequence[SessionEvent] = ()
) -> tuple[list[str], Floats | None]:
    """Item ids, oldest first, and the features after them, [1, d]; None: they are to be computed from the items.

    The state that another version of the model left is not used: the session starts again from its items.

    Args:
        new: events that were stored and that the cache does not know yet.

    Raises:
        sqlalchemy.exc.OperationalError: the session is not in the cache, and Postgres does not answer.
    """
    digest = model.identity.digest
    with span("history"):
        view = memory.sessions.read(project_id, session_id, digest, new)
    known = model.catalogue.known(view.items)
    if model.sessions is None or not known or len(known) > model.bundle.max_length:
        return view.items, None
    with span("step"):
        try:
            state = _stepped(model, model.sessions, view)
        except StateUnusable:
            return view.items, None
    if view.state is None or view.state_after < len(view.items):
        memory.sessions.save_state(project_id, session_id, view, digest, model.sessions.to_bytes(state))
    return view.items, state.features


def _stepped(model: LoadedRecommender, states: SessionStates, view: SessionView) -> SessionState:
    """The state after all items of the view."""
    if view.state is None:
        return states.replay(model.catalogue.known(view.items))
    state = states.from_bytes(view.state)
    for number in model.catalogue.known(view.items[view.state_after :]):
        state = states.advance(state, number)
    return state
