"""Errors as people read them: what is wrong, where, what to do; and the exit codes."""

import dataclasses
import json

from rich.console import Console
from rich.markup import escape

from libs.client import errors

EXIT_CODES: tuple[tuple[type[errors.OctavoError], int], ...] = (
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
    "unauthorized": "Set OCTAVO_API_KEY to a valid key; the local stack's is found by itself.",
    "forbidden": "Use a key with that scope; `octavo keys create` makes one.",
    "database_unavailable": "`octavo status` and `octavo logs postgres` tell more.",
}


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
    Console(stderr=True, soft_wrap=True).print(json.dumps(shown), markup=False, highlight=False)


def print_block(error: errors.OctavoError) -> None:
    """The error for people."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"[bold red]error:[/] {escape(str(error))}")
    if not isinstance(error, errors.ProblemError):
        return
    for field in error.fields:
        console.print(f"  [bold]{escape(option_of(field))}[/]  {escape(field.message)}")
    hint = _HINTS.get(error.code) or _config_hint(error.fields)
    if hint:
        console.print(f"  [dim]what to do:[/] {escape(hint)}")
    if error.status >= 500:
        console.print(f"  [dim]`octavo logs gateway` has more under request id {error.request_id}[/]")


def _config_hint(fields: tuple[errors.FieldProblem, ...]) -> str:
    if any(field.pointer.startswith("/config/") for field in fields):
        return "`octavo methods METHOD` lists every hyper-parameter with its range and meaning."
    return ""


def option_of(field: errors.FieldProblem) -> str:
    """How the field is called at the command line: `/config/lr` is `--set lr`."""
    steps = field.pointer.strip("/").split("/")
    if steps[0] == "config" and len(steps) > 1:
        return f"--set {'.'.join(steps[1:])}"
    if steps[0] == "datasets" and len(steps) > 1:
        return "--dataset" if steps[1] in ("train", "data") else f"--dataset {steps[1]}=…"
    if steps[0] == "models" and len(steps) > 1:
        return f"--model {steps[1]}=…"
    return ".".join(steps) if steps[0] else field.location
