"""Waiting for a condition, with a limit; never for a length of time."""

import time
from collections.abc import Callable
from threading import Event
from typing import TypeVar

T = TypeVar("T")


def until(condition: Callable[[], T], what: str, timeout_s: float = 120.0) -> T:
    """The first true value of `condition`, asked again and again.

    Raises:
        AssertionError: it stayed false; the message says what was waited for.
    """
    deadline = time.monotonic() + timeout_s
    pause = Event()
    while True:
        if found := condition():
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {timeout_s:g} s; last seen: {found!r}")
        pause.wait(0.05)
