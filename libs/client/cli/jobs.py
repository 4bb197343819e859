"""`octavo jobs`: submit, follow, steer, compare."""

from typing import Annotated

import typer

from libs.client.cli import job_groups, job_outputs, job_submit, job_views
from libs.client.cli.lookup import find_job
from libs.client.cli.output import AsJson, connect, console, print_json

app = typer.Typer(no_args_is_help=True, help="Submit, follow and steer jobs.")
JobId = Annotated[str, typer.Argument(metavar="JOB", help="Id of a job, or the first letters of one, or its name.")]

app.command()(job_submit.submit)
app.command()(job_submit.clone)
app.command()(job_groups.group)
app.command("ls")(job_views.list_jobs)
app.command()(job_views.show)
app.command()(job_views.events)
app.command()(job_views.logs)
app.command()(job_views.follow)
app.command()(job_outputs.export)
app.command()(job_outputs.report)
app.command()(job_outputs.artifacts)


def _steer(action: str, job: str, as_json: bool) -> None:
    with connect() as octavo:
        found = find_job(octavo, job)
        job_submit.announce(getattr(octavo.jobs, action)(found.id), as_json)


@app.command()
def cancel(job: JobId, as_json: AsJson = False) -> None:
    """Ask it to stop; a running one writes a last checkpoint."""
    _steer("cancel", job, as_json)


@app.command()
def pause(job: JobId, as_json: AsJson = False) -> None:
    """Ask it to write a checkpoint and give its place to others."""
    _steer("pause", job, as_json)


@app.command()
def resume(job: JobId, as_json: AsJson = False) -> None:
    """Go on with a paused job from its checkpoint."""
    _steer("resume", job, as_json)


@app.command()
def retry(job: JobId, as_json: AsJson = False) -> None:
    """A failed or cancelled job as a new one, from its last checkpoint."""
    _steer("retry", job, as_json)


@app.command("rm")
def remove(
    jobs: Annotated[list[str], typer.Argument(metavar="JOB...", help="Ids of jobs, their first letters, or names.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete jobs that have ended, with their events, metrics and files; models they made stay."""
    with connect() as octavo:
        found = {job.id: job for job in (find_job(octavo, text) for text in jobs)}
        if not yes:
            names = ", ".join(f"{job.name} ({job.id[:8]}, {job.status})" for job in found.values())
            typer.confirm(f"Delete {names}?", abort=True, err=True)
        for job in found.values():
            octavo.jobs.delete(job.id)
            if not as_json:
                console().print(f"Deleted: {job.name} {job.id}", markup=False)
    if as_json:
        print_json([{"id": job.id, "name": job.name, "deleted": True} for job in found.values()])
