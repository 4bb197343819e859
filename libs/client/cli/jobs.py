"""`octavo jobs`: submit, follow, steer, compare."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from libs.client.cli import submission
from libs.client.cli.output import (
    AsJson,
    ago,
    connect,
    console,
    duration,
    figure,
    print_json,
    print_table,
    seconds_between,
    size,
)

if TYPE_CHECKING:
    from libs.client.client import Octavo
    from libs.client.jobs import Job

app = typer.Typer(no_args_is_help=True, help="Submit, follow and steer jobs.")
JobId = Annotated[str, typer.Argument(metavar="JOB", help="Id of a job, or the first letters of one, or its name.")]


@app.command()
def submit(
    method: Annotated[str | None, typer.Argument(help="A method; `octavo methods` lists them.")] = None,
    dataset: Annotated[
        list[str] | None, typer.Option("--dataset", "-d", help="NAME[@version]; ROLE=NAME where there are several.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option("--model", "-m", help="NAME[@version or alias]; ROLE=NAME as --dataset.")
    ] = None,
    setting: Annotated[list[str] | None, typer.Option("--set", "-s", help="Hyper-parameter: lr=0.05.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of all randomness.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the job and its model; else DATASET-METHOD.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.")] = None,
    gpus: Annotated[int | None, typer.Option(min=1, help="GPUs (on cpu: processes) of one job.")] = None,
    timeout_s: Annotated[float | None, typer.Option("--timeout", help="Seconds it may run.")] = None,
    priority: Annotated[int | None, typer.Option(help="-10 to 10; higher first.")] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="YAML or JSON as `jobs export` prints.")] = None,
    seeds: Annotated[str | None, typer.Option(help="One job a seed: 0,1,2 or 0-4.")] = None,
    grid: Annotated[list[str] | None, typer.Option(help="One job a value: lr=0.1,0.05; several make a grid.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Show it until it has ended.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check it, try three steps, estimate time and memory.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Submit a job. Options win over what stands in --file."""
    given = submission.Given(
        method, dataset or [], model or [], setting or [], seed, name, device, gpus, timeout_s, priority
    )
    with connect() as octavo:
        spec = submission.build(octavo, given, file)
        if dry_run:
            _dry_run(octavo, spec, as_json)
        elif seeds is not None or grid:
            _submit_group(octavo, submission.vary(octavo, spec, seeds, grid or []), follow, as_json)
        else:
            _submit_one(octavo, spec, follow, as_json)


def _submit_one(octavo: "Octavo", spec: dict[str, Any], follow: bool, as_json: bool) -> None:
    job = octavo.jobs.submit(**spec)
    if not follow:
        _announce(job, as_json)
        return
    if not as_json:
        console().print(f"{job.name}  {job.id}", style="bold")
    follow_to_end(octavo, job.id, as_json)


def submit_and_follow(spec: dict[str, Any], as_json: bool) -> None:
    """Submit a job and show it until it has ended."""
    with connect() as octavo:
        _submit_one(octavo, spec, follow=True, as_json=as_json)


def _announce(job: "Job", as_json: bool) -> None:
    if as_json:
        print_json(job.raw)
    else:
        console().print(f"{job.name} is {job.status}: {job.id}\nSee it with: octavo jobs follow {job.id[:8]}")


def follow_to_end(octavo: "Octavo", job_id: str, as_json: bool) -> None:
    from libs.client.cli.follow import follow

    job = follow(octavo, job_id, as_json=as_json)
    if not as_json:
        _show_result(job)


def _show_result(job: "Job") -> None:
    took = duration(seconds_between(job.started_at, job.finished_at))
    result = job.result or {}
    console().print(f"[bold green]{job.name} succeeded[/] in {took}")
    print_table(("metric", "value"), ((key, figure(value)) for key, value in result.get("metrics", {}).items()), " ")
    made = result.get("model")
    if made:
        reason = f" ({made['status_reason']})" if made.get("status_reason") else ""
        console().print(f"model {made['name']}@{made['version']} is {made['status']}{reason}", markup=False)
        if made["status"] == "ready":
            console().print(f"Serve it with: octavo deploy {made['name']}", markup=False)


def _dry_run(octavo: "Octavo", spec: dict[str, Any], as_json: bool) -> None:
    """Check a job; a training that some worker could take is tried for three steps."""
    answer = octavo.jobs.dry_run(**spec)
    is_training = octavo.methods.get(spec["method"]).kind == "method"
    estimate = octavo.jobs.estimate(**spec) if is_training and answer["workers"] else None
    if as_json:
        print_json({**answer, "estimate": estimate})
        return
    _show_dry_run(answer)
    if estimate is not None:
        rows = [
            ("time", duration(estimate["total_s"])),
            ("steps", f"{estimate['steps']} of {1000 * estimate['step_s']:.0f} ms"),
            ("memory", size(estimate["memory_bytes"])),
            ("parameters trained", f"{estimate['trained_parameters']:,}"),
            ("parameters served", f"{estimate['served_parameters']:,}"),
        ]
        print_table(("estimate", ""), rows)


def _show_dry_run(answer: dict[str, Any]) -> None:
    import yaml

    console().print(f"[bold]{answer['name']}[/] would be queued on {answer['queue']}; nothing was.")
    if answer.get("workers") == 0:
        console().print(f"No worker takes jobs of queue {answer['queue']} now: it would wait.", style="yellow")
    console().print(yaml.safe_dump(answer["spec"], sort_keys=False, allow_unicode=True), markup=False)


def _submit_group(octavo: "Octavo", specs: list[dict[str, Any]], follow: bool, as_json: bool) -> None:
    group = octavo.jobs.submit_group(specs)
    if follow:
        for member in group["members"]:
            octavo.jobs.wait_ended(member["job"]["id"])
        group = octavo.jobs.group(group["id"])
    if as_json:
        print_json(group)
    else:
        _show_group(group)


@app.command()
def group(group_id: str, as_json: AsJson = False) -> None:
    """The jobs of one --seeds or --grid submission as a table."""
    with connect() as octavo:
        found = octavo.jobs.group(group_id)
    if as_json:
        print_json(found)
    else:
        _show_group(found)


def _show_group(found: dict[str, Any]) -> None:
    members = found["members"]
    varied = sorted({name for member in members for name in member["varied"]})
    metrics = sorted({name for member in members for name in member["metrics"]})[:6]
    rows = [
        (
            member["job"]["id"][:8],
            member["job"]["status"],
            member["seed"],
            *(member["varied"].get(name) for name in varied),
            *(figure(member["metrics"].get(name, "")) for name in metrics),
        )
        for member in members
    ]
    console().print(f"group {found['id']}")
    print_table(("job", "status", "seed", *varied, *metrics), rows)


@app.command("ls")
def list_jobs(
    status: Annotated[list[str] | None, typer.Option(help="Only these states.")] = None,
    method: Annotated[str | None, typer.Option(help="Only this method.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000)] = 20,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    from itertools import islice

    with connect() as octavo:
        jobs = list(islice(octavo.jobs.list(status=status or (), method=method, limit=min(limit, 200)), limit))
    if as_json:
        print_json([job.raw for job in jobs])
        return
    rows = (
        (
            job.id[:8],
            job.name,
            job.method,
            job.status,
            f"{job.progress:.0%}",
            ago(job.created_at),
            duration(seconds_between(job.started_at, job.finished_at)),
        )
        for job in jobs
    )
    empty = "There are no jobs yet. Begin with: octavo jobs submit frskd --dataset NAME"
    print_table(("job", "name", "method", "status", "done", "submitted", "ran"), rows, empty)


@app.command()
def show(job: JobId, as_json: AsJson = False) -> None:
    """One job: state, settings, attempts, result."""
    with connect() as octavo:
        found = submission.find_job(octavo, job)
    if as_json:
        print_json(found.raw)
        return
    import yaml

    console().print(f"[bold]{found.name}[/]  {found.id}")
    reason = f": {found.reason}" if found.status in ("failed", "cancelled") else ""
    console().print(
        f"{found.method} is {found.status}{reason}  {found.progress:.0%} {found.progress_note}", markup=False
    )
    for attempt in found.raw.get("attempts", []):
        took = duration(seconds_between(attempt["started_at"], attempt["finished_at"]))
        console().print(f"  attempt {attempt['epoch']}: {attempt['exit_reason'] or 'running'} {took}", markup=False)
    shown = {name: found.raw.get(name) for name in ("spec", "result", "error") if found.raw.get(name)}
    console().print(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True), markup=False)


@app.command()
def events(job: JobId, after: Annotated[int, typer.Option(min=0)] = 0, as_json: AsJson = False) -> None:
    """Every event so far, numbered."""
    from libs.client.cli.follow import line_of

    with connect() as octavo:
        found = list(octavo.jobs.history(submission.find_job(octavo, job).id, after))
    if as_json:
        print_json([event.raw for event in found])
        return
    rows = ((event.seq, (event.at or "")[:19], event.kind, line_of(event) or str(event.data)) for event in found)
    print_table(("#", "time", "kind", ""), rows)


@app.command()
def logs(job: JobId) -> None:
    """The log lines of a job so far."""
    from libs.client.cli.follow import line_of

    with connect() as octavo:
        for event in octavo.jobs.history(submission.find_job(octavo, job).id):
            if event.kind == "log":
                console().print(line_of(event), markup=False, soft_wrap=True)


@app.command()
def follow(job: JobId, as_json: AsJson = False) -> None:
    """Show a job until it has ended; Ctrl-C stops the showing, not the job."""
    with connect() as octavo:
        follow_to_end(octavo, submission.find_job(octavo, job).id, as_json)


def _steer(action: str, job: str, as_json: bool) -> None:
    with connect() as octavo:
        found = submission.find_job(octavo, job)
        _announce(getattr(octavo.jobs, action)(found.id), as_json)


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
        found = {job.id: job for job in (submission.find_job(octavo, text) for text in jobs)}
        if not yes:
            names = ", ".join(f"{job.name} ({job.id[:8]}, {job.status})" for job in found.values())
            typer.confirm(f"Delete {names}?", abort=True, err=True)
        for job in found.values():
            octavo.jobs.delete(job.id)
            if not as_json:
                console().print(f"Deleted: {job.name} {job.id}", markup=False)
    if as_json:
        print_json([{"id": job.id, "name": job.name, "deleted": True} for job in found.values()])


@app.command()
def clone(
    job: JobId,
    setting: Annotated[list[str] | None, typer.Option("--set", "-s", help="Change a hyper-parameter.")] = None,
    seed: Annotated[int | None, typer.Option(help="Another seed.")] = None,
    as_json: AsJson = False,
) -> None:
    """The same request as a new job, from its beginning; with --set or --seed changed."""
    with connect() as octavo:
        found = submission.find_job(octavo, job)
        if not setting and seed is None:
            made = octavo.jobs.clone(found.id)
        else:
            given = submission.Given(setting=setting or [], seed=seed)
            made = octavo.jobs.submit(**submission.merge(octavo, octavo.jobs.spec(found.id), given))
    _announce(made, as_json)


@app.command()
def export(job: JobId, as_json: AsJson = False) -> None:
    """The request of a job as YAML for `jobs submit -f`."""
    with connect() as octavo:
        spec = octavo.jobs.spec(submission.find_job(octavo, job).id)
    if as_json:
        print_json(spec)
        return
    import yaml

    typer.echo(yaml.safe_dump(spec, sort_keys=False, allow_unicode=True), nl=False)


@app.command()
def report(
    job: JobId,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File; else JOBNAME.html.")] = None,
    open_: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
) -> None:
    """Fetch the HTML report of a job."""
    with connect() as octavo:
        found = submission.find_job(octavo, job)
        text = octavo.jobs.report(found.id)
    target = output or Path(f"{found.name}.html")
    target.write_text(text)
    console().print(f"Written: {target}", markup=False)
    if open_:
        typer.launch(target.resolve().as_uri())


@app.command()
def artifacts(
    job: JobId,
    folder: Annotated[Path | None, typer.Option("--download", help="Fetch all of them into this folder.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the files a job made, or fetch them."""
    from libs.client.cli.output import size

    with connect() as octavo:
        found = submission.find_job(octavo, job)
        files = octavo.jobs.artifacts(found.id)
        if folder is not None:
            for file in files:
                octavo.jobs.download_artifact(found.id, file, submission.inside(folder, file.name))
    if as_json:
        print_json([file.raw for file in files])
    else:
        print_table(("kind", "name", "size"), ((file.kind, file.name, size(file.size_bytes)) for file in files))
