"""/jobs: the list"""

from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Depends, Query, Request
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.orm import Session
from starlette.responses import Response

from libs.jobs.names import Name
from libs.jobs.spec import MethodName
from libs.jobs.states import TERMINAL, JobStatus
from libs.web.paging import CursorText, Page
from libs.web.problems import validation_problem
from services.gateway.context import Gw
from services.gateway.dashboard.pages import Pages
from services.gateway.dashboard.session.service import Visitor
from services.gateway.dashboard.session.visit import ReadsJobs
from services.gateway.dashboard.templating import render
from services.gateway.jobs import service
from services.gateway.jobs.repository import JobFilter
from services.gateway.jobs.schemas import JobSummary
from services.gateway.methods import service as methods

router = Pages()
_A_PAGE = 50
_OPEN = tuple(sorted(set(JobStatus) - TERMINAL))
STATES: dict[str, tuple[str, ...]] = {
    "": (),
    "open": _OPEN,
    "ended": tuple(sorted(TERMINAL)),
    **{status.value: (status.value,) for status in JobStatus},
}
_WORDS = {"": "any state", "open": "not ended", "ended": "ended"}
_method: TypeAdapter[str] = TypeAdapter(MethodName)
_name: TypeAdapter[str] = TypeAdapter(Name)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the filter says, as it was typed."""

    state: str
    method: str
    name: str
    schedule: str

    def filter(self) -> JobFilter:
        """The filter of the list.

        Raises:
            UnprocessableError: there is no such method, or no job can have that name.
        """
        return JobFilter(
            STATES[self.state],
            _checked(_method, "method", self.method),
            _checked(_name, "name", self.name),
            schedule=_checked(_name, "schedule", self.schedule),
        )

    def address(self, path: str, cursor: str | None = None) -> str:
        """The address of this filter's list."""
        given = {
            "state": self.state,
            "method": self.method,
            "name": self.name,
            "schedule": self.schedule,
            "cursor": cursor,
        }
        query = urlencode({key: value for key, value in given.items() if value})
        return f"{path}?{query}" if query else path

    def __bool__(self) -> bool:
        return bool(self.state or self.method or self.name or self.schedule)


def _checked(kind: TypeAdapter[str], field: str, value: str) -> str | None:
    if not value:
        return None
    try:
        return kind.validate_python(value)
    except ValidationError as error:
        raise validation_problem(error, (field,)) from None


def _wanted(
    state: Annotated[str, Query(pattern="^(" + "|".join(STATES) + ")$")] = "",
    method: Annotated[str, Query(max_length=100)] = "",
    name: Annotated[str, Query(max_length=100)] = "",
    schedule: Annotated[str, Query(max_length=100)] = "",
) -> Wanted:
    return Wanted(state, method, name.strip(), schedule.strip())


WantedJobs = Annotated[Wanted, Depends(_wanted)]


@router.page("/jobs")
def jobs_page(
    request: Request, gateway: Gw, visitor: ReadsJobs, wanted: WantedJobs, cursor: CursorText = None
) -> Response:
    """The jobs, newest first; the first page keeps itself up to date."""
    with gateway.reading() as session:
        jobs = _page(session, visitor, wanted, cursor)
    states = [(name, _WORDS.get(name, name.replace("_", " "))) for name in STATES]
    names = [method.name for method in methods.listing()]
    filters: dict[str, Any] = {"wanted": wanted, "states": states, "methods": names}
    return render(request, "jobs/list.html", jobs=jobs, cursor=cursor, live=not cursor, **filters)


@router.page("/jobs/rows")
def jobs_part(request: Request, gateway: Gw, visitor: ReadsJobs, wanted: WantedJobs) -> Response:
    """The first page of the list, again."""
    with gateway.reading() as session:
        jobs = _page(session, visitor, wanted, None)
    return render(request, "jobs/rows.html", jobs=jobs, wanted=wanted, cursor=None, live=True)


def _page(session: Session, visitor: Visitor, wanted: Wanted, cursor: str | None) -> Page[JobSummary]:
    return service.listing(session, visitor.caller.project_id, wanted.filter(), cursor, _A_PAGE)
