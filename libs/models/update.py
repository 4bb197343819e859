"""The task `update`: a recommender goes on with newer events, and is kept only if it is as good as before on them."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from libs.data.events.dataset import EventData, open_event_data
from libs.data.events.windows import Split
from libs.models.catalog import method
from libs.models.sequences.ranking import Popularity, figures_of
from libs.models.sequences.served import Served, measure_served, read_next_item, rules_of
from libs.models.update_config import UpdateConfig
from libs.serving.bundle import BUNDLE_FILE, NextItemBundle, ParentComparison
from libs.training.run import Inputs, Outcome, Run


@dataclass(frozen=True, slots=True)
class _Held:
    """What parent and child are compared on, by one rule."""

    data: EventData
    split: Split
    exclude_seen: bool

    def measured(self, folder: Path, run: Run) -> Served:
        rules = rules_of(read_next_item(folder)).model_copy(update={"exclude_seen": self.exclude_seen})
        return measure_served(folder, self.data, self.split, rules, run)

    def figures(self, served: Served) -> dict[str, float]:
        """`test/…`, or `val/…`; what no case says anything of is left out."""
        popularity = Popularity(torch.from_numpy(self.data.events.training_counts()))
        found = served.ranked.figures(popularity)
        return {f"{self.split}/{name}": value for name, value in found.items() if math.isfinite(value)}


def run(config: UpdateConfig, inputs: Inputs, run: Run) -> Outcome:
    """Fine-tune `inputs.models["init"]` on the events `inputs.datasets["train"]` by its own method.

    Parent and child are measured as they are served on the new test split, or the validation split where there is no
    test; the comparison is written into the child's bundle, where the registry's gate reads it.

    Returns:
        The method's outcome, with `parent/test/…` and `served/test/…` among the figures.

    Raises:
        BundleError: the model is no recommender that a method of ours trained, or does not fit the events.
        DataError: the data set holds nothing out, or the method refuses it.
        pydantic.ValidationError: the changed hyper-parameters are none of the method's.
        Stopped: the run was asked to stop.
    """
    parent = read_next_item(inputs.models["init"])
    changed = config.of_parent(parent.lineage.method, parent.lineage.config)
    data = open_event_data(inputs.datasets["train"])
    held = _Held(data, "test" if data.manifest.splits["test"].events else "val", changed.exclude_seen)
    if caution := caution_of(parent, data):
        run.log(caution, "warning")
    run.progress(0.0, "measuring the parent on the newer events")
    before = held.measured(inputs.models["init"], run)
    outcome = method(parent.lineage.method).load()(changed, inputs, run)
    if outcome.bundle is None:  # a further process of the training: the main one speaks for all
        return outcome
    run.progress(1.0, "comparing with the parent")
    after = held.measured(outcome.bundle, run)
    compared = _compared(config, config.figure or changed.monitor, held.split, before, after)
    run.log("compared with the parent", **compared.model_dump())
    metrics = {
        **outcome.metrics,
        **{f"parent/{name}": value for name, value in held.figures(before).items()},
        **{f"served/{name}": value for name, value in held.figures(after).items()},
    }
    _write_into(outcome.bundle, compared)
    details = {"against_parent": compared.model_dump(), "parent_method": parent.lineage.method, **_unknown(before)}
    if outcome.report is not None:
        text = json.dumps({"metrics": metrics, **details}, indent=2)
        (outcome.report / "update.json").write_text(text + "\n", encoding="utf-8")
    return Outcome(metrics, outcome.bundle, outcome.report, outcome.files, details={**outcome.details, **details})


def caution_of(parent: NextItemBundle, data: EventData) -> str | None:
    """What speaks against the comparison: the parent may have been trained on what is held out now."""
    if data.manifest.split.protocol != "by-user" or parent.lineage.dataset_digests.get("train") == data.manifest.digest:
        return None
    return (
        "The data set is split by user, and who is held out is drawn anew whenever the users change. If the parent was "
        "trained on some of these users, its figure is too good; split by leave-last-out or by-time instead."
    )


def _compared(config: UpdateConfig, name: str, split: Split, before: Served, after: Served) -> ParentComparison:
    old, new = (figures_of(served.ranked.ranks, (10, 20))[name] for served in (before, after))
    return ParentComparison(
        figure=f"{split}/{name}",
        cases=len(before.ranked.ranks),
        parent=old,
        child=new,
        tolerance=config.tolerance,
        passed=new >= old * (1 - config.tolerance),
    )


def _write_into(folder: Path, compared: ParentComparison) -> None:
    file = folder / BUNDLE_FILE
    bundle = NextItemBundle.model_validate_json(file.read_bytes())
    file.write_text(bundle.model_copy(update={"against_parent": compared}).model_dump_json(indent=2), encoding="utf-8")


def _unknown(before: Served) -> dict[str, Any]:
    return {
        "items_new_to_the_parent": before.unknown_items,
        "held_out_events_of_new_items": before.unknown_targets,
    }
