"""Cost of AFD: the loss alone and a whole step against the public formulation, a step against one of soft labels.

WRN-40-2 teaches WRN-16-2, every block linked (18 x 6), 32x32 pictures, batch 64, 100 classes, one CPU thread. CPU
(process) time of forward and backward, median of interleaved rounds; wall time beside. Peak memory is of what a step
makes. Run:

    python -m benchmarks.distillation.afd_step --rounds 9 --out benchmarks/results/afd_step.json
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from benchmarks.distillation.public import PublicAFD, public_features
from benchmarks.interleaved import Goal, measure, report, training_step
from benchmarks.result_file import write_result
from libs.data.recipe import Recipe
from libs.models.afd.method import AFD
from libs.models.afd.network import AFDLoss
from libs.models.backbones.build import build_classifier
from libs.models.teacher import Teacher, TeacherView
from libs.serving.bundle import ClassifierBundle, Lineage
from libs.training.distillation import kd_loss

CLASSES, BATCH, SIDE = 100, 64, 32
STUDENT, TEACHER = "wrn-16-2", "wrn-40-2"
FORMATS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}
STAGES = [(32, 32), (64, 16), (128, 8)]
GOALS = {
    "AFD loss alone: public NCHW / ours NCHW": Goal("loss public NCHW", "loss ours NCHW", 1.5, "at least"),
    "full step: public NCHW / ours channels_last": Goal("step public NCHW", "step ours channels_last", 1.3, "at least"),
    "AFD step / KD step, channels_last": Goal("step ours channels_last", "step KD channels_last", 1.2, "at most"),
}
MEMORY_GOALS = {"peak memory: AFD step / KD step": Goal("AFD", "KD", 1.15, "at most")}
RATIOS = {
    "same format, loss: public channels_last / ours": ("loss public channels_last", "loss ours channels_last"),
    "same format, full step: public NCHW / ours NCHW": ("step public NCHW", "step ours NCHW"),
    "same format, full step: public channels_last / ours": ("step public channels_last", "step ours channels_last"),
    "memory format, full step: ours NCHW / channels_last": ("step ours NCHW", "step ours channels_last"),
    "AFD step / KD step, NCHW": ("step ours NCHW", "step KD NCHW"),
}


def teacher() -> Teacher:
    recipe = Recipe(channels=3, height=SIDE, width=SIDE, mean=[0.5] * 3, std=[0.25] * 3)
    labels = [str(k) for k in range(CLASSES)]
    bundle = ClassifierBundle(
        architecture=TEACHER, labels=labels, recipe=recipe, inputs=[], outputs=[], lineage=Lineage(method="supervised")
    )
    return Teacher(bundle, build_classifier(TEACHER, CLASSES), TeacherView(None, None, None))


def our_step(memory_format: torch.memory_format, beta: float) -> Callable[[], Tensor]:
    """CE, soft labels and, with a beta, linked features."""
    taught_by = teacher()
    model = AFD(build_classifier(STUDENT, CLASSES), taught_by, example=torch.zeros(1, 3, SIDE, SIDE), beta=beta)
    model = model.to(memory_format=memory_format)
    taught_by.network.to(memory_format=memory_format)
    pictures, labels = batch(memory_format)
    return training_step(model, lambda: model(pictures, labels).total)


def public_step(memory_format: torch.memory_format) -> Callable[[], Tensor]:
    student = build_classifier(STUDENT, CLASSES).to(memory_format=memory_format)
    network = build_classifier(TEACHER, CLASSES).to(memory_format=memory_format).eval()
    loss = PublicAFD(*shapes())
    pictures, labels = batch(memory_format)

    def total() -> Tensor:
        logits, features = public_features(student, pictures)
        with torch.no_grad():
            taught, teacher_features = public_features(network, pictures)
        return (
            F.cross_entropy(logits, labels)
            + 0.9 * kd_loss(logits, taught, 4.0)
            + 200 * loss(features, teacher_features)
        )

    return training_step(nn.ModuleList([student, loss]), total)


def loss_step(ours: bool, memory_format: torch.memory_format) -> Callable[[], Tensor]:
    """The loss's forward and backward, gradients of the student features included."""
    student_shapes, teacher_shapes = shapes()
    students, teachers = (
        [torch.randn(BATCH, *shape).relu().to(memory_format=memory_format) for shape in side]
        for side in (student_shapes, teacher_shapes)
    )
    students = [feature.requires_grad_() for feature in students]
    if not ours:
        public = PublicAFD(student_shapes, teacher_shapes)
        return training_step(public, lambda: public(students, teachers), students)
    loss = AFDLoss([c for c, _, _ in student_shapes], [c for c, _, _ in teacher_shapes])
    return training_step(loss, lambda: loss(students, teachers).loss, students)


def shapes() -> tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]]:
    """(C, H, W) of every block's output, of student and teacher."""
    student, taught_by = ([(c, s, s) for c, s in STAGES for _ in range(count)] for count in (2, 6))
    return student, taught_by


def batch(memory_format: torch.memory_format) -> tuple[Tensor, Tensor]:
    pictures = torch.randn(BATCH, 3, SIDE, SIDE).to(memory_format=memory_format)
    return pictures, torch.randint(CLASSES, (BATCH,))


def contestants() -> dict[str, Callable[[], Tensor]]:
    steps: dict[str, Callable[[], Tensor]] = {}
    for name, memory_format in FORMATS.items():
        torch.manual_seed(0)
        steps[f"loss ours {name}"] = loss_step(True, memory_format)
        steps[f"loss public {name}"] = loss_step(False, memory_format)
        steps[f"step KD {name}"] = our_step(memory_format, beta=0)
        steps[f"step ours {name}"] = our_step(memory_format, beta=200)
        steps[f"step public {name}"] = public_step(memory_format)
    return steps


def peak_bytes(step: Callable[[], Tensor]) -> int:
    """What the tensors that a step makes take at most, by torch's own record of them.

    What a process grows by depends on the allocator as well, by a quarter from one process to the next.
    """
    step()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        step()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        recorded.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    changes = sorted((one["ts"], one["args"]["Bytes"]) for one in events if one["name"] == "[memory]")
    return max(accumulate(changed for _, changed in changes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    steps = {"KD": 0.0, "AFD": 200.0}
    memory = {name: peak_bytes(our_step(torch.channels_last, beta)) for name, beta in steps.items()}
    setting = {"teacher": TEACHER, "student": STUDENT, "side": SIDE, "batch": BATCH, "threads": 1}
    timings = measure(contestants(), options.rounds)
    results = report(timings, {**setting, "rounds": options.rounds}, GOALS, RATIOS, memory, MEMORY_GOALS)
    write_result(results, options.out)


if __name__ == "__main__":
    main()
