"""The training of every image classifier: supervised, FRSKD, and the methods to come.

A method hands in a step module, an `nn.Module` with `forward(pictures, targets) -> StepOutput` and an attribute
`classifier`, the part that is kept. All else, from the order of the pictures to the choice of weights, is the same.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from libs.data.images import ImageSplit
from libs.data.loading import plan_epoch, training_batches
from libs.training.classification_data import ClassificationData
from libs.training.config import ImageTrainingConfig
from libs.training.evaluation import Measured, SplitMeasurer, in_memory_format
from libs.training.loop import Fitted, TrainingLoop
from libs.training.mixing import cutmix, mixup
from libs.training.objective import StepOutput, hard_labels
from libs.training.precision import device_of, precision_for
from libs.training.processes import Processes, join_processes
from libs.training.randomness import derived_seed
from libs.training.ratio_warning import LossRatioWatch
from libs.training.reporter import Reporter
from libs.training.run import Run
from libs.training.session import TrainingSession

FittedClassifier = Fitted[Measured]
Observe = Callable[[nn.Module], Mapping[str, float]]
"""Further figures of the step module, asked for at every evaluation."""

EVALUATION_BATCH_FACTOR = 2
_MIX_ALPHA = {"mixup": 0.2, "cutmix": 1.0}


class ClassificationTask:
    """Pictures with labels, and how well a classifier does on them."""

    def __init__(
        self,
        data: ClassificationData,
        config: ImageTrainingConfig,
        run: Run,
        processes: Processes,
        observe: Observe | None = None,
    ) -> None:
        self.data, self.config, self.seed, self.device = data, config, run.seed, run.device
        self.processes = processes
        self.precision = precision_for(config.amp, device_of(run.device))
        self.steps_per_epoch = plan_epoch(data.train, config, seed=run.seed, world=processes.count).batches
        self._observe = observe
        self._val = self._measurer(data.val)

    def batches(self, epoch: int, start_batch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Pictures [B, C, H, W] and labels [B] or label distributions [B, K]."""
        batches = training_batches(
            self.data.train,
            self.data.recipe,
            self.config,
            seed=self.seed,
            epoch=epoch,
            start_batch=start_batch,
            rank=self.processes.rank,
            world=self.processes.count,
            device=self.device,
        )
        for number, (pictures, labels) in enumerate(batches, start_batch):
            mixed, targets = self._mixed(pictures, labels, epoch, number)
            yield in_memory_format(mixed, self.config.channels_last), targets

    def _mixed(self, pictures: Tensor, labels: Tensor, epoch: int, batch: int) -> tuple[Tensor, Tensor]:
        """Mixup or CutMix; what is drawn depends on seed, epoch and batch only."""
        if self.config.mix == "none":
            return pictures, labels
        generator = torch.Generator().manual_seed(derived_seed(self.seed, epoch, batch))
        mix = mixup if self.config.mix == "mixup" else cutmix
        alpha = self.config.mix_alpha or _MIX_ALPHA[self.config.mix]
        mixed, targets = mix(pictures, labels, alpha, generator)
        return mixed, targets.distributions(len(self.data.classes))

    def observe(self, module: nn.Module) -> Mapping[str, float]:
        """Figures of the step module itself."""
        return self._observe(module) if self._observe is not None else {}

    def evaluate(self, module: nn.Module) -> Mapping[str, float] | None:
        """Figures on the validation split."""
        if self._val is None:
            return None
        self.processes.share_buffers(module)
        measured = self._val(module, self.precision, channels_last=self.config.channels_last)
        from libs.training.metrics import validation_figures  # torchmetrics takes seconds to import

        return validation_figures(measured)

    def measure(self, split: Literal["val", "test"], module: nn.Module) -> Measured | None:
        """The module on a split, if there is one."""
        measurer = self._val if split == "val" else self._measurer(self.data.test)
        if measurer is None:
            return None
        return measurer(module, self.precision, channels_last=self.config.channels_last)

    def _measurer(self, split: ImageSplit | None) -> SplitMeasurer | None:
        if split is None:
            return None
        batch_size = self.config.batch_size // self.config.accumulate * EVALUATION_BATCH_FACTOR
        return SplitMeasurer(split, self.data.recipe, batch_size, self.device, self.processes, self.config.workers)


def classifier_session(
    module: nn.Module, config: ImageTrainingConfig, device: str, processes: Processes, total_steps: int
) -> TrainingSession:
    """The training of a classifier's step module."""
    return TrainingSession(
        module,
        config,
        device_of(device),
        processes,
        total_steps,
        monitor=config.monitor,
        count=_right,
        memory_format=torch.channels_last if config.channels_last else torch.contiguous_format,
    )


def _right(outputs: Sequence[StepOutput], targets: Tensor) -> dict[str, Tensor]:
    predicted = torch.cat([output.logits.detach().argmax(1) for output in outputs])
    return {"accuracy": (predicted == hard_labels(targets)).sum()}


def fit_classifier(
    module: nn.Module,
    data: ClassificationData,
    config: ImageTrainingConfig,
    run: Run,
    observe: Observe | None = None,
) -> FittedClassifier:
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
    processes = join_processes(run.device)
    task = ClassificationTask(data, config, run, processes, observe)
    total_steps = config.total_steps(task.steps_per_epoch)
    session = classifier_session(module, config, run.device, processes, total_steps)
    reporter = Reporter(run, config.checkpoint_every_s, session, total_steps, unit="images")
    return TrainingLoop(session, task, reporter, config, LossRatioWatch(len(data.classes))).run()
