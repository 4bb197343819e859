"""A job, live: a bar with metrics and the time left on a terminal, plain lines elsewhere."""

import json
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from libs.client.cli.output import console, duration, figure, in_order, seconds_between
from libs.client.cli.result_view import print_result
from libs.client.records import Event

if TYPE_CHECKING:
    from libs.client.client import Octavo
    from libs.client.jobs import Job

_SHOWN_METRICS = 4
_PLAIN_STEP = 0.1
_LEVEL_STYLES = {"warning": "yellow", "error": "red", "debug": "dim"}


class View(Protocol):
    """Shows events."""

    def show(self, event: Event) -> None:
        """One event has happened."""


def follow(octavo: "Octavo", job_id: str, *, as_json: bool = False) -> "Job":
    """Show a job until it has ended; Ctrl-C stops the showing, not the job.

    Raises:
        JobFailedError: it failed or was cancelled.
    """
    job = watch(octavo, job_id, as_json=as_json)
    job.raise_for_status()
    return job


def watch(octavo: "Octavo", job_id: str, *, as_json: bool = False) -> "Job":
    """Show a job until it has ended, well or not; Ctrl-C stops the showing, not the job."""
    try:
        if as_json:
            _run(octavo, job_id, JsonView())
        elif console().is_terminal:
            with BarView() as view:
                _run(octavo, job_id, view)
        else:
            _run(octavo, job_id, PlainView())
    except KeyboardInterrupt:
        console().print(
            f"\nNot following any more; the job goes on. `octavo jobs follow {job_id}` shows it again, "
            f"`octavo jobs cancel {job_id}` stops it."
        )
        raise SystemExit(130) from None
    return octavo.jobs.get(job_id)


def _run(octavo: "Octavo", job_id: str, view: View) -> None:
    for event in octavo.jobs.events(job_id):
        if event.kind == "status" and event.data.get("to") == "retry_wait":
            event = explained(event, octavo.jobs.get(job_id))
        elif event.kind == "status" and event.data.get("to") == "failed":
            event = replace(event, data={**event.data, "reason": None})  # the error that follows says why
        view.show(event)


_AFTER_A_FAILURE = ("retry_wait", "failed")


def explained(event: Event, job: "Job") -> Event:
    """A status event after a failed attempt, with the attempt's own words in place of `error`."""
    if event.kind != "status" or event.data.get("to") not in _AFTER_A_FAILURE:
        return event
    for attempt in job.raw.get("attempts", []):
        message = (attempt.get("error") or {}).get("message")
        if message and attempt["epoch"] == event.data.get("epoch"):
            return replace(event, data={**event.data, "reason": message})
    return event


def follow_to_end(octavo: "Octavo", job_id: str, as_json: bool) -> None:
    """Show a job until it has ended, then what came out and what can be done with it.

    Raises:
        JobFailedError: it failed or was cancelled.
    """
    job = follow(octavo, job_id, as_json=as_json)
    if not as_json:
        _show_result(octavo, job)


def _show_result(octavo: "Octavo", job: "Job") -> None:
    result = job.result or {}
    took = duration(seconds_between(job.started_at, job.finished_at))
    console().print(f"[bold green]{job.name} succeeded[/] in {took}")
    print_result(job)
    made = result.get("model")
    if made:
        reason = f" ({made['status_reason']})" if made.get("status_reason") else ""
        console().print(f"model {made['name']}@{made['version']} is {made['status']}{reason}", markup=False)
    if any(file.name == "report.html" for file in octavo.jobs.artifacts(job.id)):
        console().print(f"Its report: octavo jobs report {job.id[:8]} --open", markup=False)
    if made and made["status"] == "ready":
        console().print(f"Serve it with: octavo deploy {made['name']}", markup=False)


class JsonView:
    """Each event as one line of JSON."""

    def show(self, event: Event) -> None:
        """One event has happened."""

        print(json.dumps(event.raw, separators=(",", ":")), flush=True)  # noqa: T201


class PlainView:
    """Lines for a log file: states, log lines, and progress in steps."""

    def __init__(self) -> None:
        self._console = console()
        self._metrics: dict[str, float] = {}
        self._shown = -1.0

    def show(self, event: Event) -> None:
        """One event has happened."""
        if event.kind == "metrics":
            self._metrics.update(values_of(event.data))
        elif event.kind == "progress":
            self._progress(event.data)
        elif line := line_of(event):
            self._console.print(line, markup=False, soft_wrap=True)

    def _progress(self, data: Mapping[str, Any]) -> None:
        fraction = float(data.get("fraction", 0.0))
        if fraction < self._shown + _PLAIN_STEP and fraction < 1.0:
            return
        self._shown = fraction
        parts = [f"{fraction:4.0%}", str(data.get("note", "")), chosen(self._metrics)]
        self._console.print("  ".join(filter(None, parts)), markup=False, soft_wrap=True)


class BarView:
    """A bar that stays at the bottom, with lines above it."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("{task.fields[status]}", style="bold"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}", style="dim"),
            TextColumn("{task.description}"),
            TextColumn("{task.fields[metrics]}", style="cyan"),
        )
        self._progress = Progress(*columns, console=console())
        self._task = self._progress.add_task("", total=1.0, status="queued", left="", metrics="")
        self._metrics: dict[str, float] = {}
        self._estimate = Estimate()

    def __enter__(self) -> "BarView":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, event: Event) -> None:
        """One event has happened."""
        if event.kind == "metrics":
            self._metrics.update(values_of(event.data))
            self._progress.update(self._task, metrics=chosen(self._metrics))
        elif event.kind == "progress":
            fraction = float(event.data.get("fraction", 0.0))
            note = str(event.data.get("note", ""))
            left = "" if "left" in note else self._estimate.left(fraction, time.monotonic())
            self._progress.update(self._task, completed=fraction, description=note, left=left)
        elif event.kind == "status":
            self._progress.update(self._task, status=str(event.data.get("to", "")))
            if event.data.get("reason"):
                self._print(event)
        else:
            self._print(event)

    def _print(self, event: Event) -> None:
        line = line_of(event)
        if line:
            style = _LEVEL_STYLES.get(str(event.data.get("level", "")))
            self._progress.console.print(line, style=style, markup=False)


class Estimate:
    """Time left, from the speed since the first progress seen: what was done before we looked does not count."""

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None

    def left(self, fraction: float, now: float) -> str:
        """As in `2:05 left`; empty while it cannot be told."""
        if self._first is None or fraction < self._first[0]:
            self._first = (fraction, now)
        done, began = self._first
        if fraction <= done or now <= began:
            return ""
        seconds = round((1.0 - fraction) * (now - began) / (fraction - done))
        hours, rest = divmod(seconds, 3600)
        return f"{hours}:{rest // 60:02d}:{rest % 60:02d} left" if hours else f"{rest // 60}:{rest % 60:02d} left"


def values_of(data: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a metrics event, name → newest value; `NaN` and infinities travel as strings."""
    return {str(name): float(point["value"]) for name, point in data.get("values", {}).items()}


_PREFERRED = ("train/loss", "val/accuracy", "val/nll", "val/ndcg@10", "val/hr@10", "val/loss", "train/lr")


def chosen(metrics: Mapping[str, float]) -> str:
    """The few metrics that fit on a line."""
    order = [name for name in _PREFERRED if name in metrics]
    order += [name for name in metrics if name not in order and not math.isnan(metrics[name])]
    return "  ".join(f"{name} {figure(metrics[name])}" for name in order[:_SHOWN_METRICS])


def line_of(event: Event) -> str:
    """An event as a line; empty for those that need none."""
    data = event.data
    if event.kind == "status":
        reason = f": {data['reason']}" if data.get("reason") else ""
        return f"{data.get('to', '')}{reason}"
    if event.kind == "log":
        level = str(data.get("level", "info"))
        fields = "".join(f"  {name}={_in_line(value)}" for name, value in (data.get("fields") or {}).items())
        return f"{'' if level == 'info' else level + ': '}{data.get('message', '')}{fields}"
    if event.kind == "checkpoint":
        return f"checkpoint at step {data.get('step')}"
    if event.kind in ("model", "dataset"):
        name, version = data.get("name", ""), data.get("version")
        reason = f" ({data['status_reason']})" if data.get("status_reason") else ""
        return f"{event.kind} {name}@{version} is {data.get('status')}{reason}".replace(" @", " version ")
    return ""


def _in_line(value: Any) -> str:
    """A field of a log line."""
    return f"[{', '.join(map(figure, value))}]" if isinstance(value, list) else figure(value)


def described(event: Event) -> str:
    """An event in words, also one that `line_of` leaves out."""
    if event.kind == "progress":
        return f"{float(event.data.get('fraction', 0.0)):.0%} {event.data.get('note', '')}".rstrip()
    if event.kind == "metrics":
        found = values_of(event.data)
        return "  ".join(f"{name} {figure(found[name])}" for name in in_order(found))
    return line_of(event) or "  ".join(f"{name} {value}" for name, value in event.data.items())
