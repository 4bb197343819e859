"""The loop of every training: epochs of batches, reports, evaluation, checkpoints, early stopping.

What is trained on hides behind `Task`; the weights and their optimiser are in `TrainingSession`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from torch import Tensor, nn

from libs.training.config import TrainingConfig
from libs.training.history import History
from libs.training.ratio_warning import LossRatioWatch
from libs.training.reporter import Reporter
from libs.training.session import TrainingSession

REPORTS_PER_RUN = 250


MeasuredT = TypeVar("MeasuredT")
MeasuredT_co = TypeVar("MeasuredT_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Fitted(Generic[MeasuredT]):
    """What training left; the module holds the chosen weights.

    Attributes:
        history: every figure of the run.
        steps: optimiser steps done.
        steps_per_epoch: of a whole epoch.
        epochs: epochs done, whole or in part.
        chosen_epoch: epochs that were done when the chosen weights were made.
        stopped_early: whether `patience_epochs` ended the run.
        val: the chosen weights on the validation split.
        test: and on the test split, which is read here for the first time.
    """

    history: History
    steps: int
    steps_per_epoch: int
    epochs: int
    chosen_epoch: int
    stopped_early: bool
    val: MeasuredT | None
    test: MeasuredT | None

    @property
    def chosen_step(self) -> int | None:
        """The step of the evaluation that chose the weights."""
        return min(self.chosen_epoch * self.steps_per_epoch, self.steps) if self.steps else None


class Task(Protocol[MeasuredT_co]):
    """What a session is trained on.

    Attributes:
        steps_per_epoch: batches of an epoch.
    """

    steps_per_epoch: int

    def batches(self, epoch: int, start_batch: int) -> Iterator[tuple[Tensor, ...]]:
        """This process's part of each batch of an epoch from `start_batch` on; the same whenever it is asked."""

    def evaluate(self, module: nn.Module) -> Mapping[str, float] | None:
        """Figures of the validation split by name (`accuracy`); None when there is none."""

    def observe(self, module: nn.Module) -> Mapping[str, float]:
        """Further figures of the module itself, asked for at every evaluation."""

    def measure(self, split: Literal["val", "test"], module: nn.Module) -> MeasuredT_co | None:
        """What the module makes of a split; None when there is none."""


class TrainingLoop(Generic[MeasuredT]):
    """One training."""

    def __init__(
        self,
        session: TrainingSession,
        task: Task[MeasuredT],
        reporter: Reporter,
        config: TrainingConfig,
        ratios: LossRatioWatch | None = None,
    ) -> None:
        self.session, self.task, self.reporter, self.config = session, task, reporter, config
        self.total_steps, self.ratios = config.total_steps(task.steps_per_epoch), ratios
        self._report_every = max(1, self.total_steps // REPORTS_PER_RUN)

    def run(self) -> Fitted[MeasuredT]:
        """Train, or go on from the run's checkpoint; then choose the weights and measure them.

        Raises:
            Stopped: the run was asked to stop; a checkpoint has been saved.
            NotFiniteError: a loss became NaN or infinite.
            CheckpointError: the run's checkpoint does not belong to it.
        """
        session, reporter = self.session, self.reporter
        reporter.resume()
        while not self._finished():
            for batch in self._batches():
                session.optimise(*batch)
                if session.step == 1 or session.step % self._report_every == 0:
                    self._report()
                reporter.after_step(self.task.steps_per_epoch)
                if session.step >= self.total_steps:
                    break
            self._end_epoch()
        reporter.save_last()
        return Fitted(
            chosen_epoch=self._keep_chosen(),
            history=session.history,
            steps=session.step,
            steps_per_epoch=self.task.steps_per_epoch,
            epochs=session.epoch,
            stopped_early=self._stands_still() and session.step < self.total_steps,
            val=self.task.measure("val", session.module),
            test=self.task.measure("test", session.module),
        )

    def _finished(self) -> bool:
        ended = self.session.step >= self.total_steps and self.session.batch == 0
        return ended or self._stands_still()

    def _stands_still(self) -> bool:
        return self.session.selection.stands_still(self.session.epoch, self.config.patience_epochs)

    def _batches(self) -> Iterator[tuple[Tensor, ...]]:
        """What is left of the current epoch."""
        if self.session.step >= self.total_steps or self.session.batch >= self.task.steps_per_epoch:
            return iter(())
        return self.task.batches(self.session.epoch, self.session.batch)

    def _report(self) -> None:
        if self.session.window.rows:
            figures, weighted = self.session.window.flush(self.session.processes)
            if self.ratios is not None:
                self.ratios.add(weighted)
            self.reporter.record(figures, throughput=True)

    def _end_epoch(self) -> None:
        session = self.session
        self._report()
        session.epoch, session.batch = session.epoch + 1, 0
        for warning in self.ratios.end_epoch() if self.ratios is not None else ():
            self.reporter.log(warning, "warning")
        if session.epoch % self.config.evaluate_every_epochs == 0 or session.step >= self.total_steps:
            self._evaluate()
        self.reporter.after_epoch()

    def _evaluate(self) -> None:
        """Measure on the validation split, keep the weights if they are the best so far."""
        module = self.session.evaluated
        if observed := self.task.observe(module):
            self.reporter.record(observed)
        figures = self.task.evaluate(module)
        if figures is not None:
            self.reporter.record({f"val/{name}": value for name, value in figures.items()})
            self.session.selection.offer(figures, self.session.epoch, module.state_dict())

    def _keep_chosen(self) -> int:
        """Put the weights that `config.checkpoint` asks for into the module; epochs done when they were made."""
        session = self.session
        best = session.selection if self.config.checkpoint == "best" else None
        chosen = session.epoch
        if best is not None and best.weights is not None:
            session.module.load_state_dict(best.weights)
            chosen = best.epoch
        elif session.average is not None:
            session.module.load_state_dict(session.evaluated.state_dict())
        session.processes.share_buffers(session.module)
        return chosen
