"""Looking at schedules: the list, and one of them with what became of its times."""

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from libs.client.cli.output import AsJson, ago, connect, console, print_facts, print_json, print_table

if TYPE_CHECKING:
    from libs.client.records import Schedule, ScheduleRun


def list_schedules(as_json: AsJson = False) -> None:
    """List schedules, newest first."""
    with connect() as octavo:
        found = list(octavo.schedules.list())
    if as_json:
        print_json([one.raw for one in found])
        return
    rows = ((one.name, _rhythm(one), one.job.get("method"), one.status, next_time(one), *_last(one)) for one in found)
    empty = "There are no schedules yet. Begin with: octavo schedules create NAME METHOD --cron '0 3 * * *' …"
    print_table(("name", "when", "method", "status", "next", "last", ""), rows, empty)


def show(
    name: Annotated[str, typer.Argument(metavar="SCHEDULE", help="Name of a schedule.")],
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="Runs to show.")] = 10,
    as_json: AsJson = False,
) -> None:
    """One schedule, and what became of its times, the newest first."""
    with connect() as octavo:
        found = octavo.schedules.get(name)
        runs = list(islice(octavo.schedules.runs(name), limit))
    if as_json:
        print_json({**found.raw, "runs": [run.raw for run in runs]})
        return
    console().print(f"[bold]{found.name}[/] is {found.status}")
    print_facts(_facts(found))
    print_table(("planned", "fired", "outcome", "job", "made"), (_run_row(found, run) for run in runs), "It never ran.")


def list_jobs(
    name: Annotated[str, typer.Argument(metavar="SCHEDULE", help="Name of a schedule.")],
    everything: Annotated[bool, typer.Option("--all", "-a", help="Validations of its data sets, too.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000)] = 20,
    as_json: AsJson = False,
) -> None:
    """The jobs a schedule submitted, newest first."""
    from libs.client.cli.job_views import CHECKS, print_jobs

    with connect() as octavo:
        found = octavo.schedules.jobs(name, limit=min(limit, 200))
        jobs = list(islice((job for job in found if everything or job.method not in CHECKS), limit))
    if as_json:
        print_json([job.raw for job in jobs])
        return
    print_jobs(jobs, "It has submitted no jobs yet.")


def _facts(schedule: "Schedule") -> Iterator[tuple[str, object]]:
    import yaml

    yield "why", schedule.status_reason
    yield "when", _rhythm(schedule)
    yield "next", next_time(schedule) if schedule.next_run_at else ""
    for part in ("dataset", "job"):
        value = getattr(schedule, part)
        yield part, value and yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000).strip()
    yield "overlap", "" if schedule.overlap == "skip" else schedule.overlap
    yield "misfire", "" if schedule.misfire == "once" else schedule.misfire


def _rhythm(schedule: "Schedule") -> str:
    if schedule.cron is not None:
        return f"{schedule.cron} {schedule.timezone}"
    every_s = schedule.every_s or 0
    for length, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if every_s % length == 0:
            return f"every {every_s // length} {unit}"
    return f"every {every_s} s"


def next_time(schedule: "Schedule") -> str:
    """When it is due, or how to have it go on."""
    if schedule.next_run_at is None:
        return f"go on with: octavo schedules resume {schedule.name}"
    return _there(schedule, schedule.next_run_at)


def _there(schedule: "Schedule", moment: str) -> str:
    """A time of the API by the schedule's own clock."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        zone = ZoneInfo(schedule.timezone)
    except ZoneInfoNotFoundError:  # this machine knows fewer zones than the gateway
        return moment
    return datetime.fromisoformat(moment).astimezone(zone).strftime("%Y-%m-%d %H:%M %Z")


def _last(schedule: "Schedule") -> tuple[str, str]:
    newest = schedule.newest
    if newest is None:
        return "", ""
    return f"{ago(newest.fired_at)}: {_outcome(newest)}", _why(newest)


def _outcome(run: "ScheduleRun") -> str:
    return str(run.job["status"]) if run.job else run.outcome


def _why(run: "ScheduleRun") -> str:
    """What it made, or why it made nothing."""
    job = run.job or {}
    model = job.get("model")
    if model:
        promoted = f", now {model['promoted']}" if model.get("promoted") else ""
        return f"{model['name']}@{model['version']} is {model['status']}{promoted}"
    return run.reason or job.get("reason") or run.dataset or ""


def _run_row(schedule: "Schedule", run: "ScheduleRun") -> tuple[object, ...]:
    planned = _there(schedule, run.planned_at) if run.fired_by == "clock" else "by hand"
    return planned, ago(run.fired_at), _outcome(run), (run.job or {}).get("id", "")[:8], _why(run)
