"""/jobs/new: choose a method, fill in its form, submit"""

from typing import Annotated
from uuid import UUID, uuid4

from fastapi import Query, Request
from sqlalchemy.orm import Session
from starlette.responses import Response

from libs.jobs.spec import JobSpec
from libs.web.auth import Scope
from libs.web.idempotency import Answer
from libs.web.problems import FieldProblem
from services.gateway.context import Gateway, Gw
from services.gateway.dashboard.jobs import new
from services.gateway.dashboard.pages import REFUSALS, Pages, done, problems_of
from services.gateway.dashboard.session.service import Visitor
from services.gateway.dashboard.session.visit import Form, WritesJobs, require
from services.gateway.dashboard.templating import render
from services.gateway.idempotency.once import Creation
from services.gateway.jobs import service
from services.gateway.methods import service as methods

router = Pages(prefix="/jobs/new")
MethodText = Annotated[str, Query(max_length=100)]
SourceJob = Annotated[UUID | None, Query(alias="from")]
"""A job whose values a form begins with."""


@router.page("")
def new_job(
    request: Request,
    gateway: Gw,
    visitor: WritesJobs,
    method: MethodText = "",
    source: SourceJob = None,
) -> Response:
    """The methods, or the form of one; `from` a job it begins with that job's values."""
    if not method and source is None:
        return render(request, "jobs/methods.html", methods=methods.listing(), hidden=service.NO_DIRECT)
    with gateway.reading() as session:
        method, values = begun(session, visitor, method, source)
        form = new.form_of(session, visitor.caller, method, new.Given(values))
    return render(request, "jobs/new.html", form=form, once=uuid4().hex, checked=None)


def begun(session: Session, visitor: Visitor, method: str, source: UUID | None) -> tuple[str, dict[str, str]]:
    """What a new form begins with: the method, and the texts of its fields as the job `source` was asked for.

    Raises:
        JobNotFound: there is no such job.
        ForbiddenError: the visitor may not read jobs.
    """
    if source is None:
        return method, {}
    require(visitor, Scope.JOBS_READ)
    spec = new.as_asked(service.find_job(session, visitor.caller.project_id, source).spec)
    return spec["method"], new.texts_of_spec(spec)


@router.action("")
def submit_job(request: Request, gateway: Gw, visitor: WritesJobs, method: MethodText, form: Form) -> Response:
    """Submit the job and show it, or show the form again with what is wrong beside each field.

    With `check` nothing is queued; the page says what would be.
    """
    project_id = visitor.caller.project_id
    body, texts = new.read_form(method, form)
    checked = None
    try:
        spec = service.read_spec(body)
        if "check" not in form:
            return done(_submitted(gateway, visitor, spec, form.get("once")), request)
        with gateway.reading() as session:
            checked = service.dry_run(session, project_id, spec)
        problems: list[FieldProblem] = []
    except REFUSALS as error:
        problems = problems_of(error)
    with gateway.reading() as session:
        shown = new.form_of(session, visitor.caller, method, new.Given(texts, problems))
    once = form.get("once") or uuid4().hex
    return render(request, "jobs/new.html", 422 if problems else 200, form=shown, once=once, checked=checked)


def _submitted(gateway: Gateway, visitor: Visitor, spec: JobSpec, once: str) -> str:
    """The address of the new job; a form that is sent twice makes one."""
    key = f"form-{once[:64]}" if once else None
    creation = Creation(gateway, key, "POST /jobs/new", spec.model_dump(mode="json"))

    def work(session: Session) -> Answer:
        job = service.submit_job(session, visitor.caller.project_id, spec)
        return Answer(202, job.model_dump(mode="json"), {"Location": f"/jobs/{job.id}"})

    return creation.once(visitor.caller, work).headers["Location"]
