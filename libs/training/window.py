"""Training figures between two reports: kept on the device, read once, checked for NaN."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from libs.training.processes import Processes


class NotFiniteError(ArithmeticError):
    """A loss became NaN or infinite; the message names the step, the terms, and what to try."""

    user_error = True


@dataclass(frozen=True, slots=True)
class StepFigures:
    """One optimiser step, everything still on the device.

    Attributes:
        terms: raw losses by name, scalars.
        weights: their factors.
        counts: what is counted over the examples, by the name of the share it is reported as: `accuracy` → how many
            the classifier got right. Scalars.
        scale: how much the step weighs beside others of as many examples.
        examples: of this process's part of the batch.
        learning_rate: it ran at.
    """

    terms: Mapping[str, Tensor]
    weights: Mapping[str, float]
    counts: Mapping[str, Tensor]
    scale: float
    examples: int
    learning_rate: float


@dataclass(slots=True)
class Window:
    """The steps since the last report. Saved in checkpoints, so that a resumed run reports the same figures."""

    names: Sequence[str] = ()
    counted: Sequence[str] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    rows: list[Tensor] = field(default_factory=list)
    scales: list[float] = field(default_factory=list)
    first_step: int = 0
    examples: int = 0
    learning_rate: float = 0.0

    def add(self, step: int, figures: StepFigures) -> None:
        """Take in the figures of `step` (counted from 1)."""
        if not self.rows:
            self.first_step = step
        self.names, self.weights, self.counted = tuple(figures.terms), dict(figures.weights), tuple(figures.counts)
        counts = [count.float() for count in figures.counts.values()]
        self.rows.append(torch.stack([*figures.terms.values(), *counts]).detach())
        self.scales.append(figures.scale)
        self.examples += figures.examples
        self.learning_rate = figures.learning_rate

    def check(self) -> Tensor:
        """The rows [steps, terms + counts] on the CPU.

        Raises:
            NotFiniteError: a term of a step is NaN or infinite.
        """
        table = torch.stack(self.rows).cpu()
        broken = ~table[:, : len(self.names)].isfinite()
        if broken.any():
            row = int(broken.any(1).nonzero()[0])
            terms = [f"{name}={value:g}" for name, value in zip(self.names, table[row], strict=False)]
            guilty = [name for name, bad in zip(self.names, broken[row], strict=True) if bad]
            raise NotFiniteError(
                f"the loss is not finite at step {self.first_step + row}: {', '.join(guilty)} ({'  '.join(terms)}). "
                "Try a lower lr, warmup_steps, clip_grad_norm, or amp: off."
            )
        return table

    def flush(self, processes: Processes) -> tuple[dict[str, float], dict[str, Tensor]]:
        """Mean figures of the window over all processes, and this process's weighted terms by name, each [steps].

        A new window starts.

        Raises:
            NotFiniteError: as `check`.
        """
        table = self.check()
        terms_count = len(self.names)
        scales = torch.tensor(self.scales, dtype=torch.float64)
        sums = processes.average(torch.cat([scales @ table[:, :terms_count].double(), scales.sum()[None]]))
        terms = dict(zip(self.names, (sums[:-1] / sums[-1]).tolist(), strict=True))
        figures = {"train/loss": sum(self.weights[name] * value for name, value in terms.items())}
        figures |= {f"train/{name}": value for name, value in terms.items()}
        figures |= {f"train/weighted/{name}": self.weights[name] * value for name, value in terms.items()}
        if self.counted:
            shares = processes.average(table[:, terms_count:].double().sum(0) / self.examples).tolist()
            figures |= {f"train/{name}": share for name, share in zip(self.counted, shares, strict=True)}
        figures["train/lr"] = self.learning_rate
        weighted = {name: self.weights[name] * table[:, column] for column, name in enumerate(self.names)}
        self.rows, self.scales, self.examples = [], [], 0
        return figures, weighted

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "names": list(self.names),
            "counted": list(self.counted),
            "weights": dict(self.weights),
            "rows": [row.cpu() for row in self.rows],
            "scales": list(self.scales),
            "first_step": self.first_step,
            "examples": self.examples,
            "learning_rate": self.learning_rate,
        }

    def restore(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Continue from a checkpoint, with its rows beside those that are still to come, on the training's device."""
        known = {"scales": [1.0] * len(state["rows"])}  # of checkpoints from before batches could weigh differently
        for name, value in {**known, **state}.items():
            setattr(self, name, value)
        self.rows = [row.to(device) for row in self.rows]
