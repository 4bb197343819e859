"""How values read on a page: times, spans, sizes, figures."""

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from markupsafe import Markup

NOTHING = "\u2013"
_UNITS = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))


def span(seconds: float | timedelta | None) -> str:
    """A length of time in its two largest units, `2 h 5 min`."""
    if seconds is None:
        return NOTHING
    left = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
    if left < 10:
        return f"{max(left, 0):.1f} s"
    whole, parts = round(left), []
    for name, size in _UNITS:
        if whole >= size:
            parts.append(f"{whole // size} {name}")
            whole %= size
    return " ".join(parts[:2])


def _ago(at: datetime, now: datetime) -> str:
    passed = (now - at).total_seconds()
    if abs(passed) < 5:
        return "just now"
    name, size = next((name, size) for name, size in _UNITS if abs(passed) >= size)
    count = int(abs(passed) // size)
    return f"{count} {name} ago" if passed > 0 else f"in {count} {name}"


def when(at: datetime | None) -> Markup:
    """A moment as it is spoken of, the exact one in its title; the page's script keeps the words right."""
    if at is None:
        return Markup("{}").format(NOTHING)
    exact = at.astimezone(UTC)
    words = _ago(exact, datetime.now(UTC))
    shown = Markup('<time datetime="{}" title="{} UTC" data-ago>{}</time>')
    return shown.format(exact.isoformat(), f"{exact:%Y-%m-%d %H:%M:%S}", words)


def lasted(started: datetime | None, finished: datetime | None) -> str:
    """How long something took, or takes so far."""
    if started is None:
        return NOTHING
    return span((finished or datetime.now(UTC)) - started)


def size(count: int | None) -> str:
    """Bytes in the unit that leaves one to three digits before the point."""
    if count is None:
        return NOTHING
    value, unit = float(count), "B"
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{count} B" if unit == "B" else f"{value:.3g} {unit}" if value < 100 else f"{value:.0f} {unit}"


def figure(value: Any) -> str:
    """A number with five significant digits and thin gaps between thousands; anything else as it is."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name}: {figure(part)}" for name, part in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(figure(one) for one in value) or "none"
    if not isinstance(value, int | float):
        return NOTHING if value is None or value == "" else str(value)
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f")
    if not math.isfinite(value):
        return str(value)
    if value != 0 and (abs(value) < 1e-4 or abs(value) >= 1e7):
        return f"{value:.3e}"
    return f"{value:,.5g}".replace(",", "\u202f")


def exact(value: float) -> str:
    """A number for an input, of which nothing is lost when it is read back."""
    return repr(value).removesuffix(".0")


def prose(text: str) -> Markup:
    """A description in which `code` stands between backticks."""
    pieces = text.split("`")
    return Markup("").join(Markup("<code>{}</code>").format(p) if n % 2 else p for n, p in enumerate(pieces))


def percent(share: float | None) -> str:
    """A share of one as a percentage."""
    return NOTHING if share is None else f"{share:.0%}" if share in (0, 1) else f"{share:.1%}"


def pretty(value: Any) -> str:
    """JSON for people; what is null in an object is left out."""
    kept = {name: part for name, part in value.items() if part is not None} if isinstance(value, dict) else value
    return json.dumps(kept, indent=2, ensure_ascii=False)


FILTERS: dict[str, Callable[..., object]] = {
    "when": when,
    "span": span,
    "size": size,
    "figure": figure,
    "exact": exact,
    "percent": percent,
    "prose": prose,
    "pretty": pretty,
    "zip": zip,
}
