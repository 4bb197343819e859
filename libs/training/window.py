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
        right: pictures the classifier got right, a scalar.
        pictures: pictures of this process's part of the batch.
        learning_rate: it ran at.
    """

    terms: Mapping[str, Tensor]
    weights: Mapping[str, float]
    right: Tensor
    pictures: int
    learning_rate: float


@dataclass(slots=True)
class Window:
    """The steps since the last report. Saved in checkpoints, so that a resumed run reports the same figures."""

    names: Sequence[str] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    rows: list[Tensor] = field(default_factory=list)
    first_step: int = 0
    pictures: int = 0
    learning_rate: float = 0.0

    def add(self, step: int, figures: StepFigures) -> None:
        """Take in the figures of `step` (counted from 1)."""
        if not self.rows:
            self.first_step = step
        self.names, self.weights = tuple(figures.terms), dict(figures.weights)
        self.rows.append(torch.stack([*figures.terms.values(), figures.right.float()]).detach())
        self.pictures += figures.pictures
        self.learning_rate = figures.learning_rate

    def check(self) -> Tensor:
        """The rows [steps, terms + 1] on the CPU.

        Raises:
            NotFiniteError: a term of a step is NaN or infinite.
        """
        table = torch.stack(self.rows).cpu()
        broken = ~table[:, :-1].isfinite()
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
        mean = processes.average(table[:, :-1].double().mean(0)).tolist()
        accuracy = float(processes.average(table[:, -1].double().sum() / self.pictures))
        terms = dict(zip(self.names, mean, strict=True))
        figures = {"train/loss": sum(self.weights[name] * value for name, value in terms.items())}
        figures |= {f"train/{name}": value for name, value in terms.items()}
        figures |= {f"train/weighted/{name}": self.weights[name] * value for name, value in terms.items()}
        figures |= {"train/accuracy": accuracy, "train/lr": self.learning_rate}
        weighted = {name: self.weights[name] * table[:, column] for column, name in enumerate(self.names)}
        self.rows, self.pictures = [], 0
        return figures, weighted

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "names": list(self.names),
            "weights": dict(self.weights),
            "rows": [row.cpu() for row in self.rows],
            "first_step": self.first_step,
            "pictures": self.pictures,
            "learning_rate": self.learning_rate,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a checkpoint."""
        for name, value in state.items():
            setattr(self, name, value)
