"""Which files of an upload are tables of events, and which describes the items."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from libs.data.archives import ArchiveLimits, SourceFile
from libs.data.config import EventOptions
from libs.data.errors import DataError
from libs.data.events.columns import is_item_table, missing_roles
from libs.data.events.delimited import BLOCK_BYTES
from libs.data.events.reading import Table
from libs.data.validation.problems import Problems

SURE_SUFFIXES = (".csv", ".tsv", ".inter", ".item", ".parquet", ".pq")
"""Only tables are called so; `.txt` and `.data` may be anything."""
SUFFIXES = (*SURE_SUFFIXES, ".txt", ".data")
_LISTED_COLUMNS = 12


@dataclass(slots=True)
class Tables:
    """The tables of an upload.

    Attributes:
        events: in the order of their names.
        items: what describes the items, if anything.
        ignored: files left out, by reason.
    """

    events: list[Table] = field(default_factory=list)
    items: Table | None = None
    ignored: Counter[str] = field(default_factory=Counter)


def is_table_name(name: str, suffixes: tuple[str, ...] = SUFFIXES) -> bool:
    """Whether a file's name is that of a table, plain or gzip."""
    return name.casefold().removesuffix(".gz").endswith(suffixes)


def find_tables(
    files: Iterable[SourceFile],
    options: EventOptions,
    limits: ArchiveLimits,
    problems: Problems,
    block_bytes: int = BLOCK_BYTES,
) -> Tables:
    """Tell files apart by their columns; what cannot be used becomes problems.

    A table with user, item and time holds events; one with items and no users describes them; others are left out.
    """
    tables, seen = Tables(), []
    for file in files:
        if not is_table_name(file.name):
            tables.ignored["other endings"] += 1
            continue
        table = _opened(file.name, file.path, options, limits, problems, block_bytes)
        if table is None:
            continue
        seen.append(table)
        _place(table, tables, problems)
    if not tables.events and not problems.fatal:
        _note_no_events(seen, options, problems)
    _check_types(tables.events, options, problems)
    return tables


def _opened(
    name: str, path: Path, options: EventOptions, limits: ArchiveLimits, problems: Problems, block_bytes: int
) -> Table | None:
    try:
        return Table(path, name, options, limits, block_bytes)
    except DataError as error:
        problems.error("broken-table", str(error), file=name)
        return None


def _place(table: Table, tables: Tables, problems: Problems) -> None:
    if not missing_roles(table.roles):
        tables.events.append(table)
    elif not is_item_table(table.roles) or table.name.casefold().endswith((".user", ".users")):
        tables.ignored["neither events nor items"] += 1
    elif tables.items is None:
        tables.items = table
    else:
        problems.error(
            "two-item-tables",
            f"Both {tables.items.name!r} and {table.name!r} describe items; send one file with all features.",
            file=table.name,
        )


def _note_no_events(seen: list[Table], options: EventOptions, problems: Problems) -> None:
    if not seen:
        problems.error("no-tables", f"There is no table in the upload: no file ends in {', '.join(SUFFIXES)} (or .gz).")
    for table in seen:
        missing = missing_roles(table.roles)
        shown = ", ".join(repr(column) for column in table.columns[:_LISTED_COLUMNS])
        asked = [getattr(options, f"{role}_column") for role in missing]
        named = [name for name in asked if name is not None]
        hint = (
            f"there is no column {named[0]!r}"
            if named
            else f"name {' and '.join(f'{role}_column' for role in missing)}, or rename the columns"
        )
        problems.error(
            "missing-column",
            f"{table.name!r} has no column for {', '.join(missing)}: {hint}. Its columns are {shown}.",
            file=table.name,
        )


def _check_types(tables: list[Table], options: EventOptions, problems: Problems) -> None:
    if options.types is None and options.type_column is None:
        return
    for table in tables:
        if "type" not in table.roles:
            problems.error(
                "missing-column",
                f"{table.name!r} has no column for the type of an event; name type_column, or leave types out.",
                file=table.name,
            )
