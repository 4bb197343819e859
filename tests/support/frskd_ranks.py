"""FRSKD trained by each of several processes: `-m tests.support.frskd_ranks DATA FOLDER`; each leaves `rank{R}.pt`."""

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from libs.models.backbones.build import build_classifier
from libs.models.frskd.config import FrskdConfig
from libs.models.frskd.train import build_method
from libs.training.classification import fit_classifier
from libs.training.classification_data import open_classification_data
from libs.training.local_run import LocalRun
from libs.training.processes import join_processes
from libs.training.randomness import prepare_randomness

SHARED = FrskdConfig(
    model="resnet8", epochs=1, max_steps=3, batch_size=12, accumulate=2, lr=0.05, checkpoint="last", augment="crop"
)
VARIANTS = {
    "attention": SHARED,
    "fit": SHARED.model_copy(update={"feature_loss": "fit", "num_features": 2}),
    "detached": SHARED.model_copy(update={"detach_inputs": True, "alpha": 0.0, "beta": 0.0}),
    "label_augmentation": SHARED.model_copy(update={"sla": True, "class_weights": "balanced"}),
}


def without_batch_norm(module: nn.Module) -> None:
    """Group norms in place of batch norms, which would normalise by each process's own part of the batch."""
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, nn.GroupNorm(1, child.num_features))


def train(config: FrskdConfig, data_folder: Path, folder: Path) -> dict[str, Tensor]:
    """The weights of FRSKD, self-teacher included, after a few steps on the data set."""
    prepare_randomness(5, deterministic=True)
    data = open_classification_data(data_folder, config)
    method = build_method(config, data, build_classifier(config.model, len(data.classes), in_channels=1))
    without_batch_norm(method)
    fit_classifier(method, data, config, LocalRun(folder, seed=5, quiet=True))
    return method.state_dict()


def main(data: Path, folder: Path) -> None:
    torch.set_num_threads(1)
    rank = join_processes("cpu").rank
    weights = {name: train(config, data, folder / name) for name, config in VARIANTS.items()}
    torch.save(weights, folder / f"rank{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
