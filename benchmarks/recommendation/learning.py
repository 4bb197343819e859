"""What the learning scripts share: one training within a budget of CPU time, resumable, and comparisons over seeds.

A run keeps its checkpoints in a folder of its own. Started again it goes on from there, bitwise as if it had not been
interrupted; CPU time adds up. Where the budget ends first, the last weights are validated beside the best so far, the
better ones are measured, and the run says so.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from scipy import stats
from torch import nn

from benchmarks.result_file import write_result
from libs.data.events.store import EventStore
from libs.models.hcrnn.model import HcrnnModel
from libs.models.sequences.config import SequenceTrainingConfig
from libs.models.sequences.evaluation import Ranked
from libs.models.sequences.ranking import figures_of, gains
from libs.models.sequences.report_sections import error_of_mean
from libs.models.sequences.step import NextItemStep
from libs.models.sequences.task import SequenceTask, fit_sequences
from libs.training.history import History
from libs.training.local_run import LocalRun
from libs.training.processes import Processes
from libs.training.randomness import prepare_randomness
from libs.training.run import Stopped, StopReason
from libs.training.selection import Selection

CHECKPOINT_EVERY_S = 120.0
SHOWN = ("hr@10", "ndcg@10")
FULL = ("test/hr@10", "test/ndcg@10")
DEGENERATE_OMEGA = 0.05


@dataclass(frozen=True)
class Trial:
    """What is trained.

    Attributes:
        variant: name in tables.
        setting: the hyper-parameters that differ between trials of a variant, in words.
        build: a new model for the events.
    """

    variant: str
    setting: str
    seed: int
    config: SequenceTrainingConfig
    build: Callable[[SequenceTrainingConfig, EventStore, int], nn.Module]

    @property
    def folder(self) -> str:
        """Name of the run's folder."""
        return folder_of(self.variant, self.setting, self.seed)


@dataclass(frozen=True)
class Result:
    """What came out of a trial.

    Attributes:
        ended: `epochs`, `patience`, or `budget`: the CPU time ended first, and all figures are of the best so far.
        rising: whether the best validation figure is the last or the last but one, or there was none.
        cpu_s: of training and validating, over all sittings.
        build_cpu_s: of what is counted and factorised before; no part of `cpu_s`.
        figures: `val/…` and `test/…` of the chosen weights.
        chosen_epoch: whole epochs done when the chosen weights were made.
        course: validation figure by epoch.
        relations: what the model says of its relations at the end: median omega and |delta|, entropy of the mixture.
    """

    variant: str
    setting: str
    seed: int
    ended: str
    rising: bool
    steps: int
    epochs: int
    chosen_epoch: int
    cpu_s: float
    build_cpu_s: float
    figures: dict[str, float]
    course: list[tuple[float, float]]
    relations: dict[str, float] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """Name of the run's folder."""
        return folder_of(self.variant, self.setting, self.seed)

    @property
    def degenerate(self) -> bool:
        """Whether the logits hardly vary, so that the run is plain attention with a detour."""
        medians = [value for name, value in self.relations.items() if name.startswith("rksa/omega_median")]
        return bool(medians) and max(medians) < DEGENERATE_OMEGA


class BudgetedRun(LocalRun):
    """A run that stops when its CPU time, all sittings together, is used up."""

    def __init__(self, folder: Path, seed: int, cpu_minutes: float | None) -> None:
        super().__init__(folder, seed, quiet=True)
        self._spent = folder / "cpu_s.json"
        self._before = json.loads(self._spent.read_text()) if self._spent.exists() else 0.0
        self._started = time.process_time()
        self._most = math.inf if cpu_minutes is None else 60 * cpu_minutes

    @property
    def cpu_s(self) -> float:
        """Used so far."""
        return self._before + time.process_time() - self._started

    def stop_reason(self) -> StopReason | None:
        """`pause` when the budget is used up."""
        return "pause" if self.cpu_s >= self._most else super().stop_reason()

    def save_checkpoint(self, step: int, state: Mapping[str, Any]) -> None:
        """Keep the time with the checkpoint."""
        super().save_checkpoint(step, state)
        self._spent.write_text(json.dumps(self.cpu_s))


def train(
    trial: Trial,
    events: EventStore,
    runs: Path,
    cpu_minutes: float | None,
    shown: Sequence[str] = SHOWN,
    split: Literal["val", "test"] = "test",
) -> Result:
    """Train, or take up again; with the ranks of the test split in the run's folder, for paired comparisons.

    Args:
        shown: figures to print, under every rule of candidates.
        split: whose figures are printed; `val`: the test split is not read, for settings that are only tried.
    """
    folder = runs / trial.folder
    prepare_randomness(trial.seed, trial.config.deterministic)
    started = time.process_time()
    model = trial.build(trial.config, events, trial.seed)
    build_cpu_s = time.process_time() - started
    run, ended = BudgetedRun(folder, trial.seed, cpu_minutes), "epochs"
    try:
        project = model.network.project if isinstance(model, HcrnnModel) else None
        fitted = fit_sequences(model, events, trial.config, run, project)
        ended = "patience" if fitted.stopped_early else "epochs"
    except Stopped:
        ended = "budget"
    cpu_s = run.cpu_s
    state = run.load_checkpoint()
    assert state is not None
    task = SequenceTask(events, trial.config, run, Processes())
    step = task.step(model)
    chosen, history = _chosen(task, step, state, ended)
    val, test = task.measure("val", step), task.measure("test", step) if split == "test" else None
    if test is not None:
        torch.save({"ranks": test.ranks, "users": test.users}, folder / "test_ranks.pt")
    per_epoch = -(-len(task.windows) // trial.config.batch_size)
    course = [(round(p.step / per_epoch, 1), p.value) for p in history.series(f"val/{trial.config.monitor}")]
    best = max((value for _, value in course), default=math.nan)
    result = Result(
        variant=trial.variant,
        setting=trial.setting,
        seed=trial.seed,
        ended=ended,
        rising=not course or best in [value for _, value in course[-2:]],
        steps=state["step"],
        epochs=state["epoch"],
        chosen_epoch=chosen,
        cpu_s=cpu_s,
        build_cpu_s=build_cpu_s,
        figures=_figures("val", val) | _figures("test", test),
        course=course,
        relations=dict(task.observe(step)),
    )
    (folder / "result.json").write_text(json.dumps(asdict(result), indent=1) + "\n")
    print(in_words(result, shown, split), flush=True)
    return result


def _chosen(task: SequenceTask, step: NextItemStep, state: Mapping[str, Any], ended: str) -> tuple[int, History]:
    """Give a model the best weights of a checkpoint; epochs done when they were made, and the course so far.

    After `budget` the last weights are validated as well: a slow model else loses what it learnt since the last
    validation, or is not validated at all.
    """
    selection, history = Selection(task.config.monitor), History()
    selection.restore(state["selection"])
    history.restore(state["history"])
    step.load_state_dict(state["module"])
    name = f"val/{selection.monitor}"
    validated = any(point.step == state["step"] for point in history.series(name))
    if ended == "budget" and not validated and (figures := task.evaluate(step)) is not None:
        history.record({name: figures[selection.monitor]}, state["step"])
        selection.offer(figures, state["epoch"], step.state_dict())
    if selection.weights is None:
        return state["epoch"], history
    step.load_state_dict(selection.weights)
    return selection.epoch, history


def _figures(split: str, ranked: Ranked | None) -> dict[str, float]:
    if ranked is None:
        return {}
    by_rule = {"": ranked.ranks, **ranked.further}
    return {
        f"{split}/{name}{ending}": value
        for ending, ranks in by_rule.items()
        for name, value in figures_of(ranks, (5, 10, 20)).items()
    }


def in_words(result: Result, shown: Sequence[str], split: str = "test") -> str:
    """A few lines, with figures of a split."""
    ended = {"budget": "the budget ended first", "patience": "no longer rising", "epochs": "all epochs"}[result.ended]
    if result.ended == "budget" and result.rising:
        ended += ", still rising"
    wanted = tuple(f"{split}/{name}" for name in shown)
    figures = [(name, value) for name, value in result.figures.items() if name.startswith(wanted)]
    printed = "  ".join(f"{name.removeprefix('test/')} {value:.4f}" for name, value in figures)
    relations = "  ".join(f"{name.removeprefix('rksa/')} {value:.3g}" for name, value in result.relations.items())
    return (
        f"{result.variant} ({result.setting}) seed {result.seed}: best epoch {result.chosen_epoch} of {result.epochs}, "
        f"{result.steps} steps, {result.cpu_s:.0f} CPU s, {ended}\n    {printed}"
        + (f"\n    {relations}" if relations else "")
        + ("\n    DEGENERATE: the logits hardly vary, plain attention with a detour" if result.degenerate else "")
    )


def study_parser(description: str | None, variants: Iterable[str], epochs: int) -> argparse.ArgumentParser:
    """What every study is asked for on the command line; epochs is how many at most."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True, help="folder of checkpoints and results")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--variants", default=",".join(variants))
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--cpu-minutes", type=float, help="of each run")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    return parser


def study(
    asked: argparse.Namespace,
    events: EventStore,
    trial: Callable[[str, str, int, int], Trial],
    settings_of: Callable[[str], Sequence[str]],
    shown: Sequence[str] = SHOWN,
) -> tuple[list[Result], list[Result]]:
    """Every variant with every seed, in one thread, each in the setting that the first seed's validation split prefers.

    Args:
        asked: see `study_parser`.
        trial: of a variant, a setting, a seed and the most epochs.
        settings_of: a variant → the settings to try; with one there is nothing to try.
        shown: as of `train`.

    Returns:
        What each run gave, and what each setting that was tried gave, without test figures.
    """
    torch.set_num_threads(1)
    print(f"{events.num_users} users, {events.num_items} items, {len(events.items)} events, torch {torch.__version__}")
    seeds, variants = [int(seed) for seed in asked.seeds.split(",")], asked.variants.split(",")
    trials = [trial(one, setting, seeds[0], asked.epochs) for one in variants for setting in settings_of(one)]
    chosen, tried = choose(trials, events, asked.runs, asked.cpu_minutes)
    results = [
        train(trial(one, chosen[one], seed, asked.epochs), events, asked.runs, asked.cpu_minutes, shown)
        for seed in seeds
        for one in variants
    ]
    return results, tried


def choose(
    trials: Sequence[Trial], events: EventStore, runs: Path, cpu_minutes: float | None
) -> tuple[dict[str, str], list[Result]]:
    """Of each variant the setting with the best validation figure, and what each trial gave, without test figures.

    Raises:
        ValueError: one variant has more trials than another.
    """
    counts = {trial.variant: sum(other.variant == trial.variant for other in trials) for trial in trials}
    if len(set(counts.values())) > 1:
        raise ValueError(f"The variants have unequal numbers of trials: {counts}.")
    if max(counts.values()) == 1:
        return {trial.variant: trial.setting for trial in trials}, []
    tried = [train(trial, events, runs, cpu_minutes, split="val") for trial in trials]
    best: dict[str, tuple[float, str]] = {}
    for trial, result in zip(trials, tried, strict=True):
        value = result.figures[f"val/{trial.config.monitor}"]
        best[trial.variant] = max(best.get(trial.variant, (-math.inf, "")), (value, trial.setting))
    return {variant: setting for variant, (_, setting) in best.items()}, tried


def compare(results: Sequence[Result], runs: Path, first: str, second: str, figures: Sequence[str]) -> None:
    """Print paired differences `first` - `second`, with a 95 % interval over seeds, and over users within each seed."""
    by = {(result.variant, result.seed): result for result in results}
    seeds = sorted({result.seed for result in results if (first, result.seed) in by and (second, result.seed) in by})
    for name in figures:
        differences = [by[first, seed].figures[name] - by[second, seed].figures[name] for seed in seeds]
        print(f"{first} - {second}, {name}: {interval(differences)} over seeds {seeds}")
    for seed in seeds:
        paths = [runs / by[variant, seed].folder / "test_ranks.pt" for variant in (first, second)]
        one, other = (torch.load(path) for path in paths)
        apart = gains(one["ranks"], 10) - gains(other["ranks"], 10)
        half = 1.96 * error_of_mean(apart, one["users"])
        print(f"    seed {seed}, NDCG@10 over {len(apart)} cases: {float(apart.mean()):+.4f} ± {half:.4f} over users")


def interval(values: Sequence[float]) -> str:
    """Mean and half width of its 95 % interval by Student's t."""
    if len(values) < 2:
        return f"{np.mean(values):+.4f} (one seed: no interval)" if values else "no pair"
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values))
    return f"{np.mean(values):+.4f} ± {half:.4f}"


def folder_of(variant: str, setting: str, seed: int) -> str:
    """Name of a run's folder."""
    words = f"{variant} {setting} seed {seed}"
    return "".join(letter if letter.isalnum() or letter in "-._" else "-" for letter in words)


def save(results: Sequence[Result], path: Path | None) -> None:
    """Write results as JSON."""
    write_result([asdict(result) for result in results], path)
