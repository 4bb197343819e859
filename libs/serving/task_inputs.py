"""What the tasks `evaluate` and `predict` are given: one model, one data set, a device."""

import os
from dataclasses import dataclass
from pathlib import Path

from libs.data.images import ImageData, open_images
from libs.serving.bundle import MODEL_FILE, ClassifierBundle
from libs.serving.errors import MismatchError
from libs.serving.folder import read_classifier_bundle
from libs.serving.session import ModelSession
from libs.training.run import Inputs, Run, Stopped


@dataclass(frozen=True, slots=True)
class TaskInputs:
    """Opened inputs of a task."""

    bundle: ClassifierBundle
    session: ModelSession
    data: ImageData


def open_task_inputs(inputs: Inputs, run: Run) -> TaskInputs:
    """Open the model and the data set, whatever their roles are called.

    Raises:
        MismatchError: there is not exactly one of each.
        LoadError: the bundle is damaged, or the device's provider is not there.
        DataError: the data set is damaged.
    """
    model, data = folders_of(inputs)
    kind, _, number = run.device.partition(":")
    session = ModelSession(
        model / MODEL_FILE,
        "cuda" if kind == "cuda" else "cpu",
        threads=len(os.sched_getaffinity(0)),
        device_id=int(number or 0),
    )
    return TaskInputs(read_classifier_bundle(model), session, open_images(data))


def folders_of(inputs: Inputs) -> tuple[Path, Path]:
    """The model's folder and the data set's.

    Raises:
        MismatchError: there is not exactly one of each.
    """
    return _only("model", dict(inputs.models)), _only("data set", dict(inputs.datasets))


def check_stop(run: Run) -> None:
    """Raises: Stopped: the run was asked to stop."""
    reason = run.stop_reason()
    if reason is not None:
        raise Stopped(reason)


def _only(what: str, given: dict[str, Path]) -> Path:
    if len(given) != 1:
        roles = ", ".join(sorted(given)) or "none"
        raise MismatchError(f"This task takes exactly one {what}; given: {roles}.")
    return next(iter(given.values()))
