"""What a training will cost, from a few real steps: for dry runs and for comparing methods."""

import copy
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from libs.data.loading import plan_epoch
from libs.training.classification import classification_batches, classifier_session
from libs.training.classification_data import ClassificationData
from libs.training.config import ImageTrainingConfig, TrainingConfig
from libs.training.processes import Processes
from libs.training.run import Outcome, Run
from libs.training.session import TrainingSession

TIMED_STEPS = 3
EVALUATION_SHARE = 0.4
"""An example that is evaluated costs about a forward pass; one that is trained on, three."""


@dataclass(frozen=True, slots=True)
class StepCost:
    """One optimiser step. Attributes: median wall time, bytes autograd keeps for the backward pass of a micro-batch."""

    seconds: float
    activation_bytes: int


@dataclass(frozen=True, slots=True)
class TrainingEstimate:
    """What a training will cost on this machine.

    Attributes:
        served_parameters: of the model that is kept.
        trained_parameters: of the step module, with all that is thrown away afterwards.
        steps: optimiser steps.
        step_s: seconds a step, median of three.
        total_s: seconds of steps and evaluations; export and report come on top.
        memory_bytes: weights, gradients, optimiser, averages, activations and held data.
    """

    served_parameters: int
    trained_parameters: int
    steps: int
    step_s: float
    total_s: float
    memory_bytes: int


def estimate_training(
    module: nn.Module, data: ClassificationData, config: ImageTrainingConfig, device: str, seed: int
) -> TrainingEstimate:
    """Run three steps on a copy of the step module and extrapolate; nothing is left behind.

    Raises:
        DataError: the data cannot be trained on with this config.
        DeviceError: there is no such device.
    """
    plan = plan_epoch(data.train, config, seed=seed)
    steps = config.total_steps(plan.batches)
    batch = first_batch(data, config, device, seed)
    cost = measure_step(module, batch, config, device)
    evaluated = _evaluated_pictures(data, config, steps, plan.batches)
    return TrainingEstimate(
        served_parameters=count_parameters(module.get_submodule("classifier")),
        trained_parameters=count_parameters(module),
        steps=steps,
        step_s=cost.seconds,
        total_s=cost.seconds * (steps + EVALUATION_SHARE * evaluated / plan.batch_size),
        memory_bytes=state_bytes(module, config) + cost.activation_bytes + _held_bytes(data),
    )


def estimate_outcome(module: nn.Module, data: ClassificationData, config: ImageTrainingConfig, run: Run) -> Outcome:
    """The estimate as the outcome of a dry run: everything in `details`."""
    estimate = estimate_training(module, data, config, run.device, run.seed)
    return Outcome(details=asdict(estimate))


def first_batch(data: ClassificationData, config: ImageTrainingConfig, device: str, seed: int) -> tuple[Tensor, ...]:
    """What one process gets of the first batch of a training: pictures, unlabelled ones where there are, labels.

    Raises:
        DataError: the data cannot be trained on with this config.
    """
    return next(classification_batches(data, config, seed=seed, epoch=0, device=device))


def measure_step(module: nn.Module, batch: Sequence[Tensor], config: ImageTrainingConfig, device: str) -> StepCost:
    """`time_steps` of a copy of the step module of a classifier."""
    session = classifier_session(copy.deepcopy(module), config, device, Processes(), total_steps=TIMED_STEPS + 1)
    return time_steps(session, batch)


def time_steps(session: TrainingSession, batch: Sequence[Tensor]) -> StepCost:
    """Time steps of a session on one batch, after one that warms up and is watched for memory."""
    kept = _KeptBytes()
    with torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda tensor: tensor):
        session.optimise(*batch)
    seconds: list[float] = []
    for _ in range(TIMED_STEPS):
        started = time.perf_counter()
        session.optimise(*batch)
        if batch[0].device.type == "cuda":
            torch.cuda.synchronize(batch[0].device)
        seconds.append(time.perf_counter() - started)
    return StepCost(sorted(seconds)[TIMED_STEPS // 2], kept.bytes // session.config.accumulate)


class _KeptBytes:
    """Adds up the storages that autograd keeps, each once."""

    def __init__(self) -> None:
        self.bytes = 0
        self._seen: set[int] = set()

    def pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if not isinstance(tensor, nn.Parameter) and storage.data_ptr() not in self._seen:
            self._seen.add(storage.data_ptr())
            self.bytes += storage.nbytes()
        return tensor


def count_parameters(module: nn.Module) -> int:
    """Numbers that are trained."""
    return sum(parameter.numel() for parameter in module.parameters())


def state_bytes(module: nn.Module, config: TrainingConfig) -> int:
    """Weights, gradients, optimiser state, the average, and the best weights kept on the side."""
    copies = 2 + (2 if config.optimizer == "adamw" else 1 if config.momentum else 0)
    copies += (config.ema_decay is not None) + (config.checkpoint == "best")
    tensors: list[Tensor] = list(module.state_dict().values())
    return copies * sum(tensor.nbytes for tensor in tensors)


def _held_bytes(data: ClassificationData) -> int:
    """Pictures of the splits as uint8, which small data sets keep in memory."""
    from libs.data.resident import RESIDENT_LIMIT_BYTES

    size = data.recipe.height * data.recipe.width * data.recipe.channels
    splits = [len(split) * size for split in (data.train, data.val, data.test) if split is not None]
    return sum(split for split in splits if split <= RESIDENT_LIMIT_BYTES)


def _evaluated_pictures(data: ClassificationData, config: ImageTrainingConfig, steps: int, per_epoch: int) -> int:
    """Pictures that are evaluated during and after the run."""
    evaluations = -(-steps // (per_epoch * config.evaluate_every_epochs)) + 1
    val = len(data.val) if data.val is not None else 0
    return evaluations * val + (len(data.test) if data.test is not None else 0)
