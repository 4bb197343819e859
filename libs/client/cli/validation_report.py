"""What validation found in a data set, for people: what is wrong first."""

from collections.abc import Iterator, Mapping
from typing import Any

from libs.client.cli.output import console, print_facts, print_table, size, split_order

_SHOWN_PROBLEMS = 20
_SHOWN_CLASSES = 50
_STYLES = {"error": "red", "warning": "yellow"}


def show_report(report: Mapping[str, Any]) -> None:
    """Problems, then figures, then pictures by class and split."""
    _show_problems(report)
    print_facts(_facts(report))
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


def _facts(report: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    upload = report.get("upload", {})
    given = "read in place" if upload.get("in_place") else size(upload.get("size_bytes"))
    yield "source", " ".join(filter(None, (upload.get("public") or upload.get("name"), given)))
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
