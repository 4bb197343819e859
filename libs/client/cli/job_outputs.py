"""What a job leaves: its request as a file, its report, its artifacts."""

from pathlib import Path
from typing import Annotated

import typer

from libs.client.cli import lookup, submission
from libs.client.cli.output import AsJson, connect, console, print_json, print_table, size

JobId = Annotated[str, typer.Argument(metavar="JOB", help="Id of a job, or the first letters of one, or its name.")]


def export(job: JobId, as_json: AsJson = False) -> None:
    """The request of a job as YAML for `jobs submit -f`."""
    with connect() as octavo:
        spec = octavo.jobs.spec(lookup.find_job(octavo, job).id)
    if as_json:
        print_json(spec)
        return
    import yaml

    typer.echo(yaml.safe_dump(spec, sort_keys=False, allow_unicode=True), nl=False)


def report(
    job: Annotated[
        str, typer.Argument(metavar="JOB", help="Id, first letters, or name: the newest of that name with a report.")
    ],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File; else JOBNAME.html.")] = None,
    open_: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
) -> None:
    """Fetch the HTML report of a job."""
    with connect() as octavo:
        found, text = lookup.find_report(octavo, job)
    target = output or Path(f"{found.name}.html")
    submission.write(target, text.encode())
    console().print(f"Written: {target}, the report of job {found.id[:8]}", markup=False)
    if open_:
        typer.launch(target.resolve().as_uri())


def artifacts(
    job: JobId,
    folder: Annotated[Path | None, typer.Option("--download", help="Fetch all of them into this folder.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the files a job made, or fetch them."""
    with connect() as octavo:
        found = lookup.find_job(octavo, job)
        files = octavo.jobs.artifacts(found.id)
        if folder is not None:
            for file in files:
                octavo.jobs.download_artifact(found.id, file, submission.inside(folder, file.name))
    if as_json:
        print_json([file.raw for file in files])
    else:
        rows = ((file.kind, file.name, size(file.size_bytes)) for file in files)
        print_table(("kind", "name", "size"), rows, f"{found.name} has made no files yet.")
