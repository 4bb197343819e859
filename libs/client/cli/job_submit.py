"""`octavo jobs submit` and `clone`: one job, several, or a dry run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from libs.client.cli import submission
from libs.client.cli.follow import follow_to_end
from libs.client.cli.job_groups import submit_group
from libs.client.cli.output import AsJson, connect, console, duration, print_json, print_table, size

if TYPE_CHECKING:
    from libs.client.client import Octavo
    from libs.client.jobs import Job


def submit(
    method: Annotated[str | None, typer.Argument(help="A method; `octavo methods` lists them.")] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option("--dataset", "-d", help="NAME or NAME@VERSION; ROLE=NAME where there are several."),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="NAME, NAME@VERSION or NAME@ALIAS; ROLE=NAME as --dataset."),
    ] = None,
    setting: Annotated[list[str] | None, typer.Option("--set", "-s", help="Hyper-parameter: lr=0.05.")] = None,
    teacher: Annotated[str | None, typer.Option(help="Model that teaches: NAME, NAME@VERSION or NAME@ALIAS.")] = None,
    train_teacher: Annotated[
        str | None, typer.Option(metavar="NETWORK", help="Train a teacher first: wrn-40-2, or auto.")
    ] = None,
    tune_teacher: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Tune this model on the job's data first; it teaches then.")
    ] = None,
    teacher_set: Annotated[
        list[str] | None, typer.Option(help="Setting of the teacher's training: epochs=30, or dataset=NAME.")
    ] = None,
    compare_with: Annotated[
        str | None,
        typer.Option(metavar="BASELINES", help="Compare over --seeds with these: supervised,kd; or with `usual` ones."),
    ] = None,
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
        bool, typer.Option("--dry-run", help="Check it, try three steps, estimate time and memory; nothing is queued.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Submit a job. Options win over what stands in --file."""
    given = submission.Given(
        method,
        dataset or [],
        model or [],
        setting or [],
        seed,
        name,
        device,
        gpus,
        timeout_s,
        priority,
        submission.GivenTeacher(teacher, train_teacher, tune_teacher, teacher_set or []),
        compare_with,
    )
    with connect() as octavo:
        spec = submission.build(octavo, given, file)
        specs = None
        if "compare" in spec:
            if grid:
                raise typer.BadParameter("A comparison varies the seed alone; submit one for each value of --grid.")
            spec = submission.compare(spec, seeds)
        elif seeds is not None or grid:
            specs = submission.vary(octavo, spec, seeds, grid or [])
        if dry_run:
            _dry_run(octavo, specs or [spec], as_json)
        elif specs is not None:
            submit_group(octavo, specs, follow, as_json)
        else:
            _submit_one(octavo, spec, follow, as_json)


def clone(
    job: Annotated[str, typer.Argument(metavar="JOB", help="Id of a job, or the first letters of one, or its name.")],
    setting: Annotated[list[str] | None, typer.Option("--set", "-s", help="Change a hyper-parameter.")] = None,
    seed: Annotated[int | None, typer.Option(help="Another seed.")] = None,
    as_json: AsJson = False,
) -> None:
    """The same request as a new job, from its beginning; with --set or --seed changed."""
    from libs.client.cli.lookup import find_job

    with connect() as octavo:
        found = find_job(octavo, job)
        if not setting and seed is None:
            made = octavo.jobs.clone(found.id)
        else:
            given = submission.Given(setting=setting or [], seed=seed)
            made = octavo.jobs.submit(**submission.merge(octavo, octavo.jobs.spec(found.id), given))
    announce(made, as_json)


def submit_and_follow(spec: dict[str, Any], as_json: bool) -> None:
    """Submit a job and show it until it has ended."""
    with connect() as octavo:
        _submit_one(octavo, spec, follow=True, as_json=as_json)


def _submit_one(octavo: "Octavo", spec: dict[str, Any], follow: bool, as_json: bool) -> None:
    job = octavo.jobs.submit(**spec)
    if not follow:
        announce(job, as_json)
        return
    if not as_json:
        console().print(f"{job.name}  {job.id}", style="bold")
    follow_to_end(octavo, job.id, as_json)


def announce(job: "Job", as_json: bool) -> None:
    """Say where a job is now, and how to see what becomes of it."""
    if as_json:
        print_json(job.raw)
        return
    console().print(f"{job.name} is {job.status}: {job.id}")
    if job.status == "paused":
        console().print(f"Go on with: octavo jobs resume {job.id[:8]}")
    elif not job.ended:
        console().print(f"See it with: octavo jobs follow {job.id[:8]}")


def _dry_run(octavo: "Octavo", specs: list[dict[str, Any]], as_json: bool) -> None:
    """Check every job; the first one is tried for three steps if it is a training that some worker could take."""
    answers = [octavo.jobs.dry_run(**spec) for spec in specs]
    answer, spec = answers[0], specs[0]
    is_training = octavo.methods.get(spec["method"]).kind == "method" and not isinstance(spec.get("teacher"), dict)
    if as_json:
        estimate = _estimate(octavo, spec) if is_training and answer["workers"] else None
        print_json({**answer, "jobs": len(answers), "estimate": estimate})
        return
    _show_dry_run(answer, len(answers))
    if is_training and answer["workers"]:
        console().print("Trying three steps, as soon as a worker is free …", style="dim")
        _show_estimate(_estimate(octavo, spec), max(len(answers), len(answer.get("first", []))))
    elif isinstance(spec.get("teacher"), dict):
        console().print("Its teacher is not there yet, so three steps cannot be tried.", style="yellow")


def _estimate(octavo: "Octavo", spec: dict[str, Any]) -> dict[str, Any]:
    from libs.client.errors import JobFailedError, OctavoError

    try:
        return octavo.jobs.estimate(**spec)
    except JobFailedError as error:
        raise OctavoError(f"The trial of three steps {error.status}: {error.reason}") from None


def _show_dry_run(answer: dict[str, Any], count: int) -> None:
    import yaml

    others = f" and {count - 1} more" if count > 1 else ""
    console().print(f"[bold]{answer['name']}[/]{others} would be queued on {answer['queue']}; nothing was.")
    for one in answer.get("first", []):
        console().print(f"Before it: {one['name']}, seed {one['spec']['seed']}, on {one['queue']}.", markup=False)
    if answer.get("workers") == 0:
        console().print(f"No worker takes jobs of queue {answer['queue']} now: it would wait.", style="yellow")
    console().print(yaml.safe_dump(answer["spec"], sort_keys=False, allow_unicode=True), markup=False)


def _show_estimate(estimate: dict[str, Any], count: int) -> None:
    rows = [
        ("time", duration(estimate["total_s"])),
        ("steps", f"{estimate['steps']} of {1000 * estimate['step_s']:.0f} ms"),
        ("memory", size(estimate["memory_bytes"])),
        ("parameters trained", f"{estimate['trained_parameters']:,}"),
        ("parameters served", f"{estimate['served_parameters']:,}"),
    ]
    if count > 1:
        rows.insert(1, (f"all {count} jobs, as this one", duration(count * estimate["total_s"])))
    print_table(("estimate of the first" if count > 1 else "estimate", ""), rows)
