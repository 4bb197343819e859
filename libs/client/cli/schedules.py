"""`octavo schedules`: jobs that are submitted again and again."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from libs.client.cli import schedule_views, submission
from libs.client.cli.output import AsJson, connect, console, print_json
from libs.client.cli.parameters import parse_age
from libs.client.cli.schedule_views import next_time

if TYPE_CHECKING:
    from libs.client.records import Schedule

app = typer.Typer(no_args_is_help=True, help="Submit jobs by the clock.")
Name = Annotated[str, typer.Argument(metavar="SCHEDULE", help="Name of a schedule.")]
_PLAN = ("cron", "every_s", "timezone", "dataset", "overlap", "misfire")


app.command("ls")(schedule_views.list_schedules)
app.command()(schedule_views.show)
app.command("jobs")(schedule_views.list_jobs)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Name of the schedule.")],
    method: Annotated[str | None, typer.Argument(help="A method; `octavo methods` lists them.")] = None,
    cron: Annotated[
        str | None, typer.Option(help="Minute, hour, day of month, month, day of week: '0 3 * * *' is each night at 3.")
    ] = None,
    every: Annotated[str | None, typer.Option(metavar="TIME", help="In place of --cron: 6h, 1d, 2w.")] = None,
    timezone: Annotated[str | None, typer.Option("--tz", help="Whose clock --cron means; else UTC.")] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option("--dataset", "-d", help="NAME or NAME@VERSION; ROLE=NAME where there are several."),
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option("--model", "-m", help="NAME, NAME@VERSION or NAME@ALIAS; looked up each time.")
    ] = None,
    setting: Annotated[list[str] | None, typer.Option("--set", "-s", help="Hyper-parameter: lr=0.05.")] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", help="YAML or JSON: a job as `jobs submit -f` takes it, or a schedule as REST."),
    ] = None,
    from_events: Annotated[
        str | None, typer.Option(metavar="DATASET", help="First make a version of it of events sent to /v1/events.")
    ] = None,
    since: Annotated[int | None, typer.Option(min=1, metavar="DAYS", help="With --from-events: the last days.")] = None,
    base: Annotated[str | None, typer.Option(help="With --from-events: a data set they are added to.")] = None,
    overlap: Annotated[str | None, typer.Option(help="While a job of it runs: skip (default) or allow.")] = None,
    misfire: Annotated[str | None, typer.Option(help="What was missed is made up for once (default), or skip.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Change the schedule of this name.")] = False,
    as_json: AsJson = False,
) -> None:
    """Submit a job again and again; options win over what stands in --file. It is checked now, and each time."""
    if from_events is None and (since is not None or base is not None):
        raise typer.BadParameter("--since and --base belong to --from-events.")
    plan, job = _read(file)
    if cron is not None or every is not None:
        plan = {key: value for key, value in plan.items() if key not in ("cron", "every_s")}
    given = {"cron": cron, "every_s": _seconds(every), "timezone": timezone, "overlap": overlap, "misfire": misfire}
    plan |= {key: value for key, value in given.items() if value is not None}
    if not plan.keys() & {"cron", "every_s"}:
        raise typer.BadParameter("When? Give --cron or --every, as in --every 1d or --cron '0 3 * * *'.")
    if from_events is not None:
        recorded = {key: value for key, value in (("since_days", since), ("base", base)) if value is not None}
        plan["dataset"] = {"name": from_events, "source": {"recorded": recorded}}
        dataset = dataset or ([] if job.get("datasets") else [from_events])
    with connect() as octavo:
        spec = submission.build_on(octavo, submission.Given(method, dataset or [], model or [], setting or []), job)
        store = octavo.schedules.replace if replace else octavo.schedules.create
        made = store(name, spec, **plan)
    if as_json:
        print_json(made.raw)
        return
    console().print(f"[bold]{made.name}[/] is {made.status}; {next_time(made)}")
    console().print(f"See what becomes of it with: octavo schedules show {made.name}", markup=False)


def _read(file: Path | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The plan and the job that stand in a file: a whole schedule has a field `job`, anything else is a job."""
    found = submission.read_spec(file) if file is not None else {}
    if "job" not in found:
        return {}, found
    unknown = sorted(found.keys() - {*_PLAN, "job", "name"})
    if unknown or not isinstance(found["job"], dict):
        wrong = f"has no field {unknown[0]!r}" if unknown else "has a job with fields of its own"
        raise typer.BadParameter(f"A schedule {wrong}; it has {', '.join(('job', *_PLAN))}.", param_hint="--file")
    return {key: found[key] for key in _PLAN if found.get(key) is not None}, found["job"]


def _seconds(every: str | None) -> int | None:
    return None if every is None else round(parse_age(every))


@app.command()
def pause(name: Name, as_json: AsJson = False) -> None:
    """Submit nothing until it is resumed; its jobs go on."""
    with connect() as octavo:
        _announce(octavo.schedules.pause(name), as_json)


@app.command()
def resume(name: Name, as_json: AsJson = False) -> None:
    """Go on with the first time from now."""
    with connect() as octavo:
        _announce(octavo.schedules.resume(name), as_json)


def _announce(schedule: "Schedule", as_json: bool) -> None:
    if as_json:
        print_json(schedule.raw)
    else:
        console().print(f"[bold]{schedule.name}[/] is {schedule.status}; {next_time(schedule)}")


@app.command()
def run(
    name: Name,
    follow: Annotated[bool, typer.Option("--follow", help="Show the job until it has ended.")] = False,
    as_json: AsJson = False,
) -> None:
    """Submit its job now, beside its own times."""
    from libs.client.cli.follow import follow_to_end

    with connect() as octavo:
        made = octavo.schedules.run(name)
        job = made.job or {}
        if follow:
            follow_to_end(octavo, job["id"], as_json)
        elif as_json:
            print_json(made.raw)
        else:
            first = f"{made.dataset} is made first; " if made.dataset else ""
            console().print(f"{first}{job['name']} is {job['status']}: {job['id']}", markup=False)
            console().print(f"See it with: octavo jobs follow {job['id'][:8]}", markup=False)


@app.command("rm")
def remove(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete a schedule and the list of its runs; its jobs stay."""
    with connect() as octavo:
        if not yes:
            typer.confirm(f"Delete the schedule {name}?", abort=True, err=True)
        octavo.schedules.delete(name)
    if as_json:
        print_json({"name": name, "deleted": True})
    else:
        console().print(f"Deleted: {name}", markup=False)
