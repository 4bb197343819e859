"""Registered models beside a training's or an evaluation's own: the same cases, each as it is served."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from libs.data.errors import DataError
from libs.data.events.dataset import EventData, open_event_data
from libs.jobs.tasks import TASKS, EvaluateConfig
from libs.models.catalog import METHODS
from libs.models.sequences.baselines import measure_baselines
from libs.models.sequences.beside import Beside, measure_beside
from libs.models.sequences.config import SequenceTrainingConfig
from libs.models.sequences.ranking import Popularity
from libs.models.sequences.report_sections import Comparison, comparison_section
from libs.models.sequences.served import ServedRules
from libs.serving.bundle import Lineage
from libs.training.bundles import BundleError
from libs.training.local_run import LocalRun
from libs.training.run import Inputs, Outcome, Stopped
from tests.support.bundles import make_bundle
from tests.support.events import events_folder, walks
from tests.support.recommenders import encode, item_vectors, make_recommender

OTHER = "0" * 64
"""Digest of a data set that is none of these."""
TINY = {"width": 8, "epochs": 1, "lr": 0.03, "max_length": 4, "batch_size": 16, "exclude_seen": False}
VECTORS = item_vectors(9, 4)
"""Of the models here, which know i1 to i9; the events are of i0 to i7."""


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Events of people of whom some are held out whole, with many targets each."""
    return events_folder(tmp_path_factory.mktemp("events"), walks(users=60, items=8), split="by-user")


@pytest.fixture(scope="module")
def data(folder: Path) -> EventData:
    return open_event_data(folder)


def registered(folder: Path, method: str = "gru4rec", data: str = OTHER, **options: Any) -> Path:
    """A model of a method: the mean of a history's vectors."""
    lineage = Lineage(method=method, seed=3, dataset_digests={"train": data})
    make_recommender(folder, vectors=VECTORS, architecture=method, lineage=lineage, **options)
    return folder


def measured(model: Path, data: EventData, rules: SequenceTrainingConfig, folder: Path) -> Beside:
    return measure_beside({"gru4rec": model}, data, "test", rules, LocalRun(folder, quiet=True))["gru4rec"]


@pytest.mark.parametrize("length", [2, 7])
@pytest.mark.parametrize("rules", [SequenceTrainingConfig, ServedRules])
def test_whatever_the_windows_each_case_is_read_as_served(
    data: EventData, tmp_path: Path, rules: type[SequenceTrainingConfig], length: int
) -> None:
    """A model that reads less, or more, than the windows of the job: its ranks by a loop, on the job's cases."""
    asked = rules(max_length=4, batch_size=5, exclude_seen=True, also_seen=True, sampled_candidates=3)
    one = measured(registered(tmp_path / "model", max_length=length), data, asked, tmp_path / "run")
    baseline = measure_baselines(data.events, asked, "test", "cpu")["popularity"]
    for column in ("rows", "targets", "users", "history_lengths", "cold"):
        assert torch.equal(getattr(one.ranked, column), getattr(baseline, column))
    assert len(one.ranked.ranks) > 2 * len(torch.unique(one.ranked.users))

    items, ids = data.events.items, ["", *data.items.all_ids()]
    number = [int(name[1:]) if name else 0 for name in ids]  # the model's number of each item; 0: it does not know it
    known = np.array([item for item in range(1, len(ids)) if number[item]])
    unknown = 0
    for case, row in enumerate(one.ranked.rows.tolist()):
        first = int(data.events.offsets[one.ranked.users[case]])
        target, met = int(items[row]), items[first:row].tolist()
        if not number[target]:
            unknown += 1
            assert one.ranked.ranks[case] == one.ranked.further["_sampled3"][case] == float("inf")
            continue
        read = [number[item] for item in met[-length:] if number[item]]
        scores = np.arange(90.0, 0.0, -10.0)  # what is popular
        if read:
            features = encode(VECTORS, np.array([read]), np.array([len(read)]))
            scores = (features @ VECTORS[1:].T)[0]
        of_item = {int(item): float(scores[number[item] - 1]) for item in known}
        above = [item for item in of_item if of_item[item] > of_item[target] + 1e-6]
        assert one.ranked.further["_seen_included"][case] == 1 + len(above)
        assert one.ranked.ranks[case] == 1 + len(set(above) - set(met))
    assert one.unknown_targets == unknown > 0
    assert one.unknown_items == 1


def test_it_is_said_what_a_model_beside_was_trained_on(data: EventData, tmp_path: Path) -> None:
    rules = SequenceTrainingConfig(max_length=4)
    other = measured(registered(tmp_path / "other"), data, rules, tmp_path / "run")
    same = measured(registered(tmp_path / "same", data=data.manifest.digest), data, rules, tmp_path / "run")
    assert "trained on another data set or version (000000000000): if that held events that are" in other.note
    assert f"does not know 1 of the items: {other.unknown_targets} of the" in other.note
    assert "It was trained on this data set." in same.note
    assert [other.as_json()["same_data"], same.as_json()["same_data"]] == [False, True]
    imported = other.bundle.model_copy(update={"lineage": Lineage(method="import")})
    assert "What it was trained on is not known" in replace(other, bundle=imported).note


def test_rankings_of_other_cases_are_not_compared(data: EventData, tmp_path: Path) -> None:
    rules = SequenceTrainingConfig(max_length=4)
    one = measured(registered(tmp_path / "model"), data, rules, tmp_path / "run")
    popularity = Popularity(torch.from_numpy(data.events.training_counts()))
    turned = replace(one.ranked, rows=one.ranked.rows.flip(0))
    with pytest.raises(ValueError, match="measured on other cases than narm: gru4rec"):
        Comparison("test", "narm", turned, {}, popularity, {"gru4rec": one})
    compared = Comparison("test", "narm", one.ranked, {}, popularity, {"gru4rec": one})
    text = comparison_section(compared, rules).text
    assert "does not beat gru4rec: the difference is within chance" in text
    assert one.note in text


def train(folder: Path, events: Path, **models: Path) -> Outcome:
    config = METHODS["gru4rec"].config.model_validate(TINY)
    inputs = Inputs({"train": events}, models)
    return METHODS["gru4rec"].load()(config, inputs, LocalRun(folder, seed=1, quiet=True))


def test_a_training_is_the_same_with_models_beside_it_and_shows_them(folder: Path, tmp_path: Path) -> None:
    alone = train(tmp_path / "alone", folder)
    models = {"gru4rec": registered(tmp_path / "a"), "bpr-mf": registered(tmp_path / "b", "bpr-mf", encoding="last")}
    outcome = train(tmp_path / "beside", folder, **models)
    assert {name: outcome.metrics[name] for name in alone.metrics} == alone.metrics
    added = {name.rpartition("/")[0] for name in outcome.metrics.keys() - alone.metrics.keys()}
    assert added >= {"baseline/gru4rec/test", "baseline/bpr-mf/test"}
    assert all(name.startswith(("baseline/gru4rec/", "baseline/bpr-mf/")) for name in added)
    assert outcome.details["beside"].keys() == {"gru4rec", "bpr-mf"}
    assert outcome.report is not None
    result = json.loads((outcome.report / "report.json").read_text())["result"]
    shown = ["gru4rec", "popularity", "item-knn", "bpr-mf", "gru4rec (registered)"]
    assert list(result["figures"]) == list(result["by_history_length"]["hr@10"]) == shown
    assert result["figures"]["gru4rec (registered)"]["ndcg@10"] == outcome.metrics["baseline/gru4rec/test/ndcg@10"]
    assert result["figures"]["gru4rec"]["ndcg@10"] == outcome.metrics["test/ndcg@10"]
    assert [margin["baseline"] for margin in result["against"]] == shown[1:]
    assert result["beside"] == outcome.details["beside"]
    page = (outcome.report / "report.html").read_text()
    assert "NDCG@10 gru4rec (registered)" in page
    assert page.count("is a registered model") == 2


def test_an_evaluation_shows_the_model_it_measures_beside_itself(folder: Path, data: EventData, tmp_path: Path) -> None:
    model = registered(tmp_path / "model", data=data.manifest.digest)
    inputs = Inputs({"data": folder}, {"gru4rec": model, "model": model})
    outcome = TASKS["evaluate"].load()(EvaluateConfig(), inputs, LocalRun(tmp_path / "run", quiet=True))
    own = {name: value for name, value in outcome.metrics.items() if name.startswith("test/")}
    assert own == {name: outcome.metrics[f"baseline/gru4rec/{name}"] for name in own}
    assert outcome.report is not None
    assert json.loads((outcome.report / "report.json").read_text())["beside"] == outcome.details["beside"]
    page = (outcome.report / "report.html").read_text()
    assert "does not beat gru4rec (registered): the difference is within chance (+0.0000 ± 0.0000" in page


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ("picture", BundleError, "'narm' is a .*, trained by another method"),
        ("method", BundleError, "'narm' is a gru4rec, trained by another method"),
        ("items", DataError, "The model for the role 'narm' knows none of the data set's 8 items by id"),
    ],
)
def test_what_cannot_stand_beside_ends_a_job_before_its_first_step(
    folder: Path, tmp_path: Path, wrong: str, error: type[Exception], message: str
) -> None:
    model = tmp_path / "model"
    if wrong == "picture":
        make_bundle(model)
    else:
        registered(model, "gru4rec" if wrong == "method" else "narm")
    events = folder
    if wrong == "items":
        strange = [(user, f"x{item}", time) for user, item, time in walks(users=60, items=8)]
        events = events_folder(tmp_path / "events", strange)
    with pytest.raises(error, match=message):
        train(tmp_path / "run", events, narm=model)
    assert not (tmp_path / "run" / "checkpoints").exists()
    sound = registered(tmp_path / "sound")
    inputs = Inputs({"data": events}, {"model": sound, "narm": model})
    with pytest.raises(error, match=message):
        TASKS["evaluate"].load()(EvaluateConfig(), inputs, LocalRun(tmp_path / "run", quiet=True))


class Impatient(LocalRun):
    """Is to be stopped as soon as anybody asks."""

    def stop_reason(self) -> Any:
        return "cancel"


def test_measuring_beside_ends_when_it_is_asked_to(data: EventData, tmp_path: Path) -> None:
    model = registered(tmp_path / "model")
    with pytest.raises(Stopped):
        measure_beside({"gru4rec": model}, data, "test", SequenceTrainingConfig(), Impatient(tmp_path, quiet=True))
