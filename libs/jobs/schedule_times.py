"""When a schedule is next due: cron expressions as Debian's cron reads them, or every so many seconds.

Where clocks change, a time of day that is left out comes at the end of the gap and one that comes twice is met the
first time; expressions whose minute or hour begins with `*` go by the hours that pass, whatever the clock calls them.
"""

import difflib
import math
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

MOST_CRON_CHARS = 200
SHORTEST_S, LONGEST_S = 60, 366 * 86_400
"""Bounds of an interval."""


class BadTime(ValueError):
    """A cron expression or time zone that means nothing; the message says what to write."""


def check_cron(expression: str) -> str:
    """The expression, its fields one space apart.

    Raises:
        BadTime: it is none of five fields, or no date ever fits it.
    """
    fields = expression.split()
    if len(fields) != 5:
        raise BadTime(
            f"A cron expression has five fields (minute, hour, day of month, month, day of week), this one has "
            f"{len(fields)}. Every night at three is `0 3 * * *`."
        )
    try:
        next(CronSim(expression, datetime.now(UTC)))
    except CronSimError as error:
        wrong = str(error).removeprefix("Bad ")
        raise BadTime(f"The field {wrong} of this cron expression is not valid, or no date fits it.") from None
    except StopIteration:
        raise BadTime("No date of the next 50 years fits this cron expression.") from None
    return " ".join(fields)


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def check_zone(name: str) -> str:
    """The name of a time zone of the IANA database.

    Raises:
        BadTime: there is none; the message has the nearest.
    """
    if name in _zones():
        return name
    lower = {zone.lower(): zone for zone in _zones()}
    near = [lower[one] for one in difflib.get_close_matches(name[:80].lower(), lower, n=3, cutoff=0.6)]
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else " Write one as Europe/Berlin, or UTC."
    raise BadTime(f"There is no time zone {name[:80]!r}.{hint}")


def next_cron(expression: str, zone: str, after: datetime) -> datetime:
    """The first moment (UTC) later than `after` that a valid expression means in a time zone.

    Raises:
        BadTime: there is none within 50 years, or the zone is not known any more.
    """
    try:
        times = CronSim(expression, after.astimezone(ZoneInfo(check_zone(zone))))
    except CronSimError as error:
        raise BadTime(f"{expression!r}: {error}.") from None
    # Of an hour that comes twice the first is meant; seen from the second, that lies in the past.
    for moment in times:
        found = moment.astimezone(UTC)
        if found > after:
            return found
    raise BadTime("No date of the next 50 years fits this cron expression.")


def next_interval(every_s: int, planned: datetime, after: datetime) -> datetime:
    """The first moment later than `after` that is a whole number of intervals after `planned`."""
    passed = max(0, math.floor((after - planned) / timedelta(seconds=every_s)))
    return planned + timedelta(seconds=every_s) * (passed + 1)
