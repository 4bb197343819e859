"""The dashboard in the gateway's application."""

from fastapi import FastAPI

from services.gateway.dashboard.datasets.routes import beginning as new_dataset_router
from services.gateway.dashboard.datasets.routes import router as datasets_router
from services.gateway.dashboard.deployments.routes import router as deployments_router
from services.gateway.dashboard.deployments.statistics import Readings
from services.gateway.dashboard.feedback.routes import router as feedback_router
from services.gateway.dashboard.jobs.list_routes import router as jobs_router
from services.gateway.dashboard.jobs.new_routes import router as new_job_router
from services.gateway.dashboard.jobs.routes import router as job_router
from services.gateway.dashboard.keys.routes import router as keys_router
from services.gateway.dashboard.models.routes import router as models_router
from services.gateway.dashboard.overview.routes import router as overview_router
from services.gateway.dashboard.pages import show_missing
from services.gateway.dashboard.schedules.routes import beginning as new_schedule_router
from services.gateway.dashboard.schedules.routes import router as schedules_router
from services.gateway.dashboard.session.routes import router as session_router
from services.gateway.dashboard.session.service import WrongKeys
from services.gateway.dashboard.templating import Assets, compile_all
from services.gateway.dashboard.trying.routes import router as try_router
from services.gateway.dashboard.workers.routes import router as workers_router

__all__ = ["compile_all", "install"]
_ROUTERS = (
    session_router,
    overview_router,
    jobs_router,
    new_job_router,
    job_router,
    schedules_router,
    new_schedule_router,
    datasets_router,
    new_dataset_router,
    models_router,
    deployments_router,
    feedback_router,
    try_router,
    workers_router,
    keys_router,
)


def install(app: FastAPI) -> None:
    """Add the pages and their files to an application whose problems are installed."""
    app.state.wrong_keys = WrongKeys()
    app.state.readings = Readings()
    for router in _ROUTERS:
        app.include_router(router)
    app.mount("/static", Assets(), name="static")
    show_missing(app)
