"""The commands of the local stack.

Exit codes: 0 done · 1 it failed, the message says why · 2 wrong usage · 3 `status`: the stack does not run.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import psutil
import typer
from rich.console import Console
from rich.table import Table

from libs.settings import PlatformSettings
from services.local import process as servers
from services.local.doctor import Finding, examine
from services.local.errors import LocalStackError, StillStopsError
from services.local.layout import Layout, StackState
from services.local.service import http_ready
from services.local.stack import Stack
from services.local.stopping import stop_and_wait

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
console = Console(highlight=False)
_errors = Console(stderr=True, highlight=False)
_POLL_S = 0.1

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def local_settings() -> PlatformSettings:
    """The settings, `home` made absolute."""
    settings = PlatformSettings()
    return settings.model_copy(update={"home": settings.home.expanduser().resolve()})


def fail(message: str) -> typer.Exit:
    """Print why, and end with code 1."""
    _errors.print(message, style="red", markup=False)
    return typer.Exit(1)


@app.command()
def up(
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return when it is ready; `octavo down` stops it.")
    ] = False,
) -> None:
    """Start the whole of Octavo on this machine. Ctrl-C stops it without losing a job."""
    settings = local_settings()
    layout = Layout(settings.home)
    holder = servers.lock_holder(layout.lock)
    if holder is not None:
        running = layout.running()
        where = f" at {running.url}" if running else ""
        raise fail(f"Octavo already runs{where} (process {holder}). Stop it with `octavo down`.")
    if detach:
        announce(start_detached(layout))
        return
    try:
        Stack(settings, lambda line: console.print(line, style="dim", markup=False)).run(announce)
    except LocalStackError as error:
        raise fail(str(error)) from None
    console.print("Stopped. Your data and queued jobs are kept; `octavo up` goes on from here.")


def announce(state: StackState) -> None:
    """Print where everything is."""
    took = f" after {state.ready_after_s:.1f} s" if state.ready_after_s else ""
    console.print(f"[bold green]Octavo is ready[/]{took}")
    console.print(f"  address    {state.url}")
    console.print(f"  API docs   {state.url}/docs")
    if sys.stdout.isatty():
        console.print(f"  key        {state.key_file.read_text().strip()}")
    console.print(f"  key file   {state.key_file}", soft_wrap=True)
    console.print("  stop it    Ctrl-C, or `octavo down` from anywhere")


def start_detached(layout: Layout) -> StackState:
    """Start the supervisor in a session of its own and wait until it is ready."""
    layout.make()
    log = layout.logs / "stack.log"
    servers.bound_log(log)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.local", "up"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    while True:
        state = layout.read_state()
        if state is not None and state.pid == process.pid and state.phase == "ready":
            return state
        if process.poll() is not None:
            raise fail(f"Octavo did not start. The end of {log}:\n{servers.tail(log, 30)}")
        time.sleep(_POLL_S)


@app.command()
def down() -> None:
    """Stop the stack. Running jobs write a checkpoint and are queued again."""
    settings = local_settings()
    layout = Layout(settings.home)
    holder = servers.lock_holder(layout.lock)
    if holder is None:
        console.print("Octavo does not run.")
        return
    try:
        stop_and_wait(
            psutil.Process(holder),
            layout.running(),
            settings.stop_grace_s + 90.0,
            lambda line: console.print(line, markup=False, soft_wrap=True),
        )
    except psutil.NoSuchProcess:
        pass
    except StillStopsError as error:
        raise fail(str(error)) from None
    console.print("Stopped. Your data and queued jobs are kept.")


@app.command()
def status(as_json: AsJson = False) -> None:
    """Say what runs. Exit code 3 when the stack does not run."""
    layout = Layout(local_settings().home)
    state = layout.running()
    if as_json:
        shown = {"running": state is not None, **(state.model_dump(mode="json") if state else {})}
        console.print_json(json.dumps(shown))
    elif state is None:
        _explain_absence(layout.read_state())
    else:
        _show(state)
    if state is None:
        raise typer.Exit(3)


def _explain_absence(last: StackState | None) -> None:
    console.print("Octavo does not run. Start it with `octavo up`.")
    if last is not None and last.error:
        console.print(f"Last time it ended with an error:\n{last.error}", markup=False)
    elif last is not None:
        console.print("Last time it was killed; the next start cleans up. Jobs that ran are queued again.")


def _show(state: StackState) -> None:
    answers = http_ready(int(state.url.rsplit(":", 1)[1]), "/livez")
    console.print(f"{state.url}  {state.phase}  gateway {'answers' if answers else 'does not answer'}  {state.version}")
    table = Table("service", "process", "port", "memory", "restarts", box=None, pad_edge=False)
    for one in state.services:
        resident_mb = _resident_mb(one.pid)
        memory = f"{resident_mb:.0f} MB" if resident_mb is not None else ""
        table.add_row(one.name, str(one.pid or "down"), str(one.port or ""), memory, str(one.restarts))
    console.print(table)
    console.print("Logs: octavo logs SERVICE")


def _resident_mb(pid: int | None) -> float | None:
    try:
        return float(psutil.Process(pid).memory_info().rss) / 2**20 if pid else None
    except psutil.Error:
        return None


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Check what this machine needs; say what is missing and how to get it."""
    findings = examine(local_settings())
    if as_json:
        console.print_json(json.dumps([finding.model_dump() for finding in findings]))
    else:
        for finding in findings:
            _show_finding(finding)
    if any(finding.level == "missing" for finding in findings):
        raise typer.Exit(1)


_MARKS = {"ok": "[green]ok     [/]", "note": "[yellow]note   [/]", "missing": "[red]missing[/]"}


def _show_finding(finding: Finding) -> None:
    console.print(f"{_MARKS[finding.level]} [bold]{finding.subject}[/]: ", end="")
    console.print(finding.message, markup=False, soft_wrap=True)
    if finding.remedy:
        console.print(f"         -> {finding.remedy}", markup=False, soft_wrap=True)


@app.command()
def logs(
    service: Annotated[str | None, typer.Argument(help="One service; all of them when left out.")] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, max=100_000, help="Lines from the end.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines come; Ctrl-C ends.")] = False,
) -> None:
    """Print the end of the services' logs."""
    files = log_files(local_settings().home)
    if service is not None and service not in files:
        raise fail(f"There is no log of {service!r}. There are: {', '.join(files) or 'none yet'}.")
    chosen = {service: files[service]} if service is not None else files
    for name, file in chosen.items():
        if service is None:
            console.print(f"==> {name} ({file})", style="bold", soft_wrap=True)
        console.print(servers.tail(file, lines, 512 * max(lines, 16)), markup=False, soft_wrap=True)
    if follow:
        _follow(chosen)


def log_files(home: Path) -> dict[str, Path]:
    """Service → its log file, where there is one."""
    files = {file.stem: file for file in sorted((home / "logs").glob("*.log"))}
    servers_of_others = {"postgres": "postgres", "valkey": "valkey", "session-cache": "valkey"}
    files |= {name: home / name / f"{log}.log" for name, log in servers_of_others.items()}
    return {name: file for name, file in files.items() if file.exists()}


def _follow(files: dict[str, Path]) -> None:
    positions = {name: file.stat().st_size for name, file in files.items()}
    width = max(map(len, files), default=0) if len(files) > 1 else 0
    try:
        while True:
            for name, file in files.items():
                positions[name] = _print_new(name.ljust(width) if width else "", file, positions[name])
            time.sleep(0.3)
    except KeyboardInterrupt:
        return


def _print_new(prefix: str, file: Path, position: int) -> int:
    size = file.stat().st_size
    position = min(position, size) if size >= position else 0  # it was cut: its older part is in <log>.1
    with file.open("rb") as opened:
        opened.seek(position)
        new = opened.read(2**20)
    for line in new.decode(errors="replace").splitlines():
        console.print(f"{prefix} {line}" if prefix else line, markup=False, soft_wrap=True)
    return position + len(new)
