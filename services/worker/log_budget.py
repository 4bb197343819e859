"""How much of a child's log is kept: so many lines a second, so many in all, each of bounded length."""

import time
from collections.abc import Callable
from typing import Any

from libs.jobs.events import Entry

_LONGEST_LINE = 4000
_FIELD_LIMIT_BYTES = 4000


class LogBudget:
    """Turns lines into log events, or counts those that are dropped; the count becomes an event itself."""

    def __init__(self, lines_per_s: int, lines: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = lines_per_s
        self._left = lines
        self._clock = clock
        self._allowance = float(lines_per_s)
        self._refilled_at = clock()
        self._dropped = 0

    def admit(self, level: str, message: str, fields: dict[str, Any] | None = None) -> list[Entry]:
        """The events of one line: itself, perhaps behind the number of lines dropped before it; or none."""
        now = self._clock()
        self._allowance = min(float(self._rate), self._allowance + (now - self._refilled_at) * self._rate)
        self._refilled_at = now
        if self._left <= 0 or self._allowance < 1:
            self._dropped += 1
            return []
        self._allowance -= 1
        self._left -= 1
        return [*self.take_dropped(), _entry(level, message, fields or {})]

    def take_dropped(self) -> list[Entry]:
        """An event that says how many lines were dropped since the last one, if any were."""
        dropped, self._dropped = self._dropped, 0
        return [_entry("warning", f"{dropped} lines of log were dropped", {"dropped": dropped})] if dropped else []


def _entry(level: str, message: str, fields: dict[str, Any]) -> Entry:
    text = storable(message)
    cut = len(text) > _LONGEST_LINE
    kept = _storable_fields(fields)
    return ("log", {"level": level, "message": text[:_LONGEST_LINE] + ("…" if cut else ""), "fields": kept})


def storable(text: str) -> str:
    """Text Postgres can hold: no NUL, no half characters."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _storable_fields(fields: dict[str, Any]) -> dict[str, Any]:
    if len(repr(fields)) > _FIELD_LIMIT_BYTES:
        return {"omitted": "fields were too large"}
    return {storable(str(key)): storable(value) if isinstance(value, str) else value for key, value in fields.items()}
