"""What validation found in a data set, for people: what is wrong first."""

from collections.abc import Iterator, Mapping
from typing import Any

from libs.client.cli.output import console, print_facts, print_table, size, split_order

_SHOWN_PROBLEMS = 20
_SHOWN_CLASSES = 50
_STYLES = {"error": "red", "warning": "yellow"}


def show_report(report: Mapping[str, Any]) -> None:
    """Problems, then figures, then pictures by class and split, or the first events."""
    _show_problems(report)
    print_facts(_event_facts(report) if report.get("kind") == "events" else _facts(report))
    preview = report.get("preview", [])
    if preview:
        print_table(tuple(preview[0]), (tuple(row.values()) for row in preview))
    classes = report.get("classes", [])
    if classes:
        splits = split_order(name for name in classes[0] if name != "name")
        rows = ((one["name"], *(one.get(split) for split in splits)) for one in classes[:_SHOWN_CLASSES])
        print_table(("class", *splits), rows)
        left = report.get("class_count", len(classes)) - _SHOWN_CLASSES
        if left > 0:
            console().print(f"… and {left} more classes; --json lists them", style="dim")


def _show_problems(report: Mapping[str, Any]) -> None:
    problems = report.get("problems", [])
    for one in problems[:_SHOWN_PROBLEMS]:
        severity = str(one.get("severity", "error"))
        line = f"  {severity:<9}{one.get('message', '')}"
        console().print(line, style=_STYLES.get(severity), markup=False, soft_wrap=True)
    left = sum(report.get("problem_counts", {}).values()) - min(len(problems), _SHOWN_PROBLEMS)
    if left > 0:
        console().print(f"  … and {left} more; --json lists the first hundred of each kind", style="dim")


def _source_of(report: Mapping[str, Any]) -> str:
    """Where the data came from, and its size."""
    upload = report.get("upload", {})
    given = "read in place" if upload.get("in_place") else size(upload.get("size_bytes"))
    fetched = "(public, fetched by the platform)" if upload.get("public") else ""
    return " ".join(filter(None, (upload.get("name"), fetched, given)))


def _facts(report: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    yield "source", _source_of(report)
    yield "format", report.get("format")
    yield "notes", " ".join(report.get("notes", []))
    if "pictures" in report:
        yield "pictures", f"{report['pictures']}, {report.get('broken', 0)} more could not be read"
    splits = report.get("splits", {})
    for split in split_order(splits):
        yield split, f"{splits[split]['pictures']} pictures, {splits[split]['origin']}"
    yield "left out", ", ".join(f"{count} with {what}" for what, count in report.get("ignored", {}).items())
    for side, one in report.get("sizes", {}).items():
        yield side, f"{one['min']} to {one['max']} px, median {one['median']}"
    yield "modes", ", ".join(f"{mode} {count}" for mode, count in report.get("modes", {}).items())
    for name in ("mean", "std"):
        yield name, ", ".join(f"{value:.4g}" for value in report.get(name, []))
    yield "digest", report.get("digest")


def _event_facts(report: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Figures of a data set of events, as far as its validation came."""
    yield "source", _source_of(report)
    for file in report.get("files", []):
        yield "file", f"{file['name']}: " + ", ".join(f"{role} {name}" for role, name in file["columns"].items())
    if "rows" in report:
        bad = sum(report.get("bad_rows", {}).values())
        yield "rows", f"{report['rows']:,}, {bad:,} of them left out"
    if "users" not in report:
        return
    yield "events", f"{report['events']:,} of {report['users']:,} users with {report['items']:,} items"
    yield "times", f"{report['first_time']} to {report['last_time']}"
    yield "types", ", ".join(f"{name} {count:,}" for name, count in report["types"].items())
    yield "split", report["split"]["protocol"]
    for split in split_order(report["splits"]):
        counts = report["splits"][split]
        yield split, f"{counts['events']:,} events of {counts['users']:,} users"
    yield "features", ", ".join(f"{one['name']} ({one['type']})" for one in report["item_features"])
    for title, name in (("events a user", "events_per_user"), ("events an item", "training_events_per_item")):
        one = report[name]
        yield title, f"{one['min']:g} to {one['max']:g}, median {one['median']:g}"
    yield (
        "inequality",
        f"Gini {report['popularity_gini']:.3f} of the items, {report['events_per_cell']:.2g} events a cell",
    )
    yield "digest", report.get("digest")
