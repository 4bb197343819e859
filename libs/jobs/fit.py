"""Whether what a job is to read fits together, as manifests and bundles tell before anything is trained."""

from uuid import UUID

from sqlalchemy.orm import Session

from libs.jobs.errors import Fault, RequestRefused
from libs.jobs.spec import JobSpec
from libs.models.estimate_config import EstimateConfig
from libs.models.sequences.config import SequenceTrainingConfig
from libs.registry import datasets, models
from libs.training.config import ImageTrainingConfig

Path = tuple[str, ...]
_COLOURS = {1: "grey", 3: "coloured"}


def check_labels(session: Session, project_id: UUID, spec: JobSpec) -> None:
    """Refuse pictures that no classifier can be trained on: without labels, or all of one class.

    Args:
        spec: pinned.

    Raises:
        RequestRefused: there are fewer than two classes.
    """
    if not isinstance(spec.training, ImageTrainingConfig) or "datasets/train" not in spec.digests:
        return
    classes = datasets.manifest_of(session, project_id, spec.datasets["train"])["classes"]
    if len(classes) < 2:
        has = f"are all of the class {classes[0]!r}" if classes else "have no labels"
        message = f"The pictures {has}: a classifier is trained on at least 2 classes."
        raise RequestRefused([Fault(("datasets", "train"), message)])


def check_start(session: Session, project_id: UUID, spec: JobSpec) -> None:
    """Refuse weights to start from that are of another network than the job's, or read other pictures.

    Args:
        spec: pinned.

    Raises:
        RequestRefused: they do not fit.
    """
    config = spec.training
    if not isinstance(config, ImageTrainingConfig | SequenceTrainingConfig) or "init" not in spec.models:
        return
    bundle = models.resolve(session, project_id, spec.models["init"]).bundle
    if isinstance(config, SequenceTrainingConfig):
        trains = spec.config.of if isinstance(spec.config, EstimateConfig) else spec.method
        if bundle["architecture"] != trains:
            message = f"The model to start from is a {bundle['architecture']}; {trains} goes on from one of its own."
            raise RequestRefused([Fault(("models", "init"), message)])
        return
    faults = []
    if config.model not in ("auto", bundle["architecture"]):
        message = (
            f"The model to start from is a {bundle['architecture']}, {config.model} is asked for: leave `model` "
            "at auto to take the model's."
        )
        faults.append(Fault(("config", "model") if config is spec.config else ("config", "config", "model"), message))
    reads, own = bundle["recipe"]["channels"], _channels(session, project_id, spec, "train")
    if own not in (None, reads):
        message = f"The model to start from reads {_COLOURS[reads]} pictures, the data set has {_COLOURS[own]} ones."
        faults.append(Fault(("models", "init"), message))
    if faults:
        raise RequestRefused(faults)


def check_colours(session: Session, project_id: UUID, spec: JobSpec, made: JobSpec | None, teacher: Path) -> None:
    """Refuse unlabelled pictures that are not coloured like the labelled ones, and a teacher of grey ones for others.

    Args:
        spec: pinned.
        made: the job that makes its teacher, pinned; None: the teacher, if there is one, exists.
        teacher: where the request names the teacher, or the data it is made of.

    Raises:
        RequestRefused: they do not fit, as far as they are known now.
    """
    own = _channels(session, project_id, spec, "train")
    if own is None:
        return
    faults = []
    others = _channels(session, project_id, spec, "unlabelled")
    if others not in (None, own):
        message = f"The unlabelled pictures are {_COLOURS[others]}, those with labels {_COLOURS[own]}."
        faults.append(Fault(("datasets", "unlabelled"), message))
    taught: int | None = None
    if made is not None:
        taught = _channels(session, project_id, made, "train")
    elif "teacher" in spec.models:
        taught = models.resolve(session, project_id, spec.models["teacher"]).bundle["recipe"]["channels"]
    if taught is not None and taught < own:
        message = "The teacher reads grey pictures, the data set has coloured ones."
        faults.append(Fault(teacher, message))
    if faults:
        raise RequestRefused(faults)


def _channels(session: Session, project_id: UUID, spec: JobSpec, role: str) -> int | None:
    """Of the pictures that a job reads; None: it reads no pictures in that role, or what it will read is made first."""
    if f"datasets/{role}" not in spec.digests:
        return None
    channels: int | None = datasets.manifest_of(session, project_id, spec.datasets[role]).get("channels")
    return channels
