"""/schedules: the list, one schedule, a new one; change, pause, resume, run now, delete"""

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from fastapi import Request
from starlette.responses import Response

from libs.jobs import schedules as registry
from libs.jobs.errors import ScheduleNameTaken
from libs.jobs.schedule_times import next_cron
from libs.web.auth import Scope
from libs.web.paging import CursorText
from libs.web.problems import FieldProblem
from services.gateway.context import Gw
from services.gateway.dashboard.jobs.new import Given
from services.gateway.dashboard.jobs.new_routes import MethodText, SourceJob, begun
from services.gateway.dashboard.pages import REFUSALS, Pages, done, problems_of
from services.gateway.dashboard.schedules import edit, new
from services.gateway.dashboard.session.visit import Form, ReadsJobs, WritesJobs, require
from services.gateway.dashboard.templating import render
from services.gateway.jobs import service as jobs
from services.gateway.methods import service as methods
from services.gateway.schedules import service
from services.gateway.schedules.routes import ScheduleName
from services.gateway.schedules.schemas import Schedule

router = Pages(prefix="/schedules")
beginning = Pages(prefix="/new-schedule")  # not below /schedules: a schedule may be called "new"
_A_PAGE = 50
_SHOWN_TIMES = 5
_REFERENCES = re.compile(r"(datasets|models)/.+|teacher#\d+(/init|/(train|finetune)#\d+/dataset)?")
"""Fields of a job's form that name a data set or a model; `teacher#1` is a teacher that is there."""


@router.page("")
def schedules_page(request: Request, gateway: Gw, visitor: ReadsJobs, cursor: CursorText = None) -> Response:
    """The schedules, newest first."""
    with gateway.reading() as session:
        found = service.listing(session, visitor.caller.project_id, cursor, _A_PAGE)
    return render(request, "schedules/list.html", schedules=found, cursor=cursor)


@beginning.page("")
def new_schedule(
    request: Request,
    gateway: Gw,
    visitor: WritesJobs,
    method: MethodText = "",
    source: SourceJob = None,
) -> Response:
    """The methods, or the form for one; `from` a job it begins with that job's values."""
    if not method and source is None:
        return render(request, "schedules/methods.html", methods=methods.listing(), hidden=jobs.NO_DIRECT)
    with gateway.reading() as session:
        method, values = begun(session, visitor, method, source)
        form = new.form_of(session, visitor.caller, method, Given(_unpinned(values)))
    return render(request, "schedules/new.html", form=form)


def _unpinned(texts: dict[str, str]) -> dict[str, str]:
    """The names of what a job read, without the versions that it was pinned to: the newest of each time is read."""
    return {name: text.partition("@")[0] if _REFERENCES.fullmatch(name) else text for name, text in texts.items()}


@beginning.action("")
def create_schedule(request: Request, gateway: Gw, visitor: WritesJobs, method: MethodText, form: Form) -> Response:
    """Begin the schedule and show it, or show the form again with what is wrong beside each field."""
    body, texts = new.read_form(method, form)
    try:
        with gateway.writing() as session:
            roots = gateway.settings.platform.data_roots
            made = new.create(session, visitor.caller, body, roots)
        return done(f"/schedules/{made.name}", request)
    except ScheduleNameTaken as error:
        problems = [FieldProblem(pointer="/name", message=str(error))]
    except REFUSALS as error:
        problems = problems_of(error)
    with gateway.reading() as session:
        shown = new.form_of(session, visitor.caller, method, Given(texts, problems))
    return render(request, "schedules/new.html", 422, form=shown)


@router.page("/{name}")
def schedule_page(
    request: Request, gateway: Gw, visitor: ReadsJobs, name: ScheduleName, cursor: CursorText = None
) -> Response:
    """One schedule: when it is due next, and what became of its times."""
    project_id = visitor.caller.project_id
    with gateway.reading() as session:
        schedule = service.detail(session, project_id, name)
        runs = service.runs(session, project_id, name, cursor, _A_PAGE)
    times = next_times(schedule, _SHOWN_TIMES)
    return render(request, "schedules/schedule.html", schedule=schedule, runs=runs, times=times, cursor=cursor)


def next_times(schedule: Schedule, count: int) -> list[datetime]:
    """When it is due next, by the clock that it goes by; never while it is paused."""
    if schedule.next_run_at is None:
        return []
    times = [schedule.next_run_at]
    while len(times) < count:
        if schedule.cron is not None:
            times.append(next_cron(schedule.cron, schedule.timezone, times[-1]))
        else:
            times.append(times[-1] + timedelta(seconds=schedule.every_s or 0))
    zone = ZoneInfo(schedule.timezone)
    return [time.astimezone(zone) for time in times]


@router.page("/{name}/edit")
def edit_schedule(request: Request, gateway: Gw, visitor: WritesJobs, name: ScheduleName) -> Response:
    """The form of a schedule that is there."""
    require(visitor, Scope.JOBS_READ)
    with gateway.reading() as session:
        shown = edit.page(session, visitor.caller, name)
    return render(request, "schedules/edit.html", page=shown, form=shown.form)


@router.action("/{name}/edit")
def change_schedule(request: Request, gateway: Gw, visitor: WritesJobs, name: ScheduleName, form: Form) -> Response:
    """Change the schedule and show it, or show the form again with what is wrong beside each field."""
    require(visitor, Scope.JOBS_READ)
    try:
        with gateway.writing() as session:
            edit.change(session, visitor.caller, name, form, gateway.settings.platform.data_roots)
        return done(f"/schedules/{name}", request)
    except REFUSALS as error:
        problems = problems_of(error)
    with gateway.reading() as session:
        shown = edit.page(session, visitor.caller, name, form, problems)
    return render(request, "schedules/edit.html", 422, page=shown, form=shown.form)


@router.action("/{name}/pause")
def pause(request: Request, gateway: Gw, visitor: WritesJobs, name: ScheduleName) -> Response:
    """Submit nothing until it is resumed."""
    with gateway.writing() as session:
        service.pause(session, visitor.caller.project_id, name)
    return done(f"/schedules/{name}", request)


@router.action("/{name}/resume")
def resume(request: Request, gateway: Gw, visitor: WritesJobs, name: ScheduleName) -> Response:
    """Go on with the first time from now."""
    with gateway.writing() as session:
        service.resume(session, visitor.caller.project_id, name)
    return done(f"/schedules/{name}", request)


@router.action("/{name}/run")
def run(request: Request, gateway: Gw, visitor: WritesJobs, name: ScheduleName) -> Response:
    """Submit its job now, and show it."""
    with gateway.writing() as session:
        made = service.run(session, visitor.caller, name, gateway.settings.platform.data_roots)
    return done(f"/jobs/{made.job.id}" if made.job else f"/schedules/{name}", request)


@router.action("/{name}/delete")
def delete(request: Request, gateway: Gw, visitor: WritesJobs, name: ScheduleName) -> Response:
    """Delete it, and show the others; its jobs stay."""
    with gateway.writing() as session:
        registry.delete(session, visitor.caller.project_id, name)
    return done("/schedules", request)
