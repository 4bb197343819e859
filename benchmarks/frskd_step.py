"""Cost of one FRSKD training step against a plain one and against the public formulation.

WRN-16-2, 32x32 pictures, batch 64, 100 classes, one CPU thread. CPU (process) time of forward and backward, median of
interleaved rounds; wall time beside. Run:

    python -m benchmarks.frskd_step --rounds 9 --out benchmarks/results/frskd_step.json
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.frskd_public import PublicSelfTeacher, public_loss
from benchmarks.interleaved import Goal, measure, report, training_step
from benchmarks.result_file import write_result
from libs.models.backbones.build import build_classifier
from libs.models.frskd.method import FRSKD
from libs.models.frskd.network import SelfTeacher
from libs.training.objective import CrossEntropy

CLASSES, BATCH, SIDE = 100, 64, 32
GOALS = {
    "FRSKD step / plain step": Goal("ours channels_last", "plain channels_last", 2.6, "at most"),
    "public NCHW / FRSKD step": Goal("public NCHW", "ours channels_last", 1.4, "at least"),
    "self-teacher: public NCHW / ours": Goal("self-teacher public NCHW", "self-teacher channels_last", 1.6, "at least"),
}
RATIOS = {
    "same format, public channels_last / ours": ("public channels_last", "ours channels_last"),
    "same format, public NCHW / ours NCHW": ("public NCHW", "ours NCHW"),
    "same format, self-teacher channels_last": ("self-teacher public channels_last", "self-teacher channels_last"),
    "same format, self-teacher NCHW": ("self-teacher public NCHW", "self-teacher NCHW"),
    "memory format, ours NCHW / channels_last": ("ours NCHW", "ours channels_last"),
    "memory format, plain NCHW / channels_last": ("plain NCHW", "plain channels_last"),
    "public NCHW / plain NCHW": ("public NCHW", "plain NCHW"),
}
FORMATS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}


def plain_step(memory_format: torch.memory_format) -> Callable[[], Tensor]:
    classifier = build_classifier("wrn-16-2", CLASSES).to(memory_format=memory_format)
    pictures, labels = batch(memory_format)
    criterion = CrossEntropy()
    return training_step(classifier, lambda: criterion(classifier(pictures), labels))


def our_step(memory_format: torch.memory_format) -> Callable[[], Tensor]:
    classifier = build_classifier("wrn-16-2", CLASSES)
    model = FRSKD(classifier, [], CLASSES, example=torch.zeros(1, 3, SIDE, SIDE)).to(memory_format=memory_format)
    pictures, labels = batch(memory_format)
    return training_step(model, lambda: model(pictures, labels).total)


def public_step(memory_format: torch.memory_format) -> Callable[[], Tensor]:
    """The public step on our classifier: the same taps, the published self-teacher and losses."""
    classifier = build_classifier("wrn-16-2", CLASSES)
    ours = FRSKD(classifier, [], CLASSES, example=torch.zeros(1, 3, SIDE, SIDE))
    ours.self_teacher = PublicSelfTeacher([tap.channels for tap in ours.taps], CLASSES)
    ours = ours.to(memory_format=memory_format)
    pictures, labels = batch(memory_format)

    def loss() -> Tensor:
        made = ours.run(pictures)
        return public_loss(made.logits, made.features, made.teacher_logits, made.refined, labels)

    return training_step(ours, loss)


def self_teacher_step(make: type[nn.Module], memory_format: torch.memory_format) -> Callable[[], Tensor]:
    """The self-teacher's forward and backward alone, gradients of the features included."""
    teacher = make([32, 64, 128], CLASSES).to(memory_format=memory_format)
    features = [
        torch.rand(BATCH, c, s, s).to(memory_format=memory_format).requires_grad_()
        for c, s in ((32, 32), (64, 16), (128, 8))
    ]
    labels = torch.randint(CLASSES, (BATCH,))
    criterion = CrossEntropy()
    return training_step(teacher, lambda: criterion(teacher(features)[0], labels))


def batch(memory_format: torch.memory_format) -> tuple[Tensor, Tensor]:
    pictures = torch.randn(BATCH, 3, SIDE, SIDE).to(memory_format=memory_format)
    return pictures, torch.randint(CLASSES, (BATCH,))


def contestants() -> dict[str, Callable[[], Tensor]]:
    steps: dict[str, Callable[[], Tensor]] = {}
    for name, memory_format in FORMATS.items():
        torch.manual_seed(0)
        steps[f"plain {name}"] = plain_step(memory_format)
        steps[f"ours {name}"] = our_step(memory_format)
        steps[f"public {name}"] = public_step(memory_format)
        steps[f"self-teacher {name}"] = self_teacher_step(SelfTeacher, memory_format)
        steps[f"self-teacher public {name}"] = self_teacher_step(PublicSelfTeacher, memory_format)
    return steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    setting = {"model": "wrn-16-2", "side": SIDE, "batch": BATCH, "threads": 1, "rounds": options.rounds}
    results = report(measure(contestants(), options.rounds), setting, GOALS, RATIOS)
    write_result(results, options.out)


if __name__ == "__main__":
    main()
