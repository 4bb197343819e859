"""`octavo datasets`: upload, validate, look at."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from libs.client.cli.output import AsJson, ago, connect, console, print_json, print_table, size, split_order
from libs.client.cli.parameters import parse_settings, resolved
from libs.client.cli.submission import write

if TYPE_CHECKING:
    from libs.client.client import Octavo
    from libs.client.records import DatasetVersion

app = typer.Typer(no_args_is_help=True, help="Upload, validate and look at data sets.")
Reference = Annotated[str, typer.Argument(metavar="NAME[@VERSION]")]
ValFraction = Annotated[float | None, typer.Option("--val", min=0, max=0.9, help="Share of the validation split.")]
TestFraction = Annotated[float | None, typer.Option("--test", min=0, max=0.9, help="Share of the test split.")]
SplitSeed = Annotated[int | None, typer.Option(min=0, help="Seed of the split.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is validated.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits, dot, dash, underscore.")],
    images: Annotated[Path | None, typer.Option("--images", help="Zip, tar or folder with one folder a class.")] = None,
    npz: Annotated[Path | None, typer.Option("--npz", help="Arrays: x [N,H,W(,C)] uint8, y [N].")] = None,
    events: Annotated[
        Path | None, typer.Option("--events", help="CSV, TSV (also .gz), Parquet, an archive or folder of them.")
    ] = None,
    item_features: Annotated[
        Path | None, typer.Option("--item-features", help="CSV or Parquet: an item a row, beside --events.")
    ] = None,
    path: Annotated[str | None, typer.Option("--path", help="Where the workers find it: a folder or s3://….")] = None,
    from_events: Annotated[bool, typer.Option("--from-events", help="Made of what was sent to /v1/events.")] = False,
    since: Annotated[int | None, typer.Option(min=1, metavar="DAYS", help="With --from-events: the last days.")] = None,
    base: Annotated[str | None, typer.Option(help="With --from-events: a data set they are added to.")] = None,
    description: Annotated[str, typer.Option(help="For people.")] = "",
    val: ValFraction = None,
    test: TestFraction = None,
    split_seed: SplitSeed = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Of events: split=by-user, min_item_events=5 …"),
    ] = None,
    resume: Annotated[int | None, typer.Option(help="Go on with the interrupted upload of this version.")] = None,
    wait: Wait = True,
    as_json: AsJson = False,
) -> None:
    """Make a data set, or the next version of one. A folder is sent as it is; nothing is packed on disk."""
    files = [one for one in (images, npz, events) if one is not None]
    if len(files) + (path is not None) + from_events != 1:
        raise typer.BadParameter("Give one of --images, --npz, --events, --from-events and --path.")
    if not from_events and (since is not None or base is not None):
        raise typer.BadParameter("--since and --base belong to --from-events.")
    if item_features is not None:
        if events is None:
            raise typer.BadParameter("--item-features belongs to --events.")
        files.append(item_features)
    options = _options(val, test, split_seed)
    with connect() as octavo:
        if events is not None or from_events or setting:
            options |= {"kind": "events", "events": _event_options(octavo, setting or [])}
        if from_events:
            version = octavo.datasets.from_events(
                name, since_days=since, base=base, options=options, description=description
            )
        elif path is not None:
            version = octavo.datasets.from_path(name, path, options=options, description=description)
        else:
            version = _send(octavo, name, files, options, description, resume, as_json)
        _finish(octavo, version, wait, as_json)


def _event_options(octavo: "Octavo", settings: list[str]) -> dict[str, Any]:
    """Options of events, by the schema that the gateway gives."""
    if not settings:
        return {}
    schema = octavo.methods.get("validate-dataset").config_schema or {}
    found = {**schema, **resolved(schema.get("properties", {}).get("events", {}), schema)}
    return parse_settings(settings, found)


def _options(val: float | None, test: float | None, split_seed: int | None) -> dict[str, Any]:
    wanted = {"val_fraction": val, "test_fraction": test, "split_seed": split_seed}
    return {key: value for key, value in wanted.items() if value is not None}


def _send(
    octavo: "Octavo",
    name: str,
    files: list[Path],
    options: dict[str, Any],
    description: str,
    resume: int | None,
    quiet: bool,
) -> "DatasetVersion":
    with _bar("sending", quiet, in_bytes=True) as show:
        if resume is not None:
            return octavo.datasets.resume_upload(name, resume, *files, progress=show)
        return octavo.datasets.upload(name, *files, options=options, description=description, progress=show)


def _finish(octavo: "Octavo", version: "DatasetVersion", wait: bool, as_json: bool) -> None:
    if wait:
        if not as_json and version.status != "ready":
            console().print(
                f"{version.reference} has arrived; validating it, as soon as a worker is free …", style="dim"
            )
        with _bar("validating", as_json) as show:
            version = octavo.datasets.wait_ready(version, lambda fraction, note: show(fraction, 1.0))
    if as_json:
        print_json(version.raw)
    elif version.status == "ready":
        console().print(f"[bold green]{version.reference} is ready[/]  {summary_of(version)}")
    else:
        console().print(f"{version.reference} is {version.status}; see `octavo datasets show {version.dataset}`")


@contextmanager
def _bar(title: str, quiet: bool, *, in_bytes: bool = False) -> Iterator[Callable[[float, float], None]]:
    """A progress bar on a terminal, nothing elsewhere."""
    screen = console()
    if quiet or not screen.is_terminal:
        yield lambda done, total: None
        return
    from rich import progress

    extra = (progress.DownloadColumn(), progress.TransferSpeedColumn()) if in_bytes else ()
    columns = (progress.TextColumn("{task.description}"), progress.BarColumn(), *extra, progress.TimeRemainingColumn())
    with progress.Progress(*columns, console=screen, transient=True) as shown:
        task = shown.add_task(title, total=1.0)
        yield lambda done, total: shown.update(task, completed=done, total=total)


@app.command()
def pull(
    public: Annotated[str, typer.Argument(help="A public data set, such as digits or fashion-mnist.")],
    name: Annotated[str | None, typer.Option(help="Its name here; else the public one.")] = None,
    val: ValFraction = None,
    test: TestFraction = None,
    split_seed: SplitSeed = None,
    wait: Wait = True,
    as_json: AsJson = False,
) -> None:
    """Have the platform fetch a public data set, checked by its checksum."""
    with connect() as octavo:
        version = octavo.datasets.pull(public, name, options=_options(val, test, split_seed))
        _finish(octavo, version, wait, as_json)


@app.command("ls")
def list_datasets(as_json: AsJson = False) -> None:
    """List data sets, newest first."""
    with connect() as octavo:
        found = list(octavo.datasets.list())
    if as_json:
        print_json([one.raw for one in found])
        return
    rows = []
    for one in found:
        latest = one.latest or {}
        summary = latest.get("summary") or {}
        rows.append(
            (
                f"{one.name}@{latest.get('version', '')}",
                latest.get("status"),
                _content(summary),
                size(latest.get("size_bytes")),
                ago(one.created_at),
                one.description,
            )
        )
    columns = ("data set", "status", "content", "size", "made", "description")
    empty = (
        "There are no data sets yet. Begin with: octavo datasets create NAME --images FILE.zip, or --events FILE.csv"
    )
    print_table(columns, rows, empty)


def _version(octavo: "Octavo", reference: str) -> "DatasetVersion":
    from libs.client.records import DatasetVersion

    name, _, number = reference.partition("@")
    if number:
        if not number.isdigit():
            raise typer.BadParameter(f"{reference!r}: a data set's version is a number, as in {name}@1.")
        return octavo.datasets.version(name, int(number))
    return DatasetVersion.of(octavo.datasets.get(name).latest or {"dataset": name, "version": 0, "status": "empty"})


@app.command()
def show(reference: Reference, as_json: AsJson = False) -> None:
    """One version: what validation found, classes, splits, sizes."""
    from libs.client.errors import NotFoundError

    with connect() as octavo:
        version = _version(octavo, reference)
        try:
            report = octavo.datasets.report(version.dataset, version.version)
        except NotFoundError:
            report = {}
    if as_json:
        print_json({**version.raw, "report": report})
        return
    from libs.client.cli.validation_report import show_report

    console().print(f"[bold]{version.reference}[/] is {version.status}  {summary_of(version)}".rstrip())
    show_report(report)


def summary_of(version: "DatasetVersion") -> str:
    """What it holds and its size in a line; empty until it is ready."""
    summary = version.summary or {}
    if "events" in summary:
        counts = [f"{summary[name]:,} {name}" for name in ("users", "items", "events")]
        return ", ".join([*counts, f"split {summary['protocol']}", size(version.size_bytes)])
    splits = summary.get("splits") or {}
    counts = [f"{name} {_pictures(splits[name])}" for name in split_order(splits)]
    classes = summary.get("classes") or []
    named = f"{len(classes)} classes" if isinstance(classes, list) else f"{classes} classes"
    return ", ".join([named, *counts, size(version.size_bytes)]) if summary else ""


def _content(summary: dict[str, Any]) -> str | None:
    """What a data set is of, in a word or two."""
    if not summary:
        return None
    return f"{summary['events']:,} events" if "events" in summary else f"{summary.get('classes')} classes"


def _pictures(split: Any) -> Any:
    return split["pictures"] if isinstance(split, dict) else split


@app.command()
def preview(
    reference: Reference,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="PNG file; else NAME.png.")] = None,
) -> None:
    """Fetch a sheet of sample pictures."""
    with connect() as octavo:
        version = _version(octavo, reference)
        content = octavo.datasets.preview(version.dataset, version.version)
    target = output or Path(f"{version.dataset}.png")
    write(target, content)
    console().print(f"Written: {target}", markup=False)


@app.command("rm")
def remove(name: str, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """Delete a data set; models trained on it stay."""
    if not yes:
        typer.confirm(f"Delete the data set {name} with all its versions?", abort=True)
    with connect() as octavo:
        octavo.datasets.delete(name)
    console().print(f"Deleted: {name}")
