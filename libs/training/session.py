"""The state of one training: everything a checkpoint holds, and one optimiser step.

`libs.training.loop` goes over it.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from libs.training.averaging import averaged_copy
from libs.training.config import TrainingConfig
from libs.training.history import History
from libs.training.objective import StepLosses
from libs.training.optimisers import optimiser_of, set_learning_rate
from libs.training.precision import precision_for
from libs.training.processes import Processes
from libs.training.randomness import random_state, repeatable_or_refused, restore_random_state
from libs.training.run import CheckpointError
from libs.training.schedules import schedule_of
from libs.training.selection import Selection
from libs.training.window import StepFigures, Window

Count = Callable[[Sequence[Any], Tensor], Mapping[str, Tensor]]
"""Outputs of the micro-batches and the last tensor of the batch → counts over its examples, scalars."""

Phases = Sequence[Sequence[nn.Parameter]]
"""Parameters that are stepped one set after another, each on gradients of its own."""

_NOT_OF_THE_RESULT = {"workers", "checkpoint_every_s"}
"""Settings that change no weight: a run may be resumed with others."""


class TrainingSession:
    """Module, optimiser and position of one training.

    Attributes:
        module: the step module, tensors of a batch → `StepLosses`.
        epoch: epochs that are done.
        batch: batches of the current epoch that are done.
        step: optimiser steps that are done.
        history: figures reported so far.
        selection: the best weights so far.
        batch_examples: examples of the last batch, over all processes.

    Args:
        monitor: figure of the validation split by which weights are kept.
        count: what to count over the examples of a batch, from the outputs of its micro-batches and the last of its
            tensors; reported as shares of the examples.
        after_step: called after each optimiser step, to restore a constraint on the weights.
        phases: a batch is one forward, backward and step for each; together they hold every parameter. None: one step
            on all. Reported are the losses of the first.
        memory_format: of the module's weights.
        depends_on: what else decides the weights, name → digest: a resumed run must have the same.
    """

    def __init__(
        self,
        module: nn.Module,
        config: TrainingConfig,
        device: torch.device,
        processes: Processes,
        total_steps: int,
        *,
        monitor: str,
        count: Count | None = None,
        after_step: Callable[[], None] | None = None,
        phases: Phases = (),
        memory_format: torch.memory_format = torch.contiguous_format,
        depends_on: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.module: nn.Module = module.to(device=device, memory_format=memory_format)  # type: ignore[call-overload]
        self.config = config
        self.device = device
        self.processes = processes
        self.precision = precision_for(config.amp, device)
        self.scaler = self.precision.scaler()
        self.optimiser = optimiser_of(config, module)
        self.learning_rate = schedule_of(config, total_steps)
        self.average: AveragedModel | None = None
        if config.ema_decay is not None:
            self.average = averaged_copy(module, config.ema_decay)
        self._wrapped = processes.wrap(module)
        self._forward: Callable[..., StepLosses] = self._wrapped
        if config.compile:
            self._forward = torch.compile(self._wrapped)
        self._count = count
        self._after_step = after_step
        self._depends_on = dict(depends_on)
        self._phases = phases or [list(module.parameters())]
        self.epoch = self.batch = self.step = 0
        self.batch_examples = 0
        self.history = History()
        self.window = Window()
        self.selection = Selection(monitor)

    @property
    def evaluated(self) -> nn.Module:
        """The module whose weights count: the average, if one is kept."""
        if self.average is None:
            return self.module
        return self.average.module

    def optimise(self, *inputs: Tensor) -> None:
        """One optimiser step on this process's part of a batch, in `accumulate` micro-batches.

        Args:
            inputs: what the module takes, each [B, ...]: pictures and targets, say.

        Raises:
            NotRepeatableError: `deterministic` is on, and the network has a part that is not repeatable here.
        """
        rate = self.config.lr * self.learning_rate(self.step)
        set_learning_rate(self.optimiser, rate)
        self.module.train()
        with repeatable_or_refused():
            outputs, *_ = [self._step(phase, inputs) for phase in self._phases]
        if self._after_step is not None:
            self._after_step()
        if self.average is not None:
            self.average.update_parameters(self.module)
        self.step += 1
        self.batch += 1
        self.batch_examples = len(inputs[0]) * self.processes.count
        counts = self._count([output for _, output in outputs], inputs[-1]) if self._count is not None else {}
        self.window.add(self.step, _figures(outputs, counts, len(inputs[0]), rate))

    def _step(self, phase: Sequence[nn.Parameter], inputs: Sequence[Tensor]) -> list[tuple[float, StepLosses]]:
        """One step on the parameters of a phase; what has no gradient, the optimiser leaves as it is."""
        outputs = self._backward(inputs)
        chosen = set(phase)
        for parameter in self.module.parameters():
            if parameter not in chosen:
                parameter.grad = None
        if self.config.clip_grad_norm is not None:
            self.scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(phase, self.config.clip_grad_norm)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.optimiser.zero_grad(set_to_none=True)
        return outputs

    def _backward(self, inputs: Sequence[Tensor]) -> list[tuple[float, StepLosses]]:
        """Gradients of the whole batch; returns each micro-batch's share and output."""
        parts = micro_batches(inputs, self.config.accumulate)
        outputs: list[tuple[float, StepLosses]] = []
        for number, part in enumerate(parts):
            share = len(part[0]) / len(inputs[0])
            with self._gradient_exchange(last=number == len(parts) - 1):
                with self.precision.autocast():
                    output = self._forward(*part)
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
            "settings": settings_of(self.config),
            "processes": self.processes.count,
            "depends_on": self._depends_on,
            "epoch": self.epoch,
            "batch": self.batch,
            "step": self.step,
            "module": self.module.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": self.average.state_dict() if self.average is not None else None,
            "random": self.processes.gathered(random_state(self.device)),
            "selection": self.selection.state(),
            "window": self.processes.gathered(self.window.state()),
            "history": self.history.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue where `state` was taken.

        Raises:
            CheckpointError: it belongs to a run with other settings, another teacher, or another number of processes.
        """
        if "settings" not in state:
            raise CheckpointError("the checkpoint is of an earlier version of Octavo; start a new job instead")
        if changed := changed_settings(state["settings"], self.config):
            names = ", ".join(changed)
            raise CheckpointError(f"the checkpoint is of a run with other settings ({names}); start a new job instead")
        if state["processes"] != self.processes.count:
            raise CheckpointError(
                f"the checkpoint is of {state['processes']} processes, this run has {self.processes.count}"
            )
        for name, digest in self._depends_on.items():
            if state["depends_on"].get(name) != digest:
                raise CheckpointError(f"the checkpoint is of a run with another {name}; start a new job instead")
        self.epoch, self.batch, self.step = state["epoch"], state["batch"], state["step"]
        self.module.load_state_dict(state["module"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.selection.restore(state["selection"])
        self.window.restore(state["window"][self.processes.rank], self.device)
        self.history.restore(state["history"])
        restore_random_state(state["random"][self.processes.rank], self.device)


def micro_batches(inputs: Sequence[Tensor], parts: int) -> list[tuple[Tensor, ...]]:
    """A batch cut into at most `parts` of one size, the last maybe smaller.

    Args:
        inputs: each [B, ...] but unlabelled pictures, [U, ...]: those are cut in proportion to the first.
    """
    examples = len(inputs[0])
    size = -(-examples // parts)
    cut = [
        tensor.tensor_split([len(tensor) * end // examples for end in range(size, examples, size)]) for tensor in inputs
    ]
    return list(zip(*cut, strict=True))


def settings_of(config: TrainingConfig) -> dict[str, Any]:
    """The settings that decide the weights, as plain values."""
    return config.model_dump(mode="json", exclude=_NOT_OF_THE_RESULT)


def changed_settings(before: Mapping[str, Any], config: TrainingConfig) -> list[str]:
    """Names of the settings whose values are not those of `before`.

    One that `before` lacks came with a later version of Octavo, whose default is what was done before it: a run that
    was paused before an upgrade goes on after it.
    """
    defaults = settings_of(type(config).model_construct())
    known = {**defaults, **before}
    now = settings_of(config)
    return sorted(name for name in known.keys() | now.keys() if known.get(name) != now.get(name))


def _figures(
    outputs: Sequence[tuple[float, StepLosses]], counts: Mapping[str, Tensor], examples: int, learning_rate: float
) -> StepFigures:
    """Figures of a step from its micro-batches."""
    scales = [share * output.scale for share, output in outputs]
    terms = {}
    for name in outputs[0][1].losses:
        parts = [scale * output.losses[name].detach() for scale, (_, output) in zip(scales, outputs, strict=True)]
        terms[name] = torch.stack(parts).sum() / sum(scales)
    return StepFigures(terms, outputs[0][1].weights, counts, sum(scales), examples, learning_rate)
