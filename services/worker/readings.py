"""Figures that are read when Prometheus asks, from something that may never answer."""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock, Thread
from time import monotonic
from typing import Generic, TypeVar

T = TypeVar("T")


class Readings(Generic[T]):
    """What `read` finds, one reading at a time, each in a thread of its own that nobody waits for longer than told.

    Args:
        kept_s: whoever asks sooner after a reading gets the same again.
        within_s: how long a reading is waited for.
    """

    def __init__(self, read: Callable[[], T], kept_s: float, within_s: float) -> None:
        self._read, self._kept_s, self._within_s = read, kept_s, within_s
        self._lock = Lock()
        self._reading: Future[T] | None = None
        self._ended_at = 0.0

    def newest(self) -> T:
        """The newest reading.

        Raises:
            TimeoutError: there is no answer yet; the same reading is waited for again the next time.
            Exception: what `read` raises.
        """
        with self._lock:
            reading = self._reading
            if reading is None or (reading.done() and monotonic() - self._ended_at >= self._kept_s):
                reading = self._reading = Future()
                Thread(target=self._into, args=(reading,), name="octavo-reading", daemon=True).start()
        return reading.result(self._within_s)

    def _into(self, reading: Future[T]) -> None:
        try:
            found = self._read()
        except BaseException as error:
            self._ended_at = monotonic()
            reading.set_exception(error)
        else:
            self._ended_at = monotonic()
            reading.set_result(found)
