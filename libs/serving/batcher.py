"""Requests that wait at the same time are computed together.

One thread a model takes whatever waits, up to `max_rows`, as soon as it is free: under load batches fill by
themselves, and a lone request never waits. `max_delay_s` above 0 makes it wait that long for company.
"""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from libs.serving.errors import DeadlineExceeded, Overloaded, ServingError
from libs.serving.watching import BatchWatch, watched_by_nobody

_SMOOTHING = 0.2


@dataclass(frozen=True, slots=True)
class Computed:
    """The answer to one request.

    Attributes:
        output: [n, ...], the request's own rows.
        queue_s: from arrival to the start of its batch.
        compute_s: of its batch.
        batch_rows: rows of its batch, its own included.
    """

    output: NDArray[Any]
    queue_s: float
    compute_s: float
    batch_rows: int


@dataclass(slots=True, eq=False)
class _Work:
    rows: NDArray[Any]
    arrived_at: float
    deadline: float
    future: Future[Computed] = field(default_factory=Future)


class Batcher:
    """A queue in front of `run`, with one thread that empties it."""

    def __init__(
        self,
        run: Callable[[NDArray[Any]], NDArray[Any]],
        *,
        max_rows: int = 32,
        max_delay_s: float = 0.0,
        queue_limit_rows: int = 256,
        name: str = "batcher",
    ) -> None:
        self.max_rows = max_rows
        self._run = run
        self._max_delay_s = max_delay_s
        self._queue_limit_rows = queue_limit_rows
        self._queue: deque[_Work] = deque()
        self._waiting_rows = 0
        self._row_s = 0.0
        self._watch: BatchWatch = watched_by_nobody
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._thread.start()

    def submit(self, rows: NDArray[Any], timeout_s: float = 30.0) -> Future[Computed]:
        """Queue a request, [n, ...] with n up to `max_rows`.

        The future fails with `DeadlineExceeded` when its turn comes after `timeout_s`.

        Raises:
            Overloaded: the queue is full.
            ServingError: the batcher is closed.
        """
        now = monotonic()
        work = _Work(rows, now, now + timeout_s)
        with self._changed:
            if self._closed:
                raise ServingError("this model was unloaded")
            if self._waiting_rows + len(rows) > self._queue_limit_rows:
                raise Overloaded(self._waiting_rows, max(1.0, self._waiting_rows * self._row_s))
            self._queue.append(work)
            self._waiting_rows += len(rows)
            self._changed.notify()
        return work.future

    @property
    def waiting_rows(self) -> int:
        """Rows that wait now."""
        return self._waiting_rows

    def watch(self, watch: BatchWatch) -> None:
        """Have `watch` told of each batch from now on."""
        self._watch = watch

    def close(self) -> None:
        """Take nothing more; what waits is still computed, then the thread ends. Returns at once."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def join(self, timeout_s: float | None = None) -> None:
        """Wait for the thread to end, after `close`."""
        self._thread.join(timeout_s)

    def _loop(self) -> None:
        while batch := self._next_batch():
            self._compute(batch)

    def _next_batch(self) -> list[_Work]:
        """The next works to compute together; empty when the batcher is closed and nothing waits."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._queue or self._closed)
                if not self._queue:
                    return []
                self._wait_for_company()
                if batch := self._take():
                    return batch

    def _wait_for_company(self) -> None:
        until = self._queue[0].arrived_at + self._max_delay_s
        while not self._closed and self._waiting_rows < self.max_rows and (left := until - monotonic()) > 0:
            self._changed.wait(left)

    def _take(self) -> list[_Work]:
        """Works of one shape, oldest first; those past their deadline or given up are dropped."""
        batch: list[_Work] = []
        taken = 0
        now = monotonic()
        while self._queue:
            work = self._queue[0]
            fits = not batch or (
                work.rows.shape[1:] == batch[0].rows.shape[1:] and taken + len(work.rows) <= self.max_rows
            )
            if not fits:
                break
            self._queue.popleft()
            self._waiting_rows -= len(work.rows)
            if not work.future.set_running_or_notify_cancel():
                continue
            if now > work.deadline:
                waited = now - work.arrived_at
                work.future.set_exception(DeadlineExceeded(f"the request waited {waited:.2f} s in the queue"))
                continue
            batch.append(work)
            taken += len(work.rows)
        return batch

    def _compute(self, batch: list[_Work]) -> None:
        started = monotonic()
        try:
            rows = batch[0].rows if len(batch) == 1 else np.concatenate([work.rows for work in batch])
            output = self._run(rows)
        except Exception as error:
            for work in batch:
                work.future.set_exception(ServingError(f"the model failed: {error}"))
            return
        compute_s = monotonic() - started
        self._row_s += _SMOOTHING * (compute_s / len(rows) - self._row_s)
        self._watch(len(rows), [started - work.arrived_at for work in batch], compute_s)
        position = 0
        for work in batch:
            own = output[position : position + len(work.rows)]
            position += len(work.rows)
            work.future.set_result(Computed(own, started - work.arrived_at, compute_s, len(rows)))
