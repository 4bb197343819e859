"""Looking at jobs: the list, one of them, its events and log lines."""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from libs.client.cli.lookup import find_job
from libs.client.cli.output import (
    AsJson,
    ago,
    connect,
    console,
    duration,
    print_facts,
    print_json,
    print_settings,
    print_table,
    seconds_between,
)
from libs.client.cli.result_view import print_result
from libs.client.records import JobState

if TYPE_CHECKING:
    from libs.client.jobs import Job

JobId = Annotated[str, typer.Argument(metavar="JOB", help="Id of a job, or the first letters of one, or its name.")]
CHECKS = frozenset({"validate-dataset", "estimate"})
"""Methods of jobs that nobody submits as a job: `datasets create` and `--dry-run` make them."""


def list_jobs(
    status: Annotated[
        list[JobState] | None, typer.Option(metavar="STATE", help="Only this state; once for each.")
    ] = None,
    method: Annotated[str | None, typer.Option(help="Only this method.")] = None,
    schedule: Annotated[str | None, typer.Option(help="Only what this schedule submitted.")] = None,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Validations and dry runs, too.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000)] = 20,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first; without those that only checked a data set or a dry run."""
    with connect() as octavo:
        found = octavo.jobs.list(status=status or (), method=method, schedule=schedule, limit=min(limit, 200))
        shown = found if everything or method else (job for job in found if job.method not in CHECKS)
        jobs = list(islice(shown, limit))
    if as_json:
        print_json([job.raw for job in jobs])
        return
    empty = "There are no such jobs." if status or method or schedule else _NO_JOBS
    print_jobs(jobs, empty)


def print_jobs(jobs: Iterable["Job"], empty: str) -> None:
    """A table of jobs; `empty` in place of one without a line."""
    print_table(("job", "name", "method", "status", "done", "submitted", "ran"), map(_row, jobs), empty)


_NO_JOBS = "There are no jobs yet. Begin with: octavo jobs submit frskd --dataset NAME"


def _row(job: "Job") -> tuple[object, ...]:
    ran = duration(seconds_between(job.started_at, job.finished_at))
    return (job.id[:8], job.name, job.method, job.status, f"{job.progress:.0%}", ago(job.created_at), ran)


def show(job: JobId, as_json: AsJson = False) -> None:
    """One job: state, result, attempts, settings."""
    with connect() as octavo:
        found = find_job(octavo, job)
    if as_json:
        print_json(found.raw)
    else:
        _show(found)


def _show(job: "Job") -> None:
    screen = console()
    screen.print(f"[bold]{job.name}[/]  {job.id}")
    reason = f": {job.reason}" if job.reason else ""
    screen.print(f"{job.status}{reason}", style=_STYLES.get(job.status), markup=False, soft_wrap=True)
    print_facts(_facts(job))
    _show_children(job)
    print_result(job)
    print_settings((job.spec or {}).get("config", {}))
    error = job.error or {}
    if error.get("traceback") and not error.get("user_error"):
        screen.print(f"\n{str(error['traceback']).rstrip()}", style="dim", markup=False, soft_wrap=True)


def _show_children(job: "Job") -> None:
    """The jobs whose models it needs: its teacher's, the runs it compares."""
    if job.children:
        rows = [(one["id"][:8], one["role"], one["status"], f"{one['progress']:.0%}") for one in job.children]
        print_table(("needs job", "as", "status", "done"), rows)


_STYLES = {"succeeded": "green", "failed": "red", "retry_wait": "yellow"}


def _facts(job: "Job") -> list[tuple[str, object]]:
    spec, result = job.spec or {}, job.result or {}
    inputs = [f"{role}={name}" for kind in ("datasets", "models") for role, name in spec.get(kind, {}).items()]
    facts: list[tuple[str, object]] = [("method", f"{job.method} {' '.join(inputs)}".rstrip())]
    facts.append(("schedule", job.schedule))
    if not job.ended:
        facts.append(("progress", f"{job.progress:.0%} {job.progress_note}".rstrip()))
    facts.append(("submitted", ago(job.created_at)))
    facts.append(("ran", duration(seconds_between(job.started_at, job.finished_at))))
    made = result.get("model")
    if made:
        facts.append(("model", f"{made['name']}@{made['version']} is {made['status']}"))
    attempts = job.raw.get("attempts", [])
    if len(attempts) > 1:
        facts += [(f"attempt {one['epoch']}", _attempt(one)) for one in attempts]
    resources = spec.get("resources", {})
    device = resources.get("device", "auto")
    facts.append(("device", device if device != "auto" else ""))
    facts.append(("processes", resources.get("gpus") if resources.get("gpus", 1) > 1 else ""))
    return [*facts, ("seed", spec.get("seed"))]


def _attempt(attempt: Mapping[str, Any]) -> str:
    took = duration(seconds_between(attempt["started_at"], attempt["finished_at"]))
    why = (attempt.get("error") or {}).get("message")
    return f"{attempt['exit_reason'] or 'running'}, {took}{f': {why}' if why else ''}"


def events(job: JobId, after: Annotated[int, typer.Option(min=0)] = 0, as_json: AsJson = False) -> None:
    """Every event so far, numbered."""
    from libs.client.cli.follow import described, explained

    with connect() as octavo:
        found = find_job(octavo, job)
        history = list(octavo.jobs.history(found.id, after))
    if as_json:
        print_json([event.raw for event in history])
        return
    for event in history:
        text = described(explained(event, found))
        line = f"{event.seq:>5}  {(event.at or '')[:19]:<19}  {event.kind:<10}  {text}"
        console().print(line.rstrip(), markup=False, soft_wrap=True)


def logs(job: JobId) -> None:
    """The log lines of a job so far."""
    from libs.client.cli.follow import line_of

    with connect() as octavo:
        for event in octavo.jobs.history(find_job(octavo, job).id):
            if event.kind == "log":
                console().print(line_of(event), markup=False, soft_wrap=True)


def follow(job: JobId, as_json: AsJson = False) -> None:
    """Show a job until it has ended; Ctrl-C stops the showing, not the job."""
    from libs.client.cli.follow import follow_to_end

    with connect() as octavo:
        follow_to_end(octavo, find_job(octavo, job).id, as_json)
