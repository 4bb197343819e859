"""`octavo models`: versions, aliases, comparison, bundles."""

from pathlib import Path
from typing import Annotated

import typer

from libs.client.cli import model_views
from libs.client.cli.output import AsJson, ago, connect, console, figure, in_order, print_json, print_table, size
from libs.client.errors import LocalFileError

app = typer.Typer(no_args_is_help=True, help="Look at models and their versions; download and import them.")
Reference = Annotated[str, typer.Argument(metavar="NAME[@VERSION]", help="cats, cats@3 or cats@production.")]


@app.command("ls")
def list_models(as_json: AsJson = False) -> None:
    """List models, newest first."""
    with connect() as octavo:
        found = list(octavo.models.list())
    if as_json:
        print_json([one.raw for one in found])
        return
    rows = ((one.name, one.last_version, ago(one.created_at), one.description) for one in found)
    empty = "There are no models yet. A training job makes one: octavo jobs submit METHOD --dataset NAME"
    print_table(("model", "versions", "made", "description"), rows, empty)


@app.command()
def show(reference: Reference, as_json: AsJson = False) -> None:
    """One version: labels, metrics, gates, latency, where it comes from."""
    with connect() as octavo:
        version = octavo.models.version(reference)
    if as_json:
        print_json(version.raw)
        return
    model_views.show_version(version)


@app.command()
def versions(name: str, as_json: AsJson = False) -> None:
    """A model's versions, newest first."""
    with connect() as octavo:
        found = list(octavo.models.versions(name))
        aliases = octavo.models.aliases(name)
    if as_json:
        print_json([one.raw for one in found])
        return
    named: dict[int, list[str]] = {}
    for alias in aliases:
        named.setdefault(alias["version"], []).append(alias["alias"])
    names = in_order({key for one in found for key in one.metrics})[:4]
    rows = (
        (
            one.version,
            one.status,
            ", ".join(named.get(one.version, [])),
            one.method,
            ago(one.created_at),
            *(figure(one.metrics.get(key, "")) for key in names),
        )
        for one in found
    )
    print_table(("version", "status", "alias", "method", "made", *names), rows, f"{name} has no versions.")


@app.command()
def alias(
    name: str,
    label: Annotated[str, typer.Argument(metavar="ALIAS", help="Such as production.")],
    version: Annotated[int | None, typer.Argument(help="The version it should mean.")] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Remove the alias.")] = False,
    as_json: AsJson = False,
) -> None:
    """Point an alias at a version; deployments that follow it switch without a failed request."""
    if (version is None) != delete:
        raise typer.BadParameter("Give the version the alias should mean, or --delete.")
    with connect() as octavo:
        if version is None:
            octavo.models.delete_alias(name, label)
            answer = {"model": name, "alias": label, "version": None}
        else:
            answer = octavo.models.set_alias(name, label, version)
    if as_json:
        print_json(answer)
    else:
        console().print(f"{name}@{label} {'is gone' if version is None else f'means version {version}'}", markup=False)


@app.command()
def compare(
    references: Annotated[list[str], typer.Argument(metavar="NAME@VERSION...")], as_json: AsJson = False
) -> None:
    """Versions side by side: metrics, size, latency, settings in which they differ."""
    if len(references) < 2:
        raise typer.BadParameter("Name at least two versions, as in cats@1 cats@2.")
    with connect() as octavo:
        found = octavo.models.compare(references)
    if as_json:
        print_json(found)
        return
    model_views.show_comparison(found)


@app.command()
def download(
    reference: Reference,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Zip file; else NAME-VERSION.zip.")] = None,
) -> None:
    """Fetch a version: ONNX, safetensors, preprocessing, labels, lineage, in one zip."""
    with connect() as octavo:
        version = octavo.models.version(reference)
        target = output or Path(f"{version.model}-{version.version}.zip")
        octavo.models.download(version.reference, target)
    console().print(f"Written: {target} ({size(target.stat().st_size)})", markup=False)


@app.command()
def lineage(reference: Reference, as_json: AsJson = False) -> None:
    """Where a version comes from, and what was made from it."""
    with connect() as octavo:
        found = octavo.models.lineage(reference)
    if as_json:
        print_json(found)
        return
    model_views.show_lineage(found)


@app.command("import")
def import_(
    name: Annotated[str, typer.Argument(help="Model to add a version to.")],
    file: Annotated[Path, typer.Argument(help="ONNX or safetensors.", exists=True, dir_okay=False)],
    labels: Annotated[Path, typer.Option(help="Text file, one label a line, in the order of the outputs.")],
    size_px: Annotated[int, typer.Option("--size", min=1, max=4096, help="Side of the input in px.")] = 224,
    channels: Annotated[int, typer.Option(help="3, or 1 for grey.")] = 3,
    mean: Annotated[str, typer.Option(help="Per channel, values scaled to [0, 1].")] = "0.485,0.456,0.406",
    std: Annotated[str, typer.Option(help="Per channel.")] = "0.229,0.224,0.225",
    resize: Annotated[str, typer.Option(help="cover, stretch or none.")] = "cover",
    architecture: Annotated[str | None, typer.Option(help="Of safetensors weights: resnet20, timm/NAME …")] = None,
    as_json: AsJson = False,
) -> None:
    """Register a model made elsewhere. It is checked and tried before it can be served; pickles are refused."""
    from libs.client.cli.follow import follow_to_end
    from libs.client.models import check_file

    recipe = {
        "channels": channels,
        "height": size_px,
        "width": size_px,
        "resize": resize,
        "mean": _numbers("--mean", mean),
        "std": _numbers("--std", std),
    }
    check_file(file)
    names = _labels(labels)
    with connect() as octavo:
        job = octavo.models.import_file(name, file, labels=names, recipe=recipe, architecture=architecture)
        follow_to_end(octavo, job.id, as_json)


def _labels(file: Path) -> list[str]:
    """The lines of a text file that are not empty."""
    try:
        found = [line.strip() for line in file.read_text("utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise LocalFileError(f"{file} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise LocalFileError(f"{file} is no text in UTF-8; write one label a line.") from None
    if not found:
        raise LocalFileError(f"{file} is empty; write one label a line, in the order of the outputs.")
    return found


def _numbers(option: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"{option} is a list of numbers such as 0.5,0.5,0.5") from None


@app.command("rm")
def remove(
    reference: Annotated[str, typer.Argument(metavar="NAME[@VERSION]")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a model, or one version of it, that is not in use."""
    name, _, number = reference.partition("@")
    if number and not number.isdigit():
        raise typer.BadParameter("Name the version by its number.")
    if not yes:
        typer.confirm(f"Delete {reference}?", abort=True)
    with connect() as octavo:
        octavo.models.delete(name, int(number) if number else None)
    console().print(f"Deleted: {reference}", markup=False)
