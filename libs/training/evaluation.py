"""Measuring a classifier on a split."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from libs.data.images import ImageSplit
from libs.data.loading import Batch, evaluation_batches
from libs.data.recipe import Recipe
from libs.training.objective import StepOutput
from libs.training.precision import Precision
from libs.training.processes import Processes

LOGITS_SUFFIX = "_logits"


@dataclass(frozen=True, slots=True)
class Measured:
    """What a step module made of a split, on the CPU and in the split's order.

    Attributes:
        labels: [N] int64.
        logits: the classifier's, [N, K] float32.
        others: further logits by name, each [N, K]: `self_teacher` of the extra `self_teacher_logits`.
        losses: raw terms, means over the split.
    """

    labels: Tensor
    logits: Tensor
    others: Mapping[str, Tensor]
    losses: Mapping[str, float]


@torch.no_grad()
def measure(module: nn.Module, batches: Iterable[Batch], precision: Precision, *, channels_last: bool) -> Measured:
    """Run a step module over labelled batches in evaluation mode; its mode is restored."""
    was_training = module.training
    module.eval()
    labels: list[Tensor] = []
    outputs: list[StepOutput] = []
    for pictures, targets in batches:
        with precision.autocast():
            output: StepOutput = module(in_memory_format(pictures, channels_last), targets)
        labels.append(targets.cpu())
        outputs.append(_on_cpu(output))
    module.train(was_training)
    return _joined(labels, outputs)


def in_memory_format(pictures: Tensor, channels_last: bool) -> Tensor:
    """Pictures [B, C, H, W] in the memory format the network computes in."""
    return pictures.contiguous(memory_format=torch.channels_last) if channels_last else pictures


def _on_cpu(output: StepOutput) -> StepOutput:
    losses = {name: loss.cpu() for name, loss in output.losses.items()}
    extras = {name: t.float().cpu() for name, t in output.extras.items() if name.endswith(LOGITS_SUFFIX)}
    return StepOutput(losses, output.weights, output.logits.float().cpu(), extras)


def _joined(labels: list[Tensor], outputs: list[StepOutput]) -> Measured:
    sizes = torch.tensor([len(batch) for batch in labels], dtype=torch.float64)
    shares = sizes / sizes.sum()
    terms = {name: torch.stack([o.losses[name].double() for o in outputs]) for name in outputs[0].losses}
    return Measured(
        labels=torch.cat(labels),
        logits=torch.cat([output.logits for output in outputs]),
        others={
            name.removesuffix(LOGITS_SUFFIX): torch.cat([output.extras[name] for output in outputs])
            for name in outputs[0].extras
        },
        losses={name: float((shares * values).sum()) for name, values in terms.items()},
    )


class SplitMeasurer:
    """Measures one split again and again, its pictures shared out over the processes of the run."""

    def __init__(
        self,
        split: ImageSplit,
        recipe: Recipe,
        batch_size: int,
        device: str,
        processes: Processes,
        workers: int = 0,
    ) -> None:
        # Every process takes part, so a tiny split is not shared out but measured by all.
        self._shared = processes.count > 1 and len(split) >= processes.count
        ids = split.ids[processes.rank :: processes.count] if self._shared else split.ids
        self._shard = ImageSplit(split.data, split.name, ids)
        self._recipe = recipe
        self._batch_size = batch_size
        self._device = device
        self._processes = processes
        self._workers = workers

    def __call__(self, module: nn.Module, precision: Precision, *, channels_last: bool) -> Measured:
        """Measure the module; every process gets the whole result."""
        batches = evaluation_batches(self._shard, self._recipe, self._batch_size, self._device, workers=self._workers)
        measured = measure(module, batches, precision, channels_last=channels_last)
        return _interleaved(self._processes.gathered(measured)) if self._shared else measured


def _interleaved(parts: list[Measured]) -> Measured:
    """Put together what ranks measured of positions rank, rank + count, …"""
    total = sum(len(part.labels) for part in parts)
    order = np.argsort(np.concatenate([np.arange(r, total, len(parts)) for r in range(len(parts))]))

    def join(tensors: list[Tensor]) -> Tensor:
        return torch.cat(tensors)[torch.from_numpy(order)]

    shares = [len(part.labels) / total for part in parts]
    return Measured(
        labels=join([part.labels for part in parts]),
        logits=join([part.logits for part in parts]),
        others={name: join([part.others[name] for part in parts]) for name in parts[0].others},
        losses={
            name: sum(share * part.losses[name] for share, part in zip(shares, parts, strict=True))
            for name in parts[0].losses
        },
    )
