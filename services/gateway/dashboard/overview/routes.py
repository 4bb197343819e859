"""/ : the overview"""

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from services.gateway.context import Gateway, Gw
from services.gateway.dashboard.overview import view
from services.gateway.dashboard.pages import Pages
from services.gateway.dashboard.session.visit import ReadsJobs
from services.gateway.dashboard.templating import render

router = Pages()


@router.page("/")
def overview_page(request: Request, gateway: Gw, visitor: ReadsJobs) -> Response:
    """Queue, workers, latest jobs; health is asked for by the page once it is there."""
    with gateway.reading() as session:
        found = view.overview(session, visitor.caller.project_id)
    return render(request, "overview.html", overview=found)


@router.page("/overview/now")
def overview_part(request: Request, gateway: Gw, visitor: ReadsJobs) -> Response:
    """The figures and the latest jobs, again."""
    with gateway.reading() as session:
        found = view.overview(session, visitor.caller.project_id)
    return render(request, "overview_now.html", overview=found)


@router.page("/overview/health")
async def health_part(request: Request, gateway: Gw, _: ReadsJobs) -> Response:
    """Whether the parts of Octavo answer."""
    parts = await run_in_threadpool(_stored, gateway) + await view.services(gateway)
    return await run_in_threadpool(render, request, "health.html", parts=parts)


def _stored(gateway: Gateway) -> list[view.Part]:
    with gateway.reading() as session:
        return view.stored_parts(session)
