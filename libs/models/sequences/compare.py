"""A comparison of recommenders, all trained by jobs of their own, on the held-out events: the task `compare`.

Every run has chosen its weights on the validation split, where there is one. The test split decides nothing: it is read
once by each run for its own report, and once here, for all of them together, as they are served.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from libs.data.errors import DataError
from libs.data.events.dataset import EventData, open_event_data
from libs.data.events.windows import Split, read, windows_of
from libs.models.compare_config import CompareConfig, run_name
from libs.models.sequences.baselines import measure_baselines
from libs.models.sequences.beside import check_beside, measure_beside, registered_name
from libs.models.sequences.compare_report import Cost, Result, write_report
from libs.models.sequences.config import SequenceTrainingConfig, beside_of
from libs.models.sequences.evaluation import Ranked, RankingMeasurer
from libs.models.sequences.ranking import Popularity, gains
from libs.models.sequences.report_sections import Comparison, Margin, margin_of
from libs.models.sequences.sampling import sampled_name
from libs.models.sequences.served import BundleScorer, ServedRules, measure_served, read_next_item
from libs.training.comparison.arms import set_side_by_side
from libs.training.comparison.statistics import Figure
from libs.training.run import Inputs, Outcome, Run

MOST_STORED = 10_000_000
"""Ranks that are kept, of all runs together; four bytes each."""
_TIMED_HISTORIES = 30
_BUDGET_S = 20.0


def compare(config: CompareConfig, inputs: Inputs, run: Run) -> Outcome:
    """Rank every held-out event by the models of all runs, by popularity and item-kNN, and by registered models.

    Args:
        inputs: the data set `train`; the model of every run, as `rksa/0`; registered models by their method, `gru4rec`.

    Returns:
        `rksa/ndcg@10` and the like, means over the seeds; `popularity/ndcg@10`, `gru4rec (registered)/ndcg@10`;
        `rksa-sasrec/ndcg@10`, mean paired differences; a report; the file `ranks.npz`: where everybody puts every
        held-out item.

    Raises:
        DataError: the data set holds nothing out, or is damaged; a registered model knows none of its items.
        BundleError: a run's model recommends no items, or a registered one is of another method than its role says.
        Stopped: the run was asked to stop; it starts anew next time.
    """
    settings = config.parsed()
    assert isinstance(settings, SequenceTrainingConfig)
    data = open_event_data(inputs.datasets["train"])
    rules, split = rules_of_runs(settings), held_out(data, settings.max_length)
    check_beside(beside_of(inputs), data)
    firsts = {arm.name: inputs.models[run_name(arm.name, config.seeds[0])] for arm in config.arms()}
    run.progress(0.0, "measuring latency")  # first: all these models at a time are the most memory it takes
    costs = _costs(firsts, data, split, rules, run)
    measured = _measure(config, inputs, data, split, rules, run)
    result = Result(
        arms=set_side_by_side(config.seeds, figures_of_runs(rules), measured.figures, measured.figures_once),
        registered=measured.registered,
        margins=measured.margins(),
        slices=measured.slices(split),
        rules=rules,
        settings=settings.model_dump(mode="json"),
        chose_weights=settings.checkpoint == "best" and _counted(data, "val", settings.max_length) > 0,
        data=data,
        costs=costs,
    )
    for sentence in result.sentences():
        run.log(sentence)
    write_report(run.folder / "report", result)
    return Outcome(
        metrics=result.arms.metrics(),
        report=run.folder / "report",
        files=_ranks(run, measured, data),
        details={
            **result.arms.details(),
            "split": split,
            "held_out_events": len(measured.cases.ranks),
            "registered": measured.registered,
            "verdicts": result.sentences(),
        },
    )


@dataclass(frozen=True, slots=True)
class _Measured:
    """The runs, and what has no seeds, on the same held-out events.

    Attributes:
        figures: arm → the figures of its runs, in the order of the seeds; the method first.
        gained: NDCG@10 of each held-out event, [N]: of an arm the mean of its runs; of what has no seeds its own.
        first: arm → ranks and cases of its first run, without its lists.
        once: the same of what has no seeds: popularity, item-kNN, then registered models.
        figures_once: theirs.
        registered: what to know of the registered models among these, by the same names.
        ranks: run → ranks of the held-out items, float32 [N]; None: they are too many to keep.
    """

    figures: Mapping[str, Sequence[Mapping[str, float]]]
    gained: Mapping[str, Tensor]
    first: Mapping[str, Ranked]
    once: Mapping[str, Ranked]
    figures_once: Mapping[str, Mapping[str, float]]
    registered: Mapping[str, Mapping[str, Any]]
    ranks: Mapping[str, Tensor] | None
    popularity: Popularity

    @property
    def of(self) -> str:
        """The method that is compared."""
        return next(iter(self.first))

    @property
    def cases(self) -> Ranked:
        """Whose columns but for the ranks are those of all."""
        return self.first[self.of]

    def margins(self) -> list[Margin]:
        """NDCG@10 of the method less that of all others, means over the seeds."""
        mine, users = self.gained[self.of], self.cases.users
        return [margin_of(name, mine, others, users) for name, others in self.gained.items() if name != self.of]

    def slices(self, split: Split) -> Comparison:
        """The first runs and what has no seeds beside each other."""
        others = {name: ranked for name, ranked in {**self.first, **self.once}.items() if name != self.of}
        return Comparison(split, self.of, self.cases, others, self.popularity)


def _measure(
    config: CompareConfig, inputs: Inputs, data: EventData, split: Split, rules: ServedRules, run: Run
) -> _Measured:
    popularity = Popularity(torch.from_numpy(data.events.training_counts()))
    run.progress(0.05, "measuring what has no seeds")
    rankings, registered = _without_seeds(inputs, data, split, rules, run)
    figures_once = {name: ranked.known_figures(popularity) for name, ranked in rankings.items()}
    cases = next(iter(rankings.values()))
    once = {name: _lean(ranked, cases) for name, ranked in rankings.items()}
    del rankings
    runs = config.runs()
    keeps = _keeps(len(runs) + len(once), len(cases.ranks), run)
    figures: dict[str, list[Mapping[str, float]]] = {}
    gained: dict[str, Tensor] = {}
    first: dict[str, Ranked] = {}
    ranks: dict[str, Tensor] = {}
    for index, (name, (arm, _)) in enumerate(runs.items()):
        run.progress(0.1 + 0.9 * index / len(runs), f"measuring {name}")
        ranked = measure_served(inputs.models[name], data, split, rules, run).ranked
        figures.setdefault(arm.name, []).append(ranked.known_figures(popularity))
        gained[arm.name] = gained.get(arm.name, 0.0) + gains(ranked.ranks, 10) / len(config.seeds)
        if arm.name not in first:
            first[arm.name] = _lean(ranked, cases)
        if keeps:
            ranks[name] = ranked.ranks.float()
    return _Measured(
        figures=figures,
        gained={**gained, **{name: gains(ranked.ranks, 10) for name, ranked in once.items()}},
        first=first,
        once=once,
        figures_once=figures_once,
        registered=registered,
        ranks={**ranks, **{name: ranked.ranks.float() for name, ranked in once.items()}} if keeps else None,
        popularity=popularity,
    )


def _without_seeds(
    inputs: Inputs, data: EventData, split: Split, rules: ServedRules, run: Run
) -> tuple[dict[str, Ranked], dict[str, Mapping[str, Any]]]:
    """Rankings of popularity, item-kNN and registered models, and what to know of these."""
    rankings = measure_baselines(data.events, rules, split, run.device)
    beside = measure_beside(beside_of(inputs), data, split, rules, run)
    registered = {registered_name(role): one for role, one in beside.items()}
    rankings |= {name: one.ranked for name, one in registered.items()}
    return rankings, {name: one.as_json() for name, one in registered.items()}


def _lean(ranked: Ranked, cases: Ranked) -> Ranked:
    """A ranking once its figures are known: without its lists, and with what is the same for all held only once.

    Raises:
        ValueError: it is of other cases, or in another order.
    """
    if not torch.equal(ranked.rows, cases.rows):
        raise ValueError("two rankings of one split are of other cases")
    shared = {name: getattr(cases, name) for name in ("targets", "rows", "users", "history_lengths", "cold")}
    return replace(ranked, recommended=ranked.recommended[:, :0].clone(), further={}, **shared)


def _keeps(rankings: int, cases: int, run: Run) -> bool:
    """Whether the ranks of all are few enough to be kept; the log says so if not."""
    keeps = rankings * cases <= MOST_STORED
    if not keeps:
        run.log(f"{rankings} times {cases} ranks are too many to keep", "warning")
    return keeps


def rules_of_runs(config: SequenceTrainingConfig) -> ServedRules:
    """How the runs of a comparison are measured: by the rules they were trained to measure themselves by."""
    shared = {name: getattr(config, name) for name in SequenceTrainingConfig.model_fields}
    return ServedRules.model_validate({**shared, "also_seen": False})


def held_out(data: EventData, max_length: int) -> Split:
    """The test split of a data set, or the validation split where no event of the test split comes after another.

    Raises:
        DataError: neither holds out an event that comes after another.
    """
    splits: tuple[Split, ...] = ("test", "val")
    for split in splits:
        if _counted(data, split, max_length):
            return split
    raise DataError("Neither test nor val split holds out an event after another: there is nothing to compare on.")


def _counted(data: EventData, split: Split, max_length: int) -> int:
    return windows_of(data.events, split, max_length).num_targets


def figures_of_runs(rules: ServedRules) -> list[Figure]:
    """What runs are compared by; the first is the one that verdicts are about."""
    endings = [""]
    if rules.sampled_candidates is not None:
        endings.append(sampled_name(rules.sampled_candidates, rules.sampling))
    ranked = [
        Figure(f"{name}@{k}{ending}", f"{name.upper()}@{k}{ending.replace('_', ' ')}", True, False)
        for ending in endings
        for name, k in (("ndcg", 10), ("hr", 10), ("mrr", 10), ("ndcg", 20), ("hr", 20), ("mrr", 20))
    ]
    buckets = [
        Figure(f"{bucket}/ndcg@10", f"NDCG@10, {words}", True, False)
        for bucket, words in (("popular", "popular items"), ("middle", "middle"), ("tail", "tail"))
    ]
    return [*ranked, *buckets, Figure("coverage@10", "Coverage@10", True, False)]


def _costs(folders: Mapping[str, Path], data: EventData, split: Split, rules: ServedRules, run: Run) -> dict[str, Cost]:
    """Sizes, and the time from a history to scores of all items; in every round each model reads the same history."""
    windows = RankingMeasurer(data.events, split, rules, run.device).windows
    chosen = np.unique(np.linspace(0, len(windows) - 1, _TIMED_HISTORIES).round().astype(np.int64))
    batches = [read(data.events, windows.take(one[None])) for one in chosen]
    bundles = {name: read_next_item(folder) for name, folder in folders.items()}
    scorers = {name: BundleScorer(folder, bundles[name], data, run) for name, folder in folders.items()}
    times_ms: dict[str, list[float]] = {name: [] for name in folders}
    until = perf_counter() + _BUDGET_S
    for batch in [batches[0], *batches]:
        if perf_counter() > until and all(len(times) > 1 for times in times_ms.values()):
            break
        rows, places = np.nonzero(batch.targets)
        for name, scorer in scorers.items():
            started = perf_counter()
            scorer.begin(batch)(rows, places)
            times_ms[name].append((perf_counter() - started) * 1e3)
    return {
        name: Cost(
            parameters=bundles[name].parameters,
            size_bytes=sum(path.stat().st_size for path in folder.iterdir()),
            latency_ms=float(np.median(times_ms[name][1:])),
        )
        for name, folder in folders.items()
    }


def _ranks(run: Run, measured: _Measured, data: EventData) -> dict[str, Path]:
    """Rows of the held-out events [n] in the data set, their items [n], who ranked [r], and the ranks [r, n]."""
    if measured.ranks is None:
        return {}
    path = run.folder / "ranks.npz"
    np.savez_compressed(
        path,
        rows=measured.cases.rows.numpy(),
        items=np.array(data.items.ids(measured.cases.targets.numpy())),
        runs=np.array(list(measured.ranks)),
        ranks=torch.stack(list(measured.ranks.values())).numpy(),
    )
    return {path.name: path}
