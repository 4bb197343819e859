"""Progress of a validation, and obeying a wish to stop."""

import time

from libs.training.run import Run, Stopped

_REPORT_EVERY_S = 0.5


class Watch:
    """Spreads the run's progress over steps and raises when the run should stop.

    Args:
        run: what is told.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._start = 0.0
        self._end = 1.0
        self._note = ""
        self._reported_at = float("-inf")

    def step(self, start: float, end: float, note: str) -> None:
        """Begin a step that covers a part of the whole, `start` to `end` of 0 … 1."""
        self._start, self._end, self._note = start, end, note
        self._reported_at = float("-inf")
        self.tick(0.0)

    def tick(self, fraction: float) -> None:
        """Report how far the step is. Cheap.

        Raises:
            Stopped: the run should stop.
        """
        if (reason := self._run.stop_reason()) is not None:
            raise Stopped(reason)
        now = time.monotonic()
        if now - self._reported_at >= _REPORT_EVERY_S:
            self._reported_at = now
            self._run.progress(self._start + (self._end - self._start) * min(fraction, 1.0), self._note)
