"""Measuring a recommender as it is served: its bundle's graph, item vectors and ids, on any data set of events.

The data set may have other items than the model. An item the model does not know is left out of histories; held out, it
counts as never found. Where no item that the model reads of a history had events in its training, its most popular
items are the answer. That is the fallback `popular` of serving, and not its default `similar`, which answers such a
history by the features of its newest described item: figures then tell of what was learnt from events, and do not
change with the descriptions of items. Methods and their measuring know nothing of the serving code that likeness is
part of.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from libs.data.errors import DataError
from libs.data.events.dataset import EventData
from libs.data.events.relations import open_tables
from libs.data.events.store import Longs
from libs.data.events.windows import SequenceBatch, Split
from libs.models.sequences.config import SequenceTrainingConfig
from libs.models.sequences.evaluation import Ranked, RankingMeasurer, Score
from libs.models.sequences.rows import rows_by_id, rows_in
from libs.serving.bundle import MODEL_FILE, NextItemBundle
from libs.training.bundles import BundleError, read_bundle
from libs.training.onnx_export import open_session
from libs.training.run import Run, Stopped

_HISTORY = ("items", "lengths")
_MOST_EVENTS = 64 * 200
"""That go through a graph at a time, about: a training's batch may be far larger than a CPU has memory for."""


class ServedRules(SequenceTrainingConfig):
    """Rules of measuring by which each held-out item is foretold from the newest events before it, as in serving."""

    @property
    def single_targets(self) -> bool:
        """A window for each target."""
        return True


@dataclass(frozen=True, slots=True)
class Served:
    """What a bundle was measured to be on a split.

    Attributes:
        ranked: ranks of held-out items the model does not know are infinite.
        unknown_targets: how many those are.
        unknown_items: items of the data set that the model does not know.
    """

    ranked: Ranked
    unknown_targets: int
    unknown_items: int


def read_next_item(folder: Path) -> NextItemBundle:
    """The description of a recommender's bundle.

    Raises:
        BundleError: the folder holds none, or a model of another task.
    """
    bundle = read_bundle(folder)
    if isinstance(bundle, NextItemBundle):
        return bundle
    raise BundleError("the model classifies pictures; one that recommends items is needed here")


def rules_of(bundle: NextItemBundle, batch_size: int = 64) -> ServedRules:
    """How a bundle says that it is to be measured.

    Args:
        batch_size: histories that go through the graph at a time.
    """
    return ServedRules(max_length=bundle.max_length, exclude_seen=bundle.exclude_seen, batch_size=batch_size)


def measure_served(folder: Path, data: EventData, split: Split, rules: SequenceTrainingConfig, run: Run) -> Served:
    """Rank every held-out item of a split by a bundle.

    Args:
        rules: which cases there are, in which order, and how they are ranked. What the bundle reads of a history does
            not depend on them: the newest events before the case, its own `max_length` at most.

    Raises:
        BundleError: it is no recommender's.
        DataError: the split holds nothing out, or the model knows none of the items.
        Stopped: the run was asked to stop.
    """
    bundle = read_next_item(folder)
    measurer = RankingMeasurer(data.events, split, rules, run.device)
    if not len(measurer.windows):
        raise DataError(f"The split {split} of the data set holds no event after another; there is nothing to measure.")
    scorer = BundleScorer(folder, bundle, data, run)
    ranked = measurer(scorer)
    unknown = scorer.unknown[ranked.targets]
    further = {ending: ranks.masked_fill(unknown, torch.inf) for ending, ranks in ranked.further.items()}
    known = replace(ranked, ranks=ranked.ranks.masked_fill(unknown, torch.inf), further=further)
    return Served(known, int(unknown.sum()), int(scorer.unknown.sum()))


class BundleScorer:
    """A bundle's graph as what is measured: of each case it reads the newest events before it, whatever the window.

    Attributes:
        unknown: items of the data set that the model does not know, [I + 1].
    """

    rows = None

    def __init__(self, folder: Path, bundle: NextItemBundle, data: EventData, run: Run) -> None:
        self._run = run
        self._events = data.events
        self._rows = rows_in(folder, data)
        self._session = open_session(folder / MODEL_FILE, threads=torch.get_num_threads())
        self._further = [spec.name for spec in bundle.inputs if spec.name not in _HISTORY]
        self._tables = open_tables(folder) if self._further else None
        self._users = _user_rows(folder, data) if self._further else np.zeros(data.manifest.users + 1, np.int64)
        self._width, self._max_length = bundle.width, bundle.max_length
        vectors = np.load(folder / "item_vectors.npy", mmap_mode="r", allow_pickle=False)
        self._vectors = torch.from_numpy(vectors[np.maximum(self._rows, 0)]).to(run.device)
        self._counts = _training_counts(folder)
        self._popular = torch.from_numpy(self._counts[np.maximum(self._rows, 0)].astype(np.float32)).to(run.device)
        self.unknown = torch.from_numpy(self._rows < 0)
        self._never = self.unknown.to(run.device)

    def begin(self, batch: SequenceBatch) -> Score:
        """Products of features and item vectors, or training counts; minus infinity for unknown items.

        Raises:
            Stopped: the run was asked to stop.
        """
        windows, places = np.nonzero(batch.targets)
        users, until = batch.users[windows], batch.starts[windows] + places + 1
        numbers = np.zeros(batch.targets.shape, np.int64)
        numbers[windows, places] = np.arange(len(windows))
        found, usable = self._read(users, until, batch.inputs.size)
        features = torch.from_numpy(found).to(self._vectors.device)

        def score(rows: Longs, places: Longs) -> Tensor:
            cases = numbers[rows, places]
            scores = features[cases] @ self._vectors.T
            scores[torch.from_numpy(~usable[cases])] = self._popular
            return scores.masked_fill_(self._never, -torch.inf)

        return score

    def _read(self, users: Longs, until: Longs, at_once: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Features [T, d] of what users had before rows of the event store, and whether that was of any use [T].

        Args:
            at_once: events that go through the graph at a time, about.
        """
        first = np.maximum(np.asarray(self._events.offsets)[users], until - self._max_length)
        size = max(1, min(at_once, _MOST_EVENTS) // int((until - first).max(initial=1)))
        features, usable = np.zeros((len(until), self._width), np.float32), np.zeros(len(until), np.bool_)
        for some in (slice(begin, begin + size) for begin in range(0, len(until), size)):
            reason = self._run.stop_reason()
            if reason is not None:
                raise Stopped(reason)
            items, lengths = _known_alone(self._histories(first[some], until[some]))
            usable[some] = np.any(self._counts[items] > 0, axis=1)
            features[some] = self._features(items, lengths, users[some], usable[some])
        return features, usable

    def _histories(self, first: Longs, until: Longs) -> Longs:
        """The bundle's items of rows [first, until) of the event store, -1 for unknown ones, right-padded with 0."""
        places = np.arange(int((until - first).max()))
        rows = np.minimum(first[:, None] + places, len(self._events.items) - 1)
        return self._rows[np.where(places < (until - first)[:, None], self._events.items[rows], 0)]

    def _features(self, items: Longs, lengths: Longs, users: Longs, usable: NDArray[np.bool_]) -> NDArray[np.float32]:
        """[T, d]; zeros where a history is not usable."""
        found = np.zeros((len(items), self._width), np.float32)
        if usable.any():
            inputs = {"items": items[usable], "lengths": lengths[usable]}
            if self._tables is not None:
                inputs |= self._tables.inputs_of(inputs["items"], self._users[users[usable] + 1], self._further)
            found[usable] = self._session.run(["features"], inputs)[0]
        return found


def _known_alone(items: Longs) -> tuple[Longs, Longs]:
    """Histories [B, n], with -1 for unknown items, without these: right-padded with 0; and their lengths [B]."""
    known = items > 0
    order = np.argsort(~known, axis=1, kind="stable")
    lengths = known.sum(1)
    closed = np.take_along_axis(np.maximum(items, 0), order, 1)[:, : max(1, int(lengths.max()))]
    return np.ascontiguousarray(closed), lengths.astype(np.int64)


def _training_counts(folder: Path) -> Longs:
    """Events in training of each of the bundle's items, [I + 1]; 0 for padding."""
    counts = pl.read_parquet(folder / "items.parquet", columns=["training_count"])["training_count"]
    return np.concatenate([[0], counts.cast(pl.Int64).to_numpy()])


def _user_rows(folder: Path, data: EventData) -> Longs:
    """Number of each of the data set's users in the bundle, counted from 1, 0 unknown; [U + 1]."""
    known = pl.read_parquet(folder / "users.parquet", columns=["id"])["id"].to_list()
    return np.maximum(rows_by_id(data.users.all_ids(), known), 0)
