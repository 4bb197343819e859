"""Errors as people read them: what is wrong, where, what to do; and the exit codes."""

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape

from libs.client import errors

EXIT_CODES: tuple[tuple[type[errors.OctavoError], int], ...] = (
    (errors.BadAddressError, 2),
    (errors.NotConfiguredError, 3),
    (errors.UnreachableError, 3),
    (errors.UnavailableError, 3),
    (errors.InvalidRequestError, 4),
    (errors.ConflictError, 4),
    (errors.NotFoundError, 5),
    (errors.AuthenticationError, 6),
    (errors.ForbiddenError, 6),
    (errors.OctavoError, 1),
)

_HINTS = {
    "unknown_method": "`octavo methods` lists them.",
    "dataset_not_found": "`octavo datasets ls` lists them.",
    "model_not_found": "`octavo models ls` lists them.",
    "job_not_found": "`octavo jobs ls` lists them.",
    "deployment_not_found": "`octavo deployments` lists them.",
    "key_not_found": "`octavo keys ls` lists them.",
    "recommendation_not_found": "`octavo recommend` prints the request id of each answer.",
    "group_not_found": "`octavo jobs ls --json` shows the group of each job.",
    "model_not_loaded": "`octavo deployments` lists what is served; `octavo deploy MODEL` serves a model.",
    "version_not_found": "`octavo models versions NAME` lists them.",
    "unauthorized": "Set OCTAVO_API_KEY to a valid key; the local stack's is found by itself.",
    "forbidden": "Use a key with that scope; `octavo keys create` makes one.",
    "classes_differ": "`--tune-teacher MODEL` adapts it to them first; `--set kd_weight=0` takes its features alone.",
    "database_unavailable": "`octavo status` and `octavo logs postgres` tell more.",
}
_LISTS = {
    "datasets": "`octavo datasets ls` lists the data sets there are.",
    "models": "`octavo models ls` lists the models there are.",
}
_OPTIONS = {
    "source.upload": "the file",
    "source.path": "--path",
    "source.public": "the public name",
    "cron": "--cron",
    "every_s": "--every",
    "timezone": "--tz",
}
_SHOWN_PROBLEMS = 20


@contextmanager
def naming(options: Mapping[str, str]) -> Iterator[None]:
    """Problems from inside are told by a command's own names of fields: `/models/model` → `MODEL`."""
    try:
        yield
    except errors.ProblemError as error:
        error.options = options
        raise


def report(error: errors.OctavoError, *, as_json: bool) -> int:
    """Print the error to standard error; returns the exit code."""
    if as_json:
        print_json(error)
    else:
        print_block(error)
    return next(code for kind, code in EXIT_CODES if isinstance(error, kind))


def print_json(error: errors.OctavoError) -> None:
    """The error as one JSON object."""
    shown: dict[str, object] = {"error": type(error).__name__, "detail": str(error)}
    if isinstance(error, errors.ProblemError):
        fields = [dataclasses.asdict(field) for field in error.fields]
        shown |= {"status": error.status, "code": error.code, "request_id": error.request_id, "errors": fields}
    elif isinstance(error, errors.InvalidDatasetError):
        shown |= {"reference": error.reference, "problems": error.problems, "report": error.report}
    elif isinstance(error, errors.JobFailedError):
        shown |= {"job": error.job_id, "status": error.status, "reason": error.reason}
    Console(stderr=True, soft_wrap=True).print(json.dumps(shown), markup=False, highlight=False)


def print_block(error: errors.OctavoError) -> None:
    """The error for people: each thing that is wrong once, then what to do."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    headline, lines = _told(error)
    console.print(f"[bold red]error:[/] {escape(headline)}")
    for about, message in lines:
        console.print(f"  [bold]{escape(about)}[/]  {escape(message)}")
    hint = hint_of(error)
    if hint:
        console.print(f"  [dim]what to do:[/] {escape(hint)}")
    if isinstance(error, errors.ProblemError) and error.status >= 500:
        console.print(f"  [dim]`octavo logs gateway` has more under request id {error.request_id}[/]")


def _told(error: errors.OctavoError) -> tuple[str, list[tuple[str, str]]]:
    """The headline, and what is wrong with which part where the headline does not say it."""
    if isinstance(error, errors.InvalidDatasetError) and len(error.problems) > 1:
        shown = [("-", problem) for problem in error.problems[:_SHOWN_PROBLEMS]]
        return f"Data set {error.reference} is invalid, for {len(error.problems)} reasons:", shown
    if not isinstance(error, errors.ProblemError):
        return str(error), []
    lines = [(error.options.get(field.pointer) or option_of(field), field.message) for field in error.fields]
    if not any(message in error.detail for _, message in lines):
        return error.detail, lines
    if len(lines) == 1:
        return ": ".join(lines[0]), []
    return "the request is not valid:", lines


def hint_of(error: errors.OctavoError) -> str:
    """What to do about it; empty where the message says it."""
    if isinstance(error, errors.InvalidDatasetError):
        return f"`octavo datasets show {error.reference}` shows everything that was found."
    if isinstance(error, errors.JobFailedError):
        return _job_hint(error)
    if not isinstance(error, errors.ProblemError):
        return ""
    if error.code == "unauthorized" and os.environ.get("OCTAVO_API_KEY"):
        return "OCTAVO_API_KEY holds this key: set it to a valid one, or unset it to use the local stack's."
    if any(field.pointer.startswith("/config/") for field in error.fields):
        return "`octavo methods METHOD` lists every hyper-parameter with its range and meaning."
    if error.code == "invalid_reference":
        return " ".join(hint for kind, hint in _LISTS.items() if any(f"/{kind}" in one.pointer for one in error.fields))
    return _HINTS.get(error.code, "")


def _job_hint(error: errors.JobFailedError) -> str:
    job = error.job_id[:8]
    if error.user_error:
        return f"a retry would end the same way; `octavo jobs clone {job} --set …` submits it anew, changed."
    if error.status == "cancelled":
        return f"`octavo jobs retry {job}` goes on from its last checkpoint."
    return f"`octavo jobs logs {job}` has more; `octavo jobs retry {job}` goes on from its last checkpoint."


def _option_of_teacher(steps: list[str]) -> str:
    if steps[0] == "init":
        return "--tune-teacher"
    if steps == ["train", "model"]:
        return "--train-teacher"
    return f"--teacher-set {'.'.join(steps[1:])}" if len(steps) > 1 else "teacher"


def option_of(field: errors.FieldProblem) -> str:
    """How the field is called at the command line: `/config/lr` is `--set lr`."""
    steps = field.pointer.strip("/").split("/")
    if steps[0] == "config" and len(steps) > 1:
        return f"--set {'.'.join(steps[1:])}"
    if steps[0] == "datasets" and len(steps) > 1:
        return "--dataset" if steps[1] in ("train", "data") else f"--dataset {steps[1]}=…"
    if steps[0] == "models" and len(steps) > 1:
        return f"--model {steps[1]}=…"
    if steps[0] == "teacher" and len(steps) > 1:
        return _option_of_teacher(steps[1:])
    if steps[0] == "compare" and len(steps) > 1:
        return "--seeds" if steps[1] == "seeds" else "--compare-with"
    if steps[0] == "scopes":
        return "--scope"
    return _OPTIONS.get(".".join(steps), ".".join(steps)) if steps[0] else field.location
