import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from libs.data.events import cooccurrence
from libs.data.events.dataset import EventData, open_event_data
from libs.models.sequences.baselines import measure_baselines
from libs.models.sequences.config import SequenceTrainingConfig
from libs.models.sequences.evaluation import Ranked
from libs.models.sequences.ranking import Popularity
from libs.models.sequences.recurrent import GRU4Rec
from libs.models.sequences.report import RecommendationReport, write_recommendation_report
from libs.models.sequences.report_examples import examples_of
from libs.models.sequences.report_sections import (
    Comparison,
    Margin,
    comparison_section,
    data_section,
    margin_of,
    slices_section,
)
from libs.models.sequences.task import fit_sequences
from libs.serving.bundle import Lineage, NextItemBundle
from libs.training.local_run import LocalRun
from libs.training.randomness import prepare_randomness
from libs.training.report.page import Section, Table
from tests.support.events import events_folder, walks

CONFIG = SequenceTrainingConfig(
    epochs=2, batch_size=8, max_length=6, also_seen=True, sampled_candidates=3, exclude_seen=False
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> EventData:
    events = [(user, f"<{item}>", time) for user, item, time in walks(users=20, items=8)]
    return open_event_data(events_folder(tmp_path_factory.mktemp("events"), events))


@pytest.fixture(scope="module")
def content(data: EventData, tmp_path_factory: pytest.TempPathFactory) -> RecommendationReport:
    prepare_randomness(0, deterministic=True)
    model = GRU4Rec(data.events.num_items, 8)
    fitted = fit_sequences(model, data.events, CONFIG, LocalRun(tmp_path_factory.mktemp("run"), quiet=True))
    assert fitted.test is not None
    bundle = NextItemBundle(
        architecture="gru4rec",
        inputs=[],
        outputs=[],
        lineage=Lineage(method="gru4rec", seed=0),
        items=data.events.num_items,
        width=8,
        max_length=6,
        exclude_seen=False,
    )
    return RecommendationReport(
        title="GRU4Rec <b>",
        method="gru4rec",
        data=data,
        config=CONFIG,
        fitted=fitted,
        bundle=bundle,
        metrics=fitted.test.figures(Popularity(torch.from_numpy(data.events.training_counts()))),
        baselines=measure_baselines(data.events, CONFIG, "test", "cpu"),
        sections=[Section("Of the method itself")],
        method_details={"drift": 1.5},
    )


def test_every_file_is_there_and_says_what_was_measured(content: RecommendationReport, tmp_path: Path) -> None:
    write_recommendation_report(tmp_path, content)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for said in (
        "Full ranking, seen items included",
        "Full ranking, seen items excluded",
        "3 sampled ones",
        "item-knn",
    ):
        assert said in page
    assert "Of the method itself" in page
    assert "GRU4Rec &lt;b&gt;" in page
    assert "&lt;i1&gt;" in page
    assert "<i1>" not in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    stored = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert stored["method"] == {"drift": 1.5}
    result = stored["result"]
    assert result["figures"].keys() == {"gru4rec", "popularity", "item-knn"}
    assert content.fitted.test is not None
    expected = float((content.fitted.test.ranks <= 10).double().mean())
    assert result["figures"]["gru4rec"]["hr@10"] == pytest.approx(expected)
    assert result["candidates"].keys() == {"", "_seen_excluded", "_sampled3"}
    assert sum(result["by_history_length"]["cases"]) == len(content.fitted.test.ranks)
    assert (tmp_path / "metrics.csv").read_text(encoding="utf-8").startswith("name,step,value\n")
    assert list((tmp_path / "tensorboard").iterdir())


def test_without_anything_held_out_there_is_still_a_report(content: RecommendationReport, tmp_path: Path) -> None:
    write_recommendation_report(
        tmp_path, replace(content, fitted=replace(content.fitted, val=None, test=None), baselines={})
    )
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["result"] is None


def ranked(ranks: list[float], cold: list[bool] | None = None) -> Ranked:
    count = len(ranks)
    return Ranked(
        ranks=torch.tensor(ranks, dtype=torch.float64),
        targets=torch.arange(count) % 4 + 1,
        rows=torch.arange(count),
        users=torch.arange(count),
        history_lengths=torch.arange(count) + 1,
        cold=torch.tensor(cold or [False] * count),
        recommended=torch.ones(count, 10, dtype=torch.int64),
    )


def compared(model: Ranked, baseline: Ranked) -> Comparison:
    return Comparison("test", "ours", model, {"popularity": baseline}, Popularity(torch.tensor([0, 4, 3, 2, 1])))


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        ([1.0] * 20, [9.0] * 20, "beats popularity"),
        ([9.0] * 20, [1.0] * 20, "does not beat popularity: it is worse"),
        ([1.0] * 20, [1.0] * 20, "does not beat popularity: the difference is within chance"),
        ([1.0, 9.0, 9.0], [9.0, 1.0, 9.0], "does not beat popularity: the difference is within chance"),
    ],
)
def test_it_is_said_plainly_whether_a_baseline_is_beaten(ours: list[float], theirs: list[float], verdict: str) -> None:
    comparison = compared(ranked(ours), ranked(theirs))
    assert comparison.margins()[0].verdict == verdict
    assert f"The model {verdict}" in comparison_section(comparison, SequenceTrainingConfig()).text


def test_the_interval_is_that_of_paired_differences() -> None:
    ours, theirs = [1.0, 2.0, 30.0, 4.0], [3.0, 2.0, 1.0, 40.0]

    def gain(rank: float) -> float:
        return 1 / math.log2(1 + rank) if rank <= 10 else 0.0

    differences = np.array([gain(a) - gain(b) for a, b in zip(ours, theirs, strict=True)])
    margin = compared(ranked(ours), ranked(theirs)).margins()[0]
    assert margin == Margin(
        "popularity",
        pytest.approx(differences.mean()),
        pytest.approx(1.959964 * differences.std(ddof=1) / 2, rel=1e-6),
    )


def test_cases_of_one_user_are_not_independent() -> None:
    """Each case five times over, the user's: as sure as it was without the repetition."""
    ours, theirs = [1.0, 2.0, 30.0, 4.0], [3.0, 2.0, 1.0, 40.0]
    once = compared(ranked(ours), ranked(theirs)).margins()[0]
    users = torch.arange(20) % 4
    repeated = compared(replace(ranked(ours * 5), users=users), replace(ranked(theirs * 5), users=users)).margins()[0]
    assert repeated.difference == pytest.approx(once.difference)
    assert repeated.half_width == pytest.approx(once.half_width)


def test_a_single_user_says_nothing_of_others() -> None:
    one = torch.zeros(3, dtype=torch.int64)
    margin = margin_of("popularity", torch.tensor([0.5, 0.4, 0.6]), torch.tensor([0.1, 0.1, 0.1]), one)
    assert margin.half_width == math.inf
    assert margin.verdict == "does not beat popularity: the difference is within chance"


def test_it_is_said_of_how_many_users_not_everything_counts(data: EventData, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "the newest" not in data_section(data).text
    monkeypatch.setattr(cooccurrence, "MOST_ITEMS_OF_A_USER", 2)
    assert "Of 20 users the newest" in data_section(data).text


def test_history_lengths_are_powers_of_two() -> None:
    table = compared(ranked([1.0] * 9), ranked([20.0] * 9)).by_history_length()
    assert table["lengths"] == ["1", "2-3", "4-7", "8-15"]
    assert table["cases"] == [1, 2, 4, 2]
    assert table["hr@10"] == {"ours": [1.0] * 4, "popularity": [0.0] * 4}


def test_cold_users_have_a_table_of_their_own() -> None:
    model = ranked([1.0, 20.0, 20.0], cold=[False, True, True])
    table: Any = slices_section(compared(model, model)).blocks[-1]
    assert isinstance(table, Table)
    assert [row[:2] for row in table.rows] == [["known users", "1"], ["cold users", "2"]]
    assert table.rows[1][2] == "0.0000 / 0.0000"


def test_examples_are_cases_by_ids(content: RecommendationReport) -> None:
    data, test = content.data, content.fitted.test
    assert test is not None
    examples = examples_of(test, data)
    assert [example.rank for example in examples] == sorted(example.rank for example in examples)
    assert examples[0].rank == float(test.ranks.min())
    assert examples[-1].rank == float(test.ranks.max())
    for example in examples:
        # everybody walks round the items
        numbers = [int(item.strip("<i>")) for item in [*example.history, example.held_out]]
        assert all((after - before) % 8 == 1 for before, after in pairwise(numbers))
        assert (example.held_out in example.recommended) == (example.rank <= 10)
