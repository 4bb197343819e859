"""Threads that want the same computation at the same time have it done together, by one of them.

`Batcher` (`libs.serving.batcher`) has a thread of its own, so that an event loop can wait for it; between threads that
wait anyway two changes of thread a request can be saved. The first to come computes at once, for itself. Who comes
meanwhile waits, and the first of those computes next, for up to `max_rows` of them.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from libs.serving.errors import DeadlineExceeded, Overloaded, ServingError
from libs.serving.watching import BatchWatch, watched_by_nobody


def _taken_lock() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock


@dataclass(slots=True, eq=False)
class _Asked:
    """A row that waits; `called` is released when it is computed, or when its thread is to compute (`leads`)."""

    row: NDArray[Any]
    arrived_at: float
    called: threading.Lock = field(default_factory=_taken_lock)
    leads: bool = False
    output: NDArray[Any] | None = None
    error: Exception | None = None


class Combiner:
    """`run`, which computes [n, ...] row by row, shared by the threads that call `compute`."""

    def __init__(
        self,
        run: Callable[[NDArray[Any]], NDArray[Any]],
        *,
        max_rows: int = 32,
        max_delay_s: float = 0.0,
        queue_limit_rows: int = 256,
    ) -> None:
        self._run = run
        self._max_rows = max_rows
        self._max_delay_s = max_delay_s
        self._queue_limit_rows = queue_limit_rows
        self._waiting: deque[_Asked] = deque()
        self._row_s = 0.0
        self._watch: BatchWatch = watched_by_nobody
        self._is_led = False
        self._changed = threading.Condition()

    def compute(self, row: NDArray[Any], timeout_s: float = 30.0) -> NDArray[Any]:
        """The row of `run`'s output that belongs to `row`, [1, ...].

        Raises:
            Overloaded: too many wait.
            DeadlineExceeded: its turn did not come in `timeout_s`.
            ServingError: `run` failed.
        """
        asked = _Asked(row, monotonic())
        with self._changed:
            if len(self._waiting) >= self._queue_limit_rows:
                raise Overloaded(len(self._waiting), max(1.0, len(self._waiting) * self._row_s))
            self._waiting.append(asked)
            leads, self._is_led = not self._is_led, True
            if self._max_delay_s:
                self._changed.notify()
        if not leads:
            self._wait(asked, timeout_s)
        if leads or asked.leads:
            self._lead()
        if asked.error is not None:
            raise ServingError(f"the model failed: {asked.error}")
        assert asked.output is not None
        return asked.output

    @property
    def waiting_rows(self) -> int:
        """Rows that wait now."""
        return len(self._waiting)

    def watch(self, watch: BatchWatch) -> None:
        """Have `watch` told of each batch from now on."""
        self._watch = watch

    def _wait(self, asked: _Asked, timeout_s: float) -> None:
        if asked.called.acquire(timeout=timeout_s):
            return
        with self._changed:
            if not asked.leads and asked in self._waiting:
                self._waiting.remove(asked)
                raise DeadlineExceeded(f"the request waited {monotonic() - asked.arrived_at:.2f} s in the queue")
        asked.called.acquire()  # it is being computed, or was called just now

    def _lead(self) -> None:
        """Compute what waits, the caller's own row first, and call who computes next."""
        with self._changed:
            self._wait_for_company()
            batch = [self._waiting.popleft() for _ in range(min(self._max_rows, len(self._waiting)))]
        started = monotonic()
        try:
            rows = batch[0].row if len(batch) == 1 else np.concatenate([asked.row for asked in batch])
            for asked, output in zip(batch, self._run(rows), strict=True):
                asked.output = output
        except Exception as error:
            for asked in batch:
                asked.error = error
        compute_s = monotonic() - started
        with self._changed:
            self._row_s = compute_s / len(batch)
            self._is_led = bool(self._waiting)
            if self._waiting:
                self._waiting[0].leads = True
                self._waiting[0].called.release()
        for asked in batch[1:]:
            asked.called.release()
        self._watch(len(batch), [started - asked.arrived_at for asked in batch], compute_s)

    def _wait_for_company(self) -> None:
        until = self._waiting[0].arrived_at + self._max_delay_s
        while len(self._waiting) < self._max_rows and (left := until - monotonic()) > 0:
            self._changed.wait(left)
