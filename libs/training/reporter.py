"""What a training tells its run, and the wishes it obeys: figures, progress, checkpoints, stop."""

import time
from collections.abc import Mapping
from datetime import timedelta

from libs.training.run import CheckpointError, LogLevel, Run, Stopped, StopReason
from libs.training.session import TrainingSession

PROGRESS_EVERY_S = 0.5
_WISHES: tuple[StopReason | None, ...] = (None, "cancel", "pause", "timeout", "shutdown")


class Reporter:
    """Stands between a training session and its run; only the main process reports and writes.

    Args:
        unit: what an example is, for the figure of speed: `images` makes `train/images_per_s`.
    """

    def __init__(
        self, run: Run, checkpoint_every_s: float, session: TrainingSession, total_steps: int, unit: str
    ) -> None:
        self._run = run
        self._session = session
        self._total_steps = total_steps
        self._speed = f"train/{unit}_per_s"
        self._checkpoint_every_s = checkpoint_every_s
        self._main = session.processes.main
        self._saved_step = -1
        self._started = self._saved_at = self._window_at = time.monotonic()
        self._progress_at = 0.0
        self._first_step = self._window_step = 0

    def resume(self) -> None:
        """Continue from the run's checkpoint, if it has one.

        Raises:
            CheckpointError: it does not belong to this run.
        """
        if (saved := self._run.load_checkpoint()) is not None:
            self._session.restore(saved)
            self.log(f"continuing at step {self._session.step} of {self._total_steps}")
        self._first_step = self._window_step = self._saved_step = self._session.step

    def log(self, message: str, level: LogLevel = "info") -> None:
        """One line for people."""
        if self._main:
            self._run.log(message, level)

    def record(self, figures: Mapping[str, float], *, throughput: bool = False) -> None:
        """Keep and report figures of the current step."""
        step = self._session.step
        timed = {**figures, self._speed: self._examples_per_s()} if throughput else figures
        self._session.history.record(timed, step)
        if self._main:
            for name, value in timed.items():
                self._run.metric(name, value, step)

    def _examples_per_s(self) -> float:
        now = time.monotonic()
        examples = (self._session.step - self._window_step) * self._session.batch_examples
        rate = examples / max(now - self._window_at, 1e-9)
        self._window_at, self._window_step = now, self._session.step
        return rate

    def after_step(self, steps_per_epoch: int) -> None:
        """Report progress, save a checkpoint when it is time, stop when it is wished.

        Raises:
            Stopped: the run was asked to stop; a checkpoint has been saved.
        """
        self._progress(self._session.epoch + self._session.batch / steps_per_epoch)
        due = time.monotonic() - self._saved_at >= self._checkpoint_every_s
        wish, due = self._agreed(self._run.stop_reason() if self._main else None, due)
        if due or wish is not None:
            self.save()
        if wish is not None:
            raise Stopped(wish)

    def _agreed(self, wish: StopReason | None, due: bool) -> tuple[StopReason | None, bool]:
        """The main process decides for all."""
        number = self._session.processes.from_main(2 * _WISHES.index(wish) + due)
        return _WISHES[number // 2], bool(number % 2)

    def _progress(self, epochs: float) -> None:
        now = time.monotonic()
        step = self._session.step
        if not self._main or (now - self._progress_at < PROGRESS_EVERY_S and step < self._total_steps):
            return
        self._progress_at = now
        per_step_s = (now - self._started) / max(step - self._first_step, 1)
        left = timedelta(seconds=round((self._total_steps - step) * per_step_s))
        self._run.progress(
            step / self._total_steps, f"epoch {epochs:.1f}, step {step}/{self._total_steps}, {left} left"
        )

    def after_epoch(self) -> None:
        """Do not count the evaluation in the next figure of speed."""
        self._window_at, self._window_step = time.monotonic(), self._session.step

    def save(self) -> None:
        """Save a checkpoint; if that fails the one before stays, the run goes on, and says so."""
        if self._session.window.rows:
            self._session.window.check()
        state = self._session.state()
        if self._main:
            try:
                self._run.save_checkpoint(self._session.step, state)
            except CheckpointError as error:
                self.log(str(error), "error")
        self._saved_at, self._saved_step = time.monotonic(), self._session.step

    def save_last(self) -> None:
        """Save the end of the training, so that an interrupted export need not train again."""
        if self._saved_step != self._session.step:
            self.save()
