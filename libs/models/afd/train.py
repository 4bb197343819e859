"""Training with AFD. The attention network is thrown away at the end; the student is what is served."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import nn

from libs.data.errors import DataError
from libs.data.loading import class_weights, plan_epoch
from libs.models.afd.config import AfdConfig
from libs.models.afd.links import Links, link_figures, measure_links
from libs.models.afd.method import AFD
from libs.models.classifier import initial_classifier
from libs.models.teacher import Teacher, TeacherError, class_difference, judge_teacher, open_teacher
from libs.training.classification import FittedClassifier, fit_classifier
from libs.training.classification_data import ClassificationData, open_classification_data
from libs.training.estimate import estimate_outcome
from libs.training.finish import ReportPart, Trained, finish_classifier
from libs.training.precision import device_of
from libs.training.processes import join_processes
from libs.training.randomness import prepare_randomness
from libs.training.run import Inputs, Outcome, Run
from libs.training.stem_warning import stem_warning
from libs.training.taps import Tap


def train(config: AfdConfig, inputs: Inputs, run: Run) -> Outcome:
    """Train a student on `inputs.datasets["train"]` with `inputs.models["teacher"]`.

    Pictures of `inputs.datasets["unlabelled"]`, if it is given, join the terms that need no labels; the student starts
    from `inputs.models["init"]`, if that is given.

    Raises:
        TeacherError: the teacher is not better than chance, or cannot teach these classes.
    """
    prepare_randomness(run.seed, config.deterministic)
    data = open_data(config, inputs, run)
    teacher = open_teacher(inputs.models["teacher"], data, config, run.device)
    shares_classes = check_teacher(teacher, data, config, run)
    architecture, student = initial_classifier(config, data, inputs)
    method = build_method(config, data, student, teacher, shares_classes=shares_classes)
    log_choices(method, data, run)
    share_statistics(method, config, run)

    def observe(module: nn.Module) -> Mapping[str, float]:
        return link_figures(module, data, config, run.device)

    fitted = fit_classifier(method, data, config, run, observe, depends_on={"teacher": teacher.digest})
    trained = Trained("afd", "AFD training", architecture, student, data, config, fitted)
    if not join_processes(run.device).main:
        return finish_classifier(trained, run)
    links = measure_links(method, data, config, run.device) if method.afd is not None else None
    outcome = finish_classifier(trained, run, lambda: _report(method, data, links, fitted, run))
    return outcome if links is None else replace(outcome, files={"links.json": _written(links, run.folder)})


def estimate(config: AfdConfig, inputs: Inputs, run: Run) -> Outcome:
    """What `train` would cost here, from three steps."""
    prepare_randomness(run.seed, config.deterministic)
    data = open_data(config, inputs, run)
    teacher = open_teacher(inputs.models["teacher"], data, config, run.device)
    shares_classes = check_teacher(teacher, data, config, run)
    _, student = initial_classifier(config, data, inputs)
    method = build_method(config, data, student, teacher, shares_classes=shares_classes)
    return estimate_outcome(method, data, config, run)


def open_data(config: AfdConfig, inputs: Inputs, run: Run) -> ClassificationData:
    """The labelled and, if given, the unlabelled pictures.

    Raises:
        DataError: they do not fit together, or a training batch would be a single picture.
    """
    data = open_classification_data(inputs.datasets["train"], config)
    if "unlabelled" in inputs.datasets:
        data = data.with_unlabelled(inputs.datasets["unlabelled"], config.unlabelled_ratio)
    for name, count in data.held_out_among_unlabelled().items():
        message = "of its pictures are among the unlabelled ones too: its figures flatter the student"
        run.log(f"split {name}: {count} {message}", "warning")
    world = join_processes(run.device).count
    labelled = plan_epoch(data.train, config, seed=run.seed, world=world).batch_size // world
    smallest = labelled % -(-labelled // config.accumulate) or -(-labelled // config.accumulate)
    if config.beta != 0 and data.unlabelled is None and smallest == 1:
        raise DataError(
            f"A part of a batch would be one picture ({labelled} pictures, accumulate {config.accumulate}), and AFD's "
            "batch norms need two: use a larger batch_size, a smaller accumulate, or more pictures."
        )
    return data


def check_teacher(teacher: Teacher, data: ClassificationData, config: AfdConfig, run: Run) -> bool:
    """Measure the teacher; whether it tells the data's classes apart.

    Raises:
        TeacherError: it does not, while soft labels are on; or it does no better than chance.
    """
    difference = class_difference(teacher.bundle.labels, data.classes)
    if difference is None:
        judge_teacher(teacher, data, config, run)
        return True
    if config.kd_weight:
        raise TeacherError(
            f"Soft labels need a teacher of the same classes: {difference}. Tune the teacher on this data first, "
            "or set kd_weight to 0 to learn from its features alone."
        )
    run.log(f"{difference}; it teaches by its features alone, and is not measured", "warning")
    return False


def share_statistics(method: AFD, config: AfdConfig, run: Run) -> None:
    """With `sync_bn`, let the batch norms of the attention network see the whole batch of all processes.

    Raises:
        DataError: several processes on CPUs, where torch cannot do that.
    """
    if not config.sync_bn or method.afd is None or join_processes(run.device).count == 1:
        return
    if device_of(run.device).type == "cpu":
        raise DataError("sync_bn works on GPUs only; leave it off when several CPU processes train.")
    method.afd = nn.SyncBatchNorm.convert_sync_batchnorm(method.afd)  # type: ignore[no-untyped-call]


def build_method(
    config: AfdConfig, data: ClassificationData, student: nn.Module, teacher: Teacher, *, shares_classes: bool
) -> AFD:
    """Student, teacher and objective as the config describes them."""
    return AFD(
        student,
        teacher,
        example=data.example,
        kd_weight=config.kd_weight,
        temperature=config.temperature,
        beta=config.beta,
        beta_mode=config.beta_mode,
        width=config.width,
        level=config.tap_level,
        taps_student=config.taps_student,
        taps_teacher=config.taps_teacher,
        shares_classes=shares_classes,
        class_weights=class_weights(data.train, config),
        label_smoothing=config.label_smoothing,
    )


def log_choices(method: AFD, data: ClassificationData, run: Run) -> None:
    """Say which features are linked, with which weights, and whether the stem fits the pictures."""
    run.log("terms", kd_weight=method.kd_weight, beta=method.beta, teacher=method.teacher.digest[:12])
    for who, taps in (("student", method.student_taps), ("teacher", method.teacher_taps)):
        if taps:
            run.log(f"features of the {who}", taps=[described(tap) for tap in taps])
    if message := stem_warning(method.classifier, data.example):
        run.log(message, "warning")


def described(tap: Tap) -> str:
    """A tap in words: `blocks.3: 192x14x14, tokens without 1 before the patches`."""
    words = f"{tap.path}: {tap.channels}x{tap.height}x{tap.width}"
    if tap.layout == "tokens":
        words += f", tokens without the {tap.prefix_tokens} before the patches"
    return words if tap.activated else f"{words}, before the activation"


def _report(
    method: AFD, data: ClassificationData, links: Links | None, fitted: FittedClassifier, run: Run
) -> ReportPart:
    from libs.models.afd.report import afd_report  # matplotlib, which no job should wait for before its first step

    return afd_report(method, data, links, fitted, run)


def _written(links: Links, folder: Path) -> Path:
    path = folder / "links.json"
    path.write_text(json.dumps(links.as_json()), encoding="utf-8")
    return path
