"""What the training of a next-item model will cost, from a few real steps."""

from dataclasses import asdict

import torch
from torch import nn

from libs.data.events.store import EventStore
from libs.data.events.windows import Split, windows_of
from libs.models.sequences.config import SequenceTrainingConfig
from libs.models.sequences.task import SequenceTask
from libs.training.estimate import (
    EVALUATION_SHARE,
    TIMED_STEPS,
    TrainingEstimate,
    count_parameters,
    state_bytes,
    time_steps,
)
from libs.training.precision import device_of
from libs.training.processes import Processes
from libs.training.run import Outcome, Run
from libs.training.session import Phases, TrainingSession


def estimate_sequences(
    model: nn.Module, events: EventStore, config: SequenceTrainingConfig, run: Run, phases: Phases = ()
) -> Outcome:
    """Run three steps and extrapolate, as the outcome of a dry run: everything in `details`.

    Args:
        model: a `NextItemModel` made for this; its weights change.
        phases: as in `TrainingSession`.

    Raises:
        DataError: the data cannot be trained on with this config.
        DeviceError: there is no such device.
    """
    task = SequenceTask(events, config, run, Processes())
    steps = config.total_steps(task.steps_per_epoch)
    session = TrainingSession(
        task.step(model),
        config,
        device_of(run.device),
        Processes(),
        TIMED_STEPS + 1,
        monitor=config.monitor,
        phases=phases,
    )
    batch = next(task.batches(0, 0))
    cost = time_steps(session, batch)
    evaluations = -(-steps // (task.steps_per_epoch * config.evaluate_every_epochs)) + 1
    evaluated = evaluations * _windows(events, config, "val") + _windows(events, config, "test")
    estimate = TrainingEstimate(
        served_parameters=count_parameters(model),
        trained_parameters=count_parameters(model),
        steps=steps,
        step_s=cost.seconds,
        total_s=cost.seconds * (steps + EVALUATION_SHARE * evaluated / len(batch[0])),
        memory_bytes=state_bytes(model, config) + cost.activation_bytes + _score_bytes(batch, events, config),
    )
    return Outcome(details=asdict(estimate))


def _windows(events: EventStore, config: SequenceTrainingConfig, split: Split) -> int:
    return len(windows_of(events, split, config.max_length, single_targets=config.single_targets))


def _score_bytes(batch: tuple[torch.Tensor, ...], events: EventStore, config: SequenceTrainingConfig) -> int:
    """Gradient of the scores of all items, which the softmax makes beside what autograd keeps."""
    return int((batch[1] != 0).sum()) * (events.num_items + 1) * 4 if config.objective == "softmax" else 0
