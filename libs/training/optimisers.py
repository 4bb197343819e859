"""Optimisers from a config."""

import inspect
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from libs.training.config import TrainingConfig


def optimiser_of(config: TrainingConfig, module: nn.Module) -> Optimizer:
    """SGD or AdamW: weight decay on every parameter, as the methods' papers have it.

    A module, or one inside it, may have `lr_factors`: pattern of its parameters' names (`kernels.*`) → factor on their
    learning rate.
    """
    trained = _groups(module, config.lr)
    if config.optimizer == "adamw":
        on_cpu = all(parameter.device.type == "cpu" for group in trained for parameter in group["params"])
        # one pass over weights, gradients and moments instead of ten; elsewhere torch chooses
        betas, decay = (0.9, config.adam_beta2), config.weight_decay
        return _eager(AdamW)(trained, lr=config.lr, betas=betas, weight_decay=decay, fused=on_cpu or None)
    return _eager(SGD)(
        trained,
        lr=config.lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=config.nesterov,
    )


def _groups(module: nn.Module, lr: float) -> list[dict[str, Any]]:
    """Parameters that are trained, by the factor on their learning rate."""
    factors = _lr_factors(module)
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            factor = next((factor for pattern, factor in factors.items() if fnmatchcase(name, pattern)), 1.0)
            groups.setdefault(factor, []).append(parameter)
    return [{"params": group, "lr": factor * lr, "lr_factor": factor} for factor, group in groups.items()]


def _lr_factors(module: nn.Module) -> dict[str, float]:
    found: dict[str, float] = {}
    for path, part in module.named_modules():
        factors: Mapping[str, float] = getattr(part, "lr_factors", {})
        found |= {f"{path}.{pattern}" if path else pattern: factor for pattern, factor in factors.items()}
    return found


def set_learning_rate(optimiser: Optimizer, lr: float) -> None:
    """Give every group this learning rate, times the group's own factor."""
    for group in optimiser.param_groups:
        group["lr"] = lr * group["lr_factor"]


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
