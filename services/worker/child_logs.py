"""Lines of a child process's own log (`ChildLog`), which its supervisor writes among its own.

What a method reports by `run.log` or prints is the job's log, for its user; this is for whoever runs the platform. The
supervisor says which job and request a line belongs to, so that no child can say it wrongly.
"""

from collections.abc import Mapping
from typing import Any

import structlog

from libs.training.run import LogLevel
from services.worker.messages import ProcessLogged

_LONGEST_TEXT = 2000
_MOST_FIELDS = 20
_OURS = frozenset({"event", "level", "timestamp", "service", "job_id", "epoch", "request_id", "child_pid", "rank"})

log = structlog.get_logger("octavo.child")


def write_for_child(message: ProcessLogged) -> None:
    """Write a child's line among ours, cut to a length that no log minds."""
    fields = dict(list(_bounded(message.fields).items())[:_MOST_FIELDS])
    log.log(
        _LEVELS[message.level],
        message.event[:_LONGEST_TEXT],
        service="child",
        child_pid=message.pid,
        rank=message.rank,
        **fields,
    )


_LEVELS: dict[LogLevel, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def _bounded(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers and texts under names that are not ours; anything else as text."""
    return {
        name[:100]: value if isinstance(value, bool | int | float) else str(value)[:_LONGEST_TEXT]
        for name, value in fields.items()
        if name not in _OURS
    }
