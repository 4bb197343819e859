"""The state of one classifier training: everything a checkpoint holds, and one optimiser step.

`libs.training.classification` has the loop over it.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from libs.training.averaging import averaged_copy
from libs.training.config import ImageTrainingConfig
from libs.training.evaluation import in_memory_format
from libs.training.history import History
from libs.training.objective import StepOutput, hard_labels
from libs.training.optimisers import optimiser_of, set_learning_rate
from libs.training.precision import precision_for
from libs.training.processes import Processes
from libs.training.randomness import random_state, restore_random_state
from libs.training.run import CheckpointError
from libs.training.schedules import schedule_of
from libs.training.selection import Selection
from libs.training.window import StepFigures, Window

_NOT_OF_THE_RESULT = {"workers", "checkpoint_every_s"}
"""Settings that change no weight: a run may be resumed with others."""


class TrainingSession:
    """Module, optimiser and position of one training.

    Attributes:
        module: the step module, `(pictures, targets) -> StepOutput`, with a `classifier`.
        epoch: epochs that are done.
        batch: batches of the current epoch that are done.
        step: optimiser steps that are done.
        history: figures reported so far.
        selection: the best weights so far.
        batch_pictures: pictures of the last batch, over all processes.
    """

    def __init__(
        self,
        module: nn.Module,
        config: ImageTrainingConfig,
        device: torch.device,
        processes: Processes,
        total_steps: int,
    ) -> None:
        memory_format = torch.channels_last if config.channels_last else torch.contiguous_format
        self.module: nn.Module = module.to(device=device, memory_format=memory_format)  # type: ignore[call-overload]
        self.config = config
        self.processes = processes
        self.precision = precision_for(config.amp, device)
        self.scaler = self.precision.scaler()
        self.optimiser = optimiser_of(config, module.parameters())
        self.learning_rate = schedule_of(config, total_steps)
        self.average: AveragedModel | None = None
        if config.ema_decay is not None:
            self.average = averaged_copy(module, config.ema_decay)
        self._wrapped = processes.wrap(module)
        self._forward: Callable[[Tensor, Tensor], StepOutput] = self._wrapped
        if config.compile:
            self._forward = torch.compile(self._wrapped)
        self.epoch = self.batch = self.step = 0
        self.batch_pictures = 0
        self.history = History()
        self.window = Window()
        self.selection = Selection(config.monitor)

    @property
    def evaluated(self) -> nn.Module:
        """The module whose weights count: the average, if one is kept."""
        if self.average is None:
            return self.module
        return self.average.module

    def optimise(self, pictures: Tensor, targets: Tensor) -> None:
        """One optimiser step on this process's part of a batch, in `accumulate` micro-batches.

        Args:
            pictures: [B, C, H, W].
            targets: labels [B] or label distributions [B, K].
        """
        rate = self.config.lr * self.learning_rate(self.step)
        set_learning_rate(self.optimiser, rate)
        self.module.train()
        outputs = self._backward(in_memory_format(pictures, self.config.channels_last), targets)
        if self.config.clip_grad_norm is not None:
            self.scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self.module.parameters(), self.config.clip_grad_norm)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.optimiser.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update_parameters(self.module)
        self.step += 1
        self.batch += 1
        self.batch_pictures = len(targets) * self.processes.count
        self.window.add(self.step, _figures(outputs, targets, rate))

    def _backward(self, pictures: Tensor, targets: Tensor) -> list[tuple[float, StepOutput]]:
        """Gradients of the whole batch; returns each micro-batch's share and output."""
        parts = list(zip(pictures.chunk(self.config.accumulate), targets.chunk(self.config.accumulate), strict=True))
        outputs: list[tuple[float, StepOutput]] = []
        for number, (x, y) in enumerate(parts):
            share = len(x) / len(pictures)
            with self._gradient_exchange(last=number == len(parts) - 1):
                with self.precision.autocast():
                    output = self._forward(x, y)
                torch.autograd.backward(self.scaler.scale(output.total * share))
            outputs.append((share, output))
        return outputs

    def _gradient_exchange(self, *, last: bool) -> Any:
        """Processes exchange gradients with the last micro-batch only."""
        if last or not isinstance(self._wrapped, nn.parallel.DistributedDataParallel):
            return nullcontext()
        return self._wrapped.no_sync()

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs, as plain values and tensors; every process has to call it."""
        return {
            "config": config_digest(self.config),
            "processes": self.processes.count,
            "epoch": self.epoch,
            "batch": self.batch,
            "step": self.step,
            "module": self.module.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": self.average.state_dict() if self.average is not None else None,
            "random": self.processes.gathered(random_state()),
            "selection": self.selection.state(),
            "window": self.processes.gathered(self.window.state()),
            "history": self.history.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue where `state` was taken.

        Raises:
            CheckpointError: it belongs to a run with other settings or another number of processes.
        """
        if state["config"] != config_digest(self.config):
            raise CheckpointError("the checkpoint is of a run with another config; start a new job instead")
        if state["processes"] != self.processes.count:
            raise CheckpointError(
                f"the checkpoint is of {state['processes']} processes, this run has {self.processes.count}"
            )
        self.epoch, self.batch, self.step = state["epoch"], state["batch"], state["step"]
        self.module.load_state_dict(state["module"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.selection.restore(state["selection"])
        self.window.restore(state["window"][self.processes.rank])
        self.history.restore(state["history"])
        restore_random_state(state["random"][self.processes.rank])


def config_digest(config: ImageTrainingConfig) -> str:
    """SHA-256 over the settings that decide the weights."""
    settings = config.model_dump(mode="json", exclude=_NOT_OF_THE_RESULT)
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _figures(outputs: list[tuple[float, StepOutput]], targets: Tensor, learning_rate: float) -> StepFigures:
    """Figures of a step from its micro-batches."""
    terms = {
        name: torch.stack([share * output.losses[name].detach() for share, output in outputs]).sum()
        for name in outputs[0][1].losses
    }
    predicted = torch.cat([output.logits.detach().argmax(1) for _, output in outputs])
    right = (predicted == hard_labels(targets)).sum()
    return StepFigures(terms, outputs[0][1].weights, right, len(targets), learning_rate)
