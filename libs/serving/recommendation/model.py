"""A version of a next-item model, ready to recommend."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from libs.serving.bundle import MODEL_FILE, NextItemBundle, TensorSpec
from libs.serving.combiner import Combiner
from libs.serving.errors import LoadError
from libs.serving.folder import read_next_item_bundle
from libs.serving.recommendation.catalogue import Catalogue, read_catalogue, read_new_items
from libs.serving.recommendation.encoder import Encoder, Graph
from libs.serving.recommendation.filters import ItemFilters
from libs.serving.recommendation.likeness import Likeness, likeness_of
from libs.serving.recommendation.neighbours import Neighbours, read_neighbours
from libs.serving.recommendation.probe import probe
from libs.serving.recommendation.ranking import Floats
from libs.serving.recommendation.relations import Relations, read_relations
from libs.serving.recommendation.session_state import STEP_FILE, SessionStates
from libs.serving.recommendation.vectors import ItemVectors, read_vectors
from libs.serving.repository import Identity, RunSettings
from libs.serving.watching import Watched

if TYPE_CHECKING:
    from libs.serving.recommendation.ann import ItemIndex

ANN_ABOVE_ITEMS = 200_000
"""Catalogues above this are served by an index unless the service says otherwise: here exact products cost a request
as much as all else of it, and seven times the index (docs/benchmarks.md)."""

EXPLAIN_FILE = "explain.onnx"


@dataclass(frozen=True, slots=True)
class LoadedRecommender:
    """One version; everything of it may be used from any thread.

    Attributes:
        identity: what it is.
        bundle: its bundle.
        settings: how it is run.
        likeness: of items by their features, for those that no training event tells of.
        relations: what its graphs take besides histories is made of; None: they take nothing else.
        sessions: states of live sessions; None: the bundle has no step.onnx.
        explainer: None: the bundle has no explain.onnx.
        scorer: multiplies the features of requests that wait at the same time together, so that the vectors pass
            through the processor once for all of them.
        index: None: the catalogue is small enough for exact products.
    """

    identity: Identity
    bundle: NextItemBundle
    settings: RunSettings
    catalogue: Catalogue
    vectors: ItemVectors
    neighbours: Neighbours
    filters: ItemFilters
    likeness: Likeness
    encoder: Encoder
    relations: Relations | None
    sessions: SessionStates | None
    explainer: Graph | None
    scorer: Combiner
    index: "ItemIndex | None"

    @property
    def providers(self) -> list[str]:
        """What its encoder runs on."""
        return self.encoder.graph.providers

    def user(self, user_id: str | None) -> int:
        """Number of a training user; 0 for anybody else, and where the model reads histories alone."""
        return 0 if self.relations is None or user_id is None else self.relations.users.get(user_id, 0)

    def scores(self, features: Floats) -> Floats:
        """Scores of every item, [I + 1], for the features of one request, [1, d].

        Raises:
            Overloaded: too many requests wait.
            DeadlineExceeded: it waited too long.
        """
        scores: Floats = self.scorer.compute(features, self.settings.timeout_s)
        return scores

    @property
    def queue(self) -> Watched:
        """Where its requests wait."""
        return self.scorer

    def close(self) -> None:
        """Nothing to end: memory goes with the last reference."""


def load(
    folder: Path, identity: Identity, settings: RunSettings, ann_above_items: int = ANN_ABOVE_ITEMS
) -> LoadedRecommender:
    """Load a bundle and probe it.

    Args:
        ann_above_items: larger catalogues are searched by an index, which is built when there is none yet.

    Raises:
        LoadError: the bundle is damaged, the provider is absent, or the probe shows other numbers than were recorded.
    """
    bundle = read_next_item_bundle(folder)
    graph = _graph(folder, MODEL_FILE, _names(bundle.inputs), ["features"], settings)
    relations = read_relations(folder, bundle)
    encoder = Encoder(graph, bundle.width, bundle.max_length, settings.max_batch_size, relations)
    sessions = _sessions(folder, bundle, identity, settings)
    explainer = _explainer(folder, bundle, settings)
    catalogue = read_catalogue(folder, bundle)
    vectors = read_vectors(folder, bundle)
    neighbours = read_neighbours(folder, bundle)
    probe(folder, bundle, encoder, sessions, explainer)
    return LoadedRecommender(
        identity=identity,
        bundle=bundle,
        settings=settings,
        catalogue=catalogue,
        vectors=vectors,
        neighbours=neighbours,
        filters=ItemFilters(catalogue.features, bundle.item_features),
        likeness=likeness_of(catalogue, bundle.item_features, read_new_items(folder, bundle)),
        encoder=encoder,
        relations=relations,
        sessions=sessions,
        explainer=explainer,
        scorer=_scorer(vectors, settings),
        index=_index(folder, bundle, vectors) if bundle.items > ann_above_items else None,
    )


def _index(folder: Path, bundle: NextItemBundle, vectors: ItemVectors) -> "ItemIndex":
    from libs.serving.recommendation.ann import open_index  # faiss is loaded only by those who need it

    return open_index(folder, bundle, vectors.table)


def _scorer(vectors: ItemVectors, settings: RunSettings) -> Combiner:
    return Combiner(
        vectors.products,
        max_rows=min(settings.max_batch_size, vectors.rows_at_once()),
        max_delay_s=settings.max_delay_s,
        queue_limit_rows=settings.queue_limit_rows,
    )


def _names(specs: Sequence[TensorSpec]) -> list[str]:
    return [spec.name for spec in specs]


def _graph(folder: Path, file: str, inputs: list[str], outputs: list[str], settings: RunSettings) -> Graph:
    return Graph(folder / file, inputs, outputs, settings.provider, settings.threads)


def _sessions(folder: Path, bundle: NextItemBundle, identity: Identity, settings: RunSettings) -> SessionStates | None:
    if not _optional(folder, STEP_FILE, is_wanted=bool(bundle.state)):
        return None
    state = _names(bundle.state)
    outputs = ["features", *(f"next_{name}" for name in state)]
    return SessionStates(_graph(folder, STEP_FILE, ["item", *state], outputs, settings), bundle, identity.digest)


def _explainer(folder: Path, bundle: NextItemBundle, settings: RunSettings) -> Graph | None:
    if not _optional(folder, EXPLAIN_FILE, is_wanted=bool(bundle.explanations)):
        return None
    return _graph(folder, EXPLAIN_FILE, _names(bundle.inputs), _names(bundle.explanations), settings)


def _optional(folder: Path, file: str, *, is_wanted: bool) -> bool:
    """Whether an optional graph is there; the bundle and the folder must agree."""
    if (folder / file).is_file() != is_wanted:
        raise LoadError(
            f"bundle.json {'describes' if is_wanted else 'does not describe'} {file}, and the folder differs"
        )
    return is_wanted
