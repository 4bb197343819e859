"""What the learning scripts of RKSA and SASRec share: models, the settings tried for each, what is asked of both."""

import argparse
from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from benchmarks.recommendation.learning import study_parser
from libs.data.events.store import EventStore
from libs.models.rksa.build import build_rksa, build_sasrec
from libs.models.rksa.config import RksaConfig, SasrecConfig

CONFIGS = {"SASRec": SasrecConfig, "RKSA": RksaConfig}


def attention_parser(description: str | None, variants: Iterable[str], epochs: int) -> argparse.ArgumentParser:
    """What every study is asked for, how many settings to try, and of how many users."""
    parser = study_parser(description, variants, epochs)
    parser.add_argument(
        "--trials", type=int, default=1, help="settings tried for each variant on the first seed, at most 3"
    )
    parser.add_argument("--setting", help="this setting, by its name, in place of the usual one")
    parser.add_argument("--users", type=int, help="only the first so many, to try the script")
    return parser


def wanted_settings(options: argparse.Namespace, settings: Mapping[str, Any]) -> list[str]:
    """Names of the settings to run: the one that is asked for, else the first `--trials`.

    Raises:
        SystemExit: there is none of that name.
    """
    if options.setting is None:
        return list(settings)[: options.trials]
    if options.setting not in settings:
        raise SystemExit(f"--setting {options.setting!r} is none of: {', '.join(map(repr, settings))}")
    return [options.setting]


def build(config: SasrecConfig, events: EventStore, seed: int) -> nn.Module:
    """A model for the events."""
    return build_rksa(config, events, seed) if isinstance(config, RksaConfig) else build_sasrec(config, events)


def settings_of(dropout: float, other_dropout: float) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """By model, three settings by name, the usual one first; after them one with choices of SASRec's public code.

    SASRec's are of dropout and learning rate, which RKSA has as well and keeps as they are. RKSA's are of what it has
    alone: how fast kernels, mixture and shape learn, and a term against a spread that vanishes.
    """
    usual = {"dropout": dropout}
    public = {**usual, "places": "last", "adam_beta2": 0.98}
    slow = {"kernel_lr_factor": 3.0, "latent_divergence": 0.01}
    return {
        "SASRec": {
            f"dropout {dropout}": usual,
            f"dropout {other_dropout}": {"dropout": other_dropout},
            f"dropout {dropout}, lr 5e-4": {**usual, "lr": 5e-4},
            f"dropout {dropout}, public": public,
        },
        "RKSA": {
            f"dropout {dropout}": usual,
            f"dropout {dropout}, kernel lr x1": {**usual, "kernel_lr_factor": 1.0},
            f"dropout {dropout}, kernel lr x3, divergence 0.01": {**usual, **slow},
            f"dropout {dropout}, public": public,
        },
    }
