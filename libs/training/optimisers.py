"""Optimisers from a config."""

import inspect
from collections.abc import Callable, Iterable
from functools import cache

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from libs.training.config import TrainingConfig


def optimiser_of(config: TrainingConfig, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """SGD or AdamW over one group: weight decay on every parameter, as the methods' papers have it."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    if config.optimizer == "adamw":
        return _eager(AdamW)(trained, lr=config.lr, weight_decay=config.weight_decay)
    return _eager(SGD)(
        trained,
        lr=config.lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=config.nesterov,
    )


def set_learning_rate(optimiser: Optimizer, lr: float) -> None:
    """Give every group this learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = lr


@cache
def _eager(kind: type[Optimizer]) -> Callable[..., Optimizer]:
    """The optimiser class without its ties to torch's compiler.

    torch.optim shields its methods from the compiler, and imports it to do so: 2 s, as long as torch itself, before the
    first step of every job. Our steps are never compiled (`compile` is about the forward pass), so the plain functions
    under the shields do, with gradients off as the shields have it.
    """
    shielded = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
    plain = {name: inspect.unwrap(getattr(kind, name)) for name in shielded}
    return type(kind.__name__, (kind,), {**plain, "step": torch.no_grad()(inspect.unwrap(kind.step))})
