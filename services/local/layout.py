"""Where the local stack keeps its files, and what it writes down about itself for the CLI to find."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.local.process import lock_holder, write_private

Phase = Literal["starting", "ready", "stopping", "failed"]


class ServiceState(BaseModel):
    """One service as the supervisor last saw it."""

    model_config = ConfigDict(frozen=True)

    name: str
    pid: int | None = None
    port: int | None = None
    restarts: int = 0
    log: Path


class StackState(BaseModel):
    """What `<home>/stack.json` says (mode 0600)."""

    model_config = ConfigDict(frozen=True)

    pid: int = Field(description="Process id of the supervisor.")
    version: str
    phase: Phase
    url: str = Field(description="Address of the gateway.")
    model_server_url: str
    recommender_url: str
    key_file: Path
    started_at: float = Field(description="Unix time.")
    ready_after_s: float | None = None
    error: str | None = None
    services: list[ServiceState] = []


@dataclass(frozen=True, slots=True)
class Layout:
    """The local stack's files under `home`."""

    home: Path

    @property
    def state_file(self) -> Path:
        """The stack as it stands, `StackState`."""
        return self.home / "stack.json"

    @property
    def key_file(self) -> Path:
        """The API key of the first start."""
        return self.home / "api-key"

    @property
    def lock(self) -> Path:
        """Held while a stack runs from this home."""
        return self.home / "stack.lock"

    @property
    def logs(self) -> Path:
        """Folder of a log a service."""
        return self.home / "logs"

    @property
    def ports(self) -> Path:
        """Folder of the ports that services had the last time."""
        return self.home / "ports"

    def make(self) -> None:
        """Create the folders."""
        for folder in (self.home, self.logs, self.ports):
            folder.mkdir(parents=True, exist_ok=True)

    def read_state(self) -> StackState | None:
        """What the last supervisor wrote; None when there is nothing readable."""
        try:
            return StackState.model_validate_json(self.state_file.read_text())
        except (OSError, ValidationError, json.JSONDecodeError):
            return None

    def write_state(self, state: StackState) -> None:
        """Replace the state file in one step."""
        write_private(self.state_file, state.model_dump_json(indent=2) + "\n")

    def running(self) -> StackState | None:
        """The state of the supervisor that runs now; None when none does, whatever the file says."""
        return self.read_state() if lock_holder(self.lock) is not None else None
