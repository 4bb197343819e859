"""FRSKD and AFD trained by each of several processes: `-m tests.support.distillation_ranks DATA FOLDER`.

Each leaves `rank{R}.pt`.
"""

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from libs.models.afd import train as afd
from libs.models.afd.config import AfdConfig
from libs.models.backbones.build import build_classifier
from libs.models.frskd import train as frskd
from libs.models.frskd.config import FrskdConfig
from libs.models.teacher import Teacher, TeacherView
from libs.serving.bundle import ClassifierBundle, Lineage
from libs.training.classification import fit_classifier
from libs.training.classification_data import ClassificationData, open_classification_data
from libs.training.config import TrainingConfig
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
    "linked": AfdConfig(**SHARED.model_dump(include=set(TrainingConfig.model_fields)), model="resnet8", width=8),
}


def without_batch_norm(module: nn.Module) -> None:
    """Group norms in place of batch norms, which would normalise by each process's own part of the batch."""
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
                setattr(parent, name, nn.GroupNorm(1, child.num_features))


def train(config: FrskdConfig | AfdConfig, data_folder: Path, folder: Path) -> dict[str, Tensor]:
    """The weights of the method, helpers included, after a few steps on the data set.

    AFD takes the same pictures as unlabelled ones too.
    """
    prepare_randomness(5, deterministic=True)
    data = open_classification_data(data_folder, config)
    classifier = build_classifier(config.model, len(data.classes), in_channels=1)
    method: nn.Module
    if isinstance(config, AfdConfig):
        data = data.with_unlabelled(data_folder, config.unlabelled_ratio)
        network = build_classifier("resnet14", len(data.classes), in_channels=1)
        teacher = Teacher(described(data), network, TeacherView.between(data.recipe, data.recipe, "cpu"))
        method = afd.build_method(config, data, classifier, teacher, shares_classes=True)
    else:
        method = frskd.build_method(config, data, classifier)
    without_batch_norm(method)
    fit_classifier(method, data, config, LocalRun(folder, seed=5, quiet=True))
    return method.state_dict()


def described(data: ClassificationData) -> ClassifierBundle:
    """A bundle of the data's classes and recipe."""
    lineage = Lineage(method="supervised")
    return ClassifierBundle(
        architecture="resnet14", labels=data.classes, recipe=data.recipe, inputs=[], outputs=[], lineage=lineage
    )


def main(data: Path, folder: Path) -> None:
    torch.set_num_threads(1)
    rank = join_processes("cpu").rank
    weights = {name: train(config, data, folder / name) for name, config in VARIANTS.items()}
    torch.save(weights, folder / f"rank{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
