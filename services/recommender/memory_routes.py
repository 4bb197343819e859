"""The routes that need `app.state.memory` and no model."""

from services.recommender.events.routes import router as events_router
from services.recommender.explanations.routes import router as explanations_router
from services.recommender.feedback.routes import router as feedback_router
from services.recommender.history.routes import router as history_router

ROUTERS = (events_router, history_router, feedback_router, explanations_router)
