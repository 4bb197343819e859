"""The task `compare` for recommenders, on tiny models that it did not train itself."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from libs.data.errors import DataError
from libs.data.events.dataset import open_event_data
from libs.jobs.tasks import TASKS, EvaluateConfig
from libs.models.catalog import METHODS
from libs.models.compare_config import CompareConfig
from libs.models.sequences.compare import _measure, rules_of_runs
from libs.models.sequences.config import SequenceTrainingConfig
from libs.serving.errors import MismatchError
from libs.training.bundles import BundleError
from libs.training.local_run import LocalRun
from libs.training.run import Inputs, Outcome, Stopped, StopReason
from tests.support.events import events_folder, walks

SETTINGS = {"epochs": 4, "lr": 0.03, "max_length": 8, "batch_size": 16, "sampled_candidates": 3, "exclude_seen": False}
CONFIG = CompareConfig(of="gru4rec", config={**SETTINGS, "width": 8}, baselines=["bpr-mf"], seeds=[1, 4])


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return events_folder(tmp_path_factory.mktemp("events"), walks(users=40, items=30))


@pytest.fixture(scope="module")
def models(events: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """The model of each run, trained as its job would."""
    folder, found = tmp_path_factory.mktemp("runs"), {}
    for name, (arm, seed) in CONFIG.runs().items():
        run = LocalRun(folder / name.replace("/", "-"), seed=seed, quiet=True)
        outcome = METHODS[arm.method].load()(arm.config, Inputs({"train": events}), run)
        assert outcome.bundle is not None
        found[name] = outcome.bundle
    return found


@pytest.fixture(scope="module")
def compared(events: Path, models: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    run = LocalRun(tmp_path_factory.mktemp("compared"), quiet=True)
    outcome: Outcome = TASKS["compare"].load()(CONFIG, Inputs({"train": events}, models), run)
    return outcome


def test_figures_are_those_that_each_model_is_evaluated_to(
    compared: Outcome, events: Path, models: Mapping[str, Path], tmp_path: Path
) -> None:
    """Means of what `evaluate` says of each, which reads neither the runs' settings nor the other models."""
    for arm in ("gru4rec", "bpr-mf"):
        values = []
        for seed in CONFIG.seeds:
            inputs = Inputs({"data": events}, {"model": models[f"{arm}/{seed}"]})
            run = LocalRun(tmp_path / f"{arm}-{seed}", quiet=True)
            evaluated = TASKS["evaluate"].load()(EvaluateConfig(split="test"), inputs, run)
            values.append(evaluated.metrics["test/ndcg@10"])
            rules = {name: evaluated.metrics[f"baseline/{name}/test/ndcg@10"] for name in ("popularity", "item-knn")}
        assert compared.metrics[f"{arm}/ndcg@10"] == pytest.approx(np.mean(values), abs=1e-12)
        for name, value in rules.items():
            assert compared.metrics[f"{name}/ndcg@10"] == pytest.approx(value, abs=1e-12)
    difference = compared.metrics["gru4rec/hr@10"] - compared.metrics["bpr-mf/hr@10"]
    assert compared.metrics["gru4rec-bpr-mf/hr@10"] == pytest.approx(difference, abs=1e-12)


def test_the_ranks_that_are_kept_are_those_the_figures_are_made_of(compared: Outcome, events: Path) -> None:
    with np.load(compared.files["ranks.npz"], allow_pickle=False) as stored:
        runs, ranks = stored["runs"].tolist(), stored["ranks"]
        data = open_event_data(events)
        assert data.items.ids(data.events.items[stored["rows"]]) == stored["items"].tolist()
    assert sorted(runs) == sorted([*CONFIG.runs(), "popularity", "item-knn"])
    gains = np.where(ranks <= 10, 1 / np.log2(1 + ranks), 0)
    mine = gains[[runs.index(f"gru4rec/{seed}") for seed in CONFIG.seeds]].mean(0)
    assert compared.metrics["gru4rec/ndcg@10"] == pytest.approx(mine.mean(), abs=1e-6)
    apart = mine - gains[runs.index("popularity")]
    report = json.loads((compared.report / "report.json").read_text())
    popularity = next(one for one in report["over_users"] if one["baseline"] == "popularity")
    assert popularity["difference"] == pytest.approx(apart.mean(), abs=1e-6)
    error = apart.std(ddof=1) / np.sqrt(len(apart))  # leave-last-out: a case a user
    assert popularity["half_width"] == pytest.approx(1.959964 * error, rel=1e-4)


def test_the_report_shows_runs_rules_and_a_plain_answer_for_each(compared: Outcome) -> None:
    assert compared.report is not None
    page = (compared.report / "report.html").read_text()
    for words in ("Every seed", "popularity", "item-knn", "interval over users", "Settings"):
        assert words in page
    assert compared.details["split"] == "test"
    assert compared.details["held_out_events"] == 40
    assert set(compared.details["beside"]) == {"popularity", "item-knn"}
    said = compared.details["verdicts"]
    assert [sentence.partition(" minus that of ")[2].split(":")[0].split(",")[0] for sentence in said] == [
        "bpr-mf", "popularity", "item-knn",
    ]  # fmt: skip
    report = json.loads((compared.report / "report.json").read_text())
    assert set(report["costs"]) == {"gru4rec", "bpr-mf"}
    assert "ndcg@10_sampled3" in report["arms"]["bpr-mf"]
    assert report["chose_weights"] is True
    rows = (compared.report / "metrics.csv").read_text().splitlines()
    assert rows[0] == "arm,seed,name,value"
    assert len(rows) == 1 + 2 * 2 * len(report["figures"])


def test_a_registered_model_is_measured_once_and_stands_beside_the_arms(
    events: Path, models: Mapping[str, Path], compared: Outcome, tmp_path: Path
) -> None:
    """It is one of the runs' own here, so that its ranks are known; all other figures stay what they are."""
    compare, name = TASKS["compare"].load(), "gru4rec (registered)"
    inputs = Inputs({"train": events}, {**models, "gru4rec": models["gru4rec/1"]})
    outcome = compare(CONFIG, inputs, LocalRun(tmp_path / "run", quiet=True))
    with np.load(outcome.files["ranks.npz"], allow_pickle=False) as stored:
        runs, ranks = stored["runs"].tolist(), stored["ranks"]
    assert runs[-3:] == ["popularity", "item-knn", name]
    assert np.array_equal(ranks[runs.index(name)], ranks[runs.index("gru4rec/1")])
    gained = np.where(ranks <= 10, 1 / np.log2(1 + ranks), 0)[runs.index(name)].mean()
    assert outcome.metrics[f"{name}/ndcg@10"] == pytest.approx(gained, abs=1e-6)
    assert compared.metrics == {key: one for key, one in outcome.metrics.items() if not key.startswith(name)}
    assert outcome.details["beside_names"] == ["popularity", "item-knn", name]
    assert outcome.details["registered"][name]["note"].endswith("It was trained on this data set.")
    assert f"minus that of {name}: " in outcome.details["verdicts"][-1]
    report = json.loads((outcome.report / "report.json").read_text())
    assert report["registered"] == outcome.details["registered"]
    assert name in report["by_history_length"]["hr@10"]
    assert name in [one["baseline"] for one in report["over_users"]]
    page = (outcome.report / "report.html").read_text()
    assert page.count(outcome.details["registered"][name]["note"]) == 1
    assert "popularity and item-knn learn nothing" in page
    wrong = Inputs({"train": events}, {**models, "narm": models["gru4rec/1"]})
    with pytest.raises(BundleError, match="'narm' is a gru4rec, trained by another method"):
        compare(CONFIG, wrong, LocalRun(tmp_path / "wrong", quiet=True))


def test_what_is_the_same_for_all_is_held_once_and_ranks_only_to_be_kept(
    events: Path, models: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("libs.models.sequences.compare.MOST_STORED", 0)
    settings = SequenceTrainingConfig.model_validate(SETTINGS)
    run = LocalRun(tmp_path, quiet=True)
    inputs = Inputs({"train": events}, models)
    measured = _measure(CONFIG, inputs, open_event_data(events), "test", rules_of_runs(settings), run)
    assert measured.ranks is None
    rankings = [*measured.first.values(), *measured.once.values()]
    for column in ("targets", "rows", "users", "history_lengths", "cold"):
        assert len({getattr(one, column).data_ptr() for one in rankings}) == 1
    assert all(one.recommended.numel() == 0 for one in rankings)


def test_of_several_held_out_events_of_a_user_the_users_are_what_is_independent(
    models: Mapping[str, Path], tmp_path: Path
) -> None:
    """The interval over users is made again from the kept ranks, by sums a user."""
    shares = {"val_fraction": 0.1, "test_fraction": 0.4}
    data = events_folder(tmp_path / "events", walks(users=40, items=30), shares, split="by-user")
    outcome = TASKS["compare"].load()(CONFIG, Inputs({"train": data}, models), LocalRun(tmp_path / "run", quiet=True))
    events = open_event_data(data).events
    with np.load(outcome.files["ranks.npz"], allow_pickle=False) as stored:
        runs, gains = stored["runs"].tolist(), np.where(stored["ranks"] <= 10, 1 / np.log2(1 + stored["ranks"]), 0)
        _, users = np.unique(np.searchsorted(events.offsets, stored["rows"], side="right"), return_inverse=True)
    apart = gains[[runs.index(f"gru4rec/{seed}") for seed in CONFIG.seeds]].mean(0) - gains[runs.index("item-knn")]
    assert users.max() + 1 < len(users)
    sums = np.bincount(users, apart - apart.mean())
    error = np.sqrt(len(sums) / (len(sums) - 1) * np.sum(sums**2)) / len(apart)
    report = json.loads((outcome.report / "report.json").read_text())
    margin = next(one for one in report["over_users"] if one["baseline"] == "item-knn")
    assert margin["difference"] == pytest.approx(apart.mean(), abs=1e-6)
    assert margin["half_width"] == pytest.approx(1.959964 * error, rel=1e-4)


def test_ranks_that_are_too_many_are_not_kept_and_the_log_says_so(
    events: Path, models: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six times 40 of them: four runs and two rules."""
    said: list[tuple[str, str]] = []

    class Told(LocalRun):
        def log(self, message: str, level: str = "info", **fields: object) -> None:
            said.append((level, message))

    for most, kept in ((240, ["ranks.npz"]), (239, [])):
        monkeypatch.setattr("libs.models.sequences.compare.MOST_STORED", most)
        outcome = TASKS["compare"].load()(CONFIG, Inputs({"train": events}, models), Told(tmp_path / str(most)))
        assert list(outcome.files) == kept
    assert [message for level, message in said if level == "warning"] == ["6 times 40 ranks are too many to keep"]


def test_without_a_test_split_the_validation_split_is_read_and_flatters(
    models: Mapping[str, Path], tmp_path: Path
) -> None:
    shares = {"val_fraction": 0.3, "test_fraction": 0.0}
    data = events_folder(tmp_path / "events", walks(users=40, items=30), shares, split="by-user")
    run = LocalRun(tmp_path / "run", quiet=True)
    outcome = TASKS["compare"].load()(CONFIG, Inputs({"train": data}, models), run)
    assert outcome.details["split"] == "val"
    assert "the figures flatter all of them" in (outcome.report / "report.html").read_text()


def test_nothing_held_out_a_missing_run_and_a_stop_are_said(
    events: Path, models: Mapping[str, Path], tmp_path: Path
) -> None:
    compare = TASKS["compare"].load()
    shares = {"val_fraction": 0.0, "test_fraction": 0.0}
    whole = events_folder(tmp_path / "whole", walks(users=10, items=30), shares, split="by-user")
    with pytest.raises(DataError, match="nothing to compare on"):
        compare(CONFIG, Inputs({"train": whole}, models), LocalRun(tmp_path / "one", quiet=True))
    some = {name: folder for name, folder in models.items() if name != "bpr-mf/4"}
    with pytest.raises(MismatchError, match=r"missing: bpr-mf/4\."):
        compare(CONFIG, Inputs({"train": events}, some), LocalRun(tmp_path / "two", quiet=True))

    class Stopping(LocalRun):
        def stop_reason(self) -> StopReason | None:
            return "cancel"

    with pytest.raises(Stopped):
        compare(CONFIG, Inputs({"train": events}, models), Stopping(tmp_path / "three", quiet=True))
