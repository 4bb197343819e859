"""The training of every image classifier: supervised, FRSKD, and the methods to come.

A method hands in a step module, an `nn.Module` with `forward(pictures, targets) -> StepOutput` and an attribute
`classifier`, the part that is kept. Where the data has unlabelled pictures too, a training step is
`forward(pictures, unlabelled, targets)`. All else, from the order of the pictures to the choice of weights, is the
same.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor, nn

from libs.data.images import ImageSplit
from libs.data.loading import plan_epoch, training_batches, unlabelled_batches
from libs.training.classification_data import ClassificationData
from libs.training.config import ImageTrainingConfig
from libs.training.evaluation import Measured, SplitMeasurer, in_memory_format
from libs.training.loop import Fitted, TrainingLoop
from libs.training.mixing import cutmix, mixup
from libs.training.objective import StepOutput, hard_labels
from libs.training.precision import device_of, precision_for
from libs.training.processes import ALONE, Processes, join_processes
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

    def batches(self, epoch: int, start_batch: int) -> Iterator[tuple[Tensor, ...]]:
        """This process's part of each batch of an epoch."""
        return classification_batches(
            self.data,
            self.config,
            seed=self.seed,
            epoch=epoch,
            start_batch=start_batch,
            processes=self.processes,
            device=self.device,
        )

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


def classification_batches(
    data: ClassificationData,
    config: ImageTrainingConfig,
    *,
    seed: int,
    epoch: int,
    start_batch: int = 0,
    processes: Processes = ALONE,
    device: str = "cpu",
) -> Iterator[tuple[Tensor, ...]]:
    """This process's part of each batch of an epoch, in the memory format the network computes in.

    Yields:
        Pictures [B, C, H, W], unlabelled ones [U, C, H, W] where the data has some, and labels [B] or label
        distributions [B, K]. Unlabelled pictures are not mixed.

    Raises:
        DataError: the data cannot be trained on with this config.
    """
    place: dict[str, Any] = {"rank": processes.rank, "world": processes.count, "device": device}
    plan = plan_epoch(data.train, config, seed=seed, world=processes.count)
    labelled = training_batches(
        data.train, data.recipe, config, seed=seed, epoch=epoch, start_batch=start_batch, **place
    )
    unlabelled: Iterator[Tensor] | None = None
    if data.unlabelled is not None:
        beside = data.unlabelled.beside(plan.batch_size // processes.count, config.accumulate)
        unlabelled = unlabelled_batches(
            data.unlabelled.split,
            data.recipe,
            config,
            seed=seed,
            epoch=epoch,
            batches=plan.batches,
            pictures=processes.count * beside,
            start_batch=start_batch,
            **place,
        )
    for number, (pictures, labels) in enumerate(labelled, start_batch):
        mixed, targets = _mixed(pictures, labels, config, len(data.classes), derived_seed(seed, epoch, number))
        others = [] if unlabelled is None else [in_memory_format(next(unlabelled), config.channels_last)]
        yield in_memory_format(mixed, config.channels_last), *others, targets


def _mixed(
    pictures: Tensor, labels: Tensor, config: ImageTrainingConfig, classes: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Mixup or CutMix, with draws of their own."""
    if config.mix == "none":
        return pictures, labels
    mix = mixup if config.mix == "mixup" else cutmix
    alpha = config.mix_alpha or _MIX_ALPHA[config.mix]
    mixed, targets = mix(pictures, labels, alpha, torch.Generator().manual_seed(seed))
    return mixed, targets.distributions(classes)


def classifier_session(
    module: nn.Module,
    config: ImageTrainingConfig,
    device: str,
    processes: Processes,
    total_steps: int,
    depends_on: Mapping[str, str] = MappingProxyType({}),
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
        depends_on=depends_on,
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
    depends_on: Mapping[str, str] = MappingProxyType({}),
) -> FittedClassifier:
    """Train a step module; afterwards it holds the chosen weights, on the run's device.

    Goes on from the run's checkpoint if there is one, and is then bitwise what it would have been without the
    interruption (on a CPU, with the same build and number of threads).

    Args:
        module: `forward(pictures [B,C,H,W], targets [B] or [B,K]) -> StepOutput`, with an attribute `classifier`.
        observe: further figures of the module, reported at every evaluation.
        depends_on: what else decides the weights, name → digest; checked on resuming.

    Raises:
        Stopped: the run was asked to stop; a checkpoint has been saved.
        NotFiniteError: a loss became NaN or infinite.
        CheckpointError: the run's checkpoint does not belong to it.
    """
    processes = join_processes(run.device)
    task = ClassificationTask(data, config, run, processes, observe)
    total_steps = config.total_steps(task.steps_per_epoch)
    session = classifier_session(module, config, run.device, processes, total_steps, depends_on)
    reporter = Reporter(run, config.checkpoint_every_s, session, total_steps, unit="images")
    return TrainingLoop(session, task, reporter, config, LossRatioWatch(len(data.classes))).run()
