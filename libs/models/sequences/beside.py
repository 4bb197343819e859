"""Registered models that are measured beside the one of a job: on its very cases, each as it is served.

A role is named by the method that trained its model. What such a model reads of a history is its own affair: neither
the windows nor the `max_length` of the job's model change it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from libs.data.events.dataset import EventData
from libs.data.events.windows import Split
from libs.models.sequences.config import SequenceTrainingConfig
from libs.models.sequences.evaluation import Ranked, RankingMeasurer
from libs.models.sequences.rows import rows_in
from libs.serving.bundle import NextItemBundle
from libs.training.bundles import BundleError, read_bundle
from libs.training.run import Run

_SHOWN_OF_A_DIGEST = 12


@dataclass(frozen=True, slots=True)
class Beside:
    """A registered model on the cases of another.

    Attributes:
        role: the method that trained it.
        digest: of the data set that it was measured on.
        unknown_items: items of that data set that it does not know.
        unknown_targets: held-out events of those; they count as never found.
    """

    role: str
    bundle: NextItemBundle
    digest: str
    ranked: Ranked
    unknown_items: int
    unknown_targets: int

    @property
    def same_data(self) -> bool:
        """Whether what is held out here was held out from its training too."""
        return _trained_on(self.bundle) == self.digest

    @property
    def note(self) -> str:
        """What a reader of its figures must know."""
        said = f"{self.role} is a registered model, measured as it is served. {origin_of(self.bundle, self.digest)}"
        if self.unknown_items:
            said += (
                f" It does not know {self.unknown_items:,} of the items: {self.unknown_targets:,} of the "
                f"{len(self.ranked.ranks):,} held-out events are of those and count as never found."
            )
        return said

    def as_json(self) -> dict[str, Any]:
        """For `report.json` and the outcome's details."""
        return {
            "trained_on": _trained_on(self.bundle),
            "same_data": self.same_data,
            "seed": self.bundle.lineage.seed,
            "max_length": self.bundle.max_length,
            "items_unknown_to_it": self.unknown_items,
            "held_out_events_of_unknown_items": self.unknown_targets,
            "note": self.note,
        }


def registered_name(role: str) -> str:
    """What the registered model of a role is called where its method is trained too: `gru4rec (registered)`."""
    return f"{role} (registered)"


def origin_of(bundle: NextItemBundle, digest: str) -> str:
    """Whether a bundle was trained on the data set of a digest, and what it means if not, in words."""
    trained_on = _trained_on(bundle)
    if trained_on == digest:
        return "It was trained on this data set."
    if trained_on is None:
        known = "What it was trained on is not known"
    else:
        known = f"It was trained on another data set or version ({trained_on[:_SHOWN_OF_A_DIGEST]})"
    return f"{known}: if that held events that are held out here, its figures are too good."


def _trained_on(bundle: NextItemBundle) -> str | None:
    """Digest of the data set that a model was trained on; None: not known."""
    return bundle.lineage.dataset_digests.get("train")


def details_of(beside: Mapping[str, Beside]) -> dict[str, Any]:
    """What an outcome says of them: `beside`, by role; nothing without any."""
    return {"beside": {role: one.as_json() for role, one in beside.items()}} if beside else {}


def check_beside(folders: Mapping[str, Path], data: EventData) -> None:
    """Refuse at the start what could only fail when the training is over.

    Raises:
        BundleError: a model was not trained by the method that its role is named by.
        DataError: one knows none of the data set's items.
    """
    for role, folder in folders.items():
        bundle = read_bundle(folder)
        if not isinstance(bundle, NextItemBundle) or bundle.architecture != role:
            raise BundleError(f"the model for the role {role!r} is a {bundle.architecture}, trained by another method")
        rows_in(folder, data, f"The model for the role {role!r}")


def measure_beside(
    folders: Mapping[str, Path], data: EventData, split: Split, rules: SequenceTrainingConfig, run: Run
) -> dict[str, Beside]:
    """Registered models on a split, by role; empty when it holds no target.

    Args:
        rules: of the job's model: they say which cases there are, in which order, and how they are ranked.

    Raises:
        BundleError, DataError: as `check_beside`.
        Stopped: the run was asked to stop.
    """
    if not folders or not len(RankingMeasurer(data.events, split, rules, run.device).windows):
        return {}
    from libs.models.sequences.served import measure_served, read_next_item

    found = {}
    for role, folder in folders.items():
        served = measure_served(folder, data, split, rules, run)
        found[role] = Beside(
            role=role,
            bundle=read_next_item(folder),
            digest=data.manifest.digest,
            ranked=served.ranked,
            unknown_items=served.unknown_items,
            unknown_targets=served.unknown_targets,
        )
        if not found[role].same_data:
            run.log(found[role].note, "warning", role=role)
    return found
