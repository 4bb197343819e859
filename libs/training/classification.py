"""The training loop of every image classifier: supervised, FRSKD, and the methods to come.

A method hands in a step module, an `nn.Module` with `forward(pictures, targets) -> StepOutput` and an attribute
`classifier`, the part that is kept. All else, from the order of the pictures to the choice of weights, is the same.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from libs.data.images import ImageSplit
from libs.data.loading import plan_epoch, training_batches
from libs.training.classification_data import ClassificationData
from libs.training.config import ImageTrainingConfig
from libs.training.evaluation import Measured, SplitMeasurer
from libs.training.history import History
from libs.training.mixing import cutmix, mixup
from libs.training.precision import device_of
from libs.training.processes import join_processes
from libs.training.randomness import derived_seed
from libs.training.ratio_warning import LossRatioWatch
from libs.training.reporter import Reporter
from libs.training.run import Run
from libs.training.session import TrainingSession

Observe = Callable[[nn.Module], Mapping[str, float]]
"""Further figures of the step module, asked for at every evaluation."""

REPORTS_PER_RUN = 250
EVALUATION_BATCH_FACTOR = 2
_MIX_ALPHA = {"mixup": 0.2, "cutmix": 1.0}


@dataclass(frozen=True, slots=True)
class Fitted:
    """What training left; the module holds the chosen weights.

    Attributes:
        history: every figure of the run.
        steps: optimiser steps done.
        epochs: epochs done, whole or in part.
        chosen_epoch: epochs that were done when the chosen weights were made.
        stopped_early: whether `patience_epochs` ended the run.
        val: the chosen weights on the validation split.
        test: and on the test split, which is read here for the first time.
    """

    history: History
    steps: int
    epochs: int
    chosen_epoch: int
    stopped_early: bool
    val: Measured | None
    test: Measured | None


class ClassifierTraining:
    """One training; `fit` is the loop."""

    def __init__(
        self,
        module: nn.Module,
        data: ClassificationData,
        config: ImageTrainingConfig,
        run: Run,
        observe: Observe | None = None,
    ) -> None:
        self.processes = join_processes(run.device)
        self.steps_per_epoch = plan_epoch(data.train, config, seed=run.seed, world=self.processes.count).batches
        self.total_steps = min(config.epochs * self.steps_per_epoch, config.max_steps or 10**12)
        self.report_every = max(1, self.total_steps // REPORTS_PER_RUN)
        self.data, self.config, self.seed, self.device = data, config, run.seed, run.device
        self.observe = observe
        self.session = TrainingSession(module, config, device_of(run.device), self.processes, self.total_steps)
        self.reporter = Reporter(run, config.checkpoint_every_s, self.session, self.total_steps)
        self.ratios = LossRatioWatch(len(data.classes))
        self.measure_val = self._measurer(data.val)

    def fit(self) -> Fitted:
        """Train, or go on from the run's checkpoint; see `fit_classifier`."""
        session, reporter = self.session, self.reporter
        reporter.resume()
        while not self._finished():
            for pictures, targets in self._batches():
                session.optimise(*self._mixed(pictures, targets))
                if session.step == 1 or session.step % self.report_every == 0:
                    self._report()
                reporter.after_step(self.steps_per_epoch)
                if session.step >= self.total_steps:
                    break
            self._end_epoch()
        reporter.save_last()
        return self._chosen()

    def _finished(self) -> bool:
        ended = self.session.step >= self.total_steps and self.session.batch == 0
        return ended or self._stands_still()

    def _stands_still(self) -> bool:
        return self.session.selection.stands_still(self.session.epoch, self.config.patience_epochs)

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """What is left of the current epoch, this process's part of each batch."""
        if self.session.step >= self.total_steps or self.session.batch >= self.steps_per_epoch:
            return iter(())
        return training_batches(
            self.data.train,
            self.data.recipe,
            self.config,
            seed=self.seed,
            epoch=self.session.epoch,
            start_batch=self.session.batch,
            rank=self.processes.rank,
            world=self.processes.count,
            device=self.device,
        )

    def _mixed(self, pictures: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mixup or CutMix; what is drawn depends on seed, epoch and batch only."""
        if self.config.mix == "none":
            return pictures, labels
        seed = derived_seed(self.seed, self.session.epoch, self.session.batch)
        generator = torch.Generator().manual_seed(seed)
        mix = mixup if self.config.mix == "mixup" else cutmix
        alpha = self.config.mix_alpha or _MIX_ALPHA[self.config.mix]
        mixed, targets = mix(pictures, labels, alpha, generator)
        return mixed, targets.distributions(len(self.data.classes))

    def _report(self) -> None:
        if self.session.window.rows:
            figures, weighted = self.session.window.flush(self.processes)
            self.ratios.add(weighted)
            self.reporter.record(figures, throughput=True)

    def _end_epoch(self) -> None:
        session = self.session
        self._report()
        session.epoch, session.batch = session.epoch + 1, 0
        for warning in self.ratios.end_epoch():
            self.reporter.log(warning, "warning")
        if session.epoch % self.config.evaluate_every_epochs == 0 or session.step >= self.total_steps:
            self._evaluate()
        self.reporter.after_epoch()

    def _evaluate(self) -> None:
        """Measure on the validation split, keep the weights if they are the best so far."""
        module = self.session.evaluated
        if self.observe is not None:
            self.reporter.record(self.observe(module))
        if self.measure_val is None:
            return
        self.processes.share_buffers(module)
        measured = self._measure(self.measure_val, module)
        from libs.training.metrics import validation_figures  # torchmetrics takes seconds to import

        figures = validation_figures(measured)
        self.reporter.record({f"val/{name}": value for name, value in figures.items()})
        self.session.selection.offer(figures, self.session.epoch, module.state_dict())

    def _measure(self, measurer: SplitMeasurer, module: nn.Module) -> Measured:
        return measurer(module, self.session.precision, channels_last=self.config.channels_last)

    def _measurer(self, split: ImageSplit | None) -> SplitMeasurer | None:
        if split is None:
            return None
        batch_size = self.config.batch_size // self.config.accumulate * EVALUATION_BATCH_FACTOR
        return SplitMeasurer(split, self.data.recipe, batch_size, self.device, self.processes, self.config.workers)

    def _chosen(self) -> Fitted:
        """Put the chosen weights into the module and measure them."""
        session = self.session
        best = session.selection if self.config.checkpoint == "best" else None
        if best is not None and best.weights is not None:
            session.module.load_state_dict(best.weights)
        elif session.average is not None:
            session.module.load_state_dict(session.evaluated.state_dict())
        self.processes.share_buffers(session.module)
        measure_test = self._measurer(self.data.test)
        return Fitted(
            history=session.history,
            steps=session.step,
            epochs=session.epoch,
            chosen_epoch=best.epoch if best is not None and best.weights is not None else session.epoch,
            stopped_early=self._stands_still() and session.step < self.total_steps,
            val=self._measure(self.measure_val, session.module) if self.measure_val else None,
            test=self._measure(measure_test, session.module) if measure_test else None,
        )


def fit_classifier(
    module: nn.Module,
    data: ClassificationData,
    config: ImageTrainingConfig,
    run: Run,
    observe: Observe | None = None,
) -> Fitted:
    """Train a step module; afterwards it holds the chosen weights, on the run's device.

    Goes on from the run's checkpoint if there is one, and is then bitwise what it would have been without the
    interruption (on a CPU, with the same build and number of threads).

    Args:
        module: `forward(pictures [B,C,H,W], targets [B] or [B,K]) -> StepOutput`, with an attribute `classifier`.
        observe: further figures of the module, reported at every evaluation.

    Raises:
        Stopped: the run was asked to stop; a checkpoint has been saved.
        NotFiniteError: a loss became NaN or infinite.
        CheckpointError: the run's checkpoint does not belong to it.
    """
    return ClassifierTraining(module, data, config, run, observe).fit()
