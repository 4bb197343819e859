"""What a service last knew, on disk: with it a restart serves while Postgres is down.

It holds SHA-256 digests of API keys, never keys, and is readable by its owner alone.
"""

import os
import uuid
from pathlib import Path

import structlog
from pydantic import BaseModel, ConfigDict, TypeAdapter

from libs.database.api_keys import KnownKey
from libs.registry.deployments import WantedModel

log = structlog.get_logger("octavo.serving")


class Snapshot(BaseModel):
    """Deployments and keys as last read from Postgres."""

    model_config = ConfigDict(frozen=True)

    wanted: list[WantedModel]
    keys: list[KnownKey]


_adapter = TypeAdapter(Snapshot)


class SnapshotFile:
    """Written when something changed, whole or not at all."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._written: Snapshot | None = None

    def write(self, snapshot: Snapshot) -> None:
        """Keep `snapshot` for the next start. Failing to only costs a start without Postgres, so it is logged."""
        if snapshot == self._written:
            return
        try:
            self._publish(snapshot)
            self._written = snapshot
        except OSError as error:
            log.warning("the snapshot of deployments cannot be written", file=str(self._file), error=str(error))

    def _publish(self, snapshot: Snapshot) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._file.with_name(f".{self._file.name}.{uuid.uuid4().hex}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(_adapter.dump_json(snapshot))
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(self._file)

    def read(self) -> Snapshot | None:
        """What was kept, None when nothing was or it cannot be read."""
        try:
            return _adapter.validate_json(self._file.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            log.warning("the snapshot of deployments cannot be read", file=str(self._file), error=str(error)[:200])
            return None
