"""`octavo du` and `octavo gc`."""

from typing import Annotated

import typer

from libs.client.cli.output import AsJson, connect, console, print_json, print_table, size
from libs.client.cli.parameters import parse_age


def du(as_json: AsJson = False) -> None:
    """What takes space: data sets, models, files of jobs."""
    with connect() as octavo:
        found = octavo.storage.usage()
    if as_json:
        print_json(found)
        return
    rows = ((one["noun"], one["name"], one["items"], size(one["size_bytes"])) for one in found["items"])
    print_table(("kind", "name", "items", "size"), rows, "Nothing is stored yet.")


def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    jobs_older_than: Annotated[
        str | None, typer.Option(metavar="AGE", help="Delete jobs that ended this long ago, too: 30d, 12h.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Remove files that nothing needs any more: of deleted data sets and models, old uploads and checkpoints."""
    older_than_s = None if jobs_older_than is None else parse_age(jobs_older_than)
    with connect() as octavo:
        found = octavo.storage.collect(dry_run=dry_run, jobs_older_than_s=older_than_s)
    if as_json:
        print_json(found)
        return
    verb = "would go" if dry_run else "are gone"
    jobs = "" if older_than_s is None else f"{found['jobs']} jobs and "
    console().print(f"{jobs}{found['files']} files of {size(found['size_bytes'])} {verb}", markup=False)
