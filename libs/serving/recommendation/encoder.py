"""The graphs of a next-item model: histories to features, and to what explains them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from libs.serving.errors import LoadError, ServingError
from libs.serving.recommendation.ranking import Floats
from libs.serving.recommendation.relations import Relations
from libs.serving.session import Provider, open_session

Tensors = Mapping[str, NDArray[Any]]
History = Sequence[int]


class Graph:
    """A graph with named inputs and outputs; `run` may be called from any thread."""

    def __init__(
        self, file: Path, inputs: Sequence[str], outputs: Sequence[str], provider: Provider = "cpu", threads: int = 1
    ) -> None:
        """Load a graph.

        Raises:
            LoadError: it cannot be loaded, or its inputs and outputs have other names.
        """
        self._session = open_session(file, provider, threads)
        self._outputs = list(outputs)
        self.providers: list[str] = self._session.get_providers()
        for kind, wanted, found in (
            ("inputs", inputs, self._session.get_inputs()),
            ("outputs", outputs, self._session.get_outputs()),
        ):
            names = [tensor.name for tensor in found]
            if set(names) != set(wanted):
                raise LoadError(f"{file.name} has the {kind} {', '.join(names)}; the bundle says {', '.join(wanted)}")

    def run(self, tensors: Tensors) -> dict[str, NDArray[Any]]:
        """Outputs by name."""
        found = self._session.run(self._outputs, dict(tensors))
        return dict(zip(self._outputs, found, strict=True))


class Encoder:
    """Histories to features."""

    def __init__(
        self, graph: Graph, width: int, max_length: int, max_rows: int, relations: Relations | None = None
    ) -> None:
        self.graph = graph
        self._relations = relations
        self._width = width
        self._max_length = max_length
        self._max_rows = max_rows

    def features(self, histories: Sequence[History], users: Sequence[int] | None = None) -> Floats:
        """Features after each history, [N, d].

        Args:
            histories: item numbers, oldest first, at least one each; the newest `max_length` are read.
            users: numbers of whose they are, 0 for unknown; None: nobody is known.

        Raises:
            ServingError: the model's features are not finite.
        """
        newest = [history[-self._max_length :] for history in histories]
        owners = users if users is not None else [0] * len(newest)
        if len(newest) == 1:
            return self._run(newest, owners)
        features = np.empty((len(newest), self._width), np.float32)
        for rows in length_buckets([len(history) for history in newest], self._max_rows):
            features[rows] = self._run([newest[row] for row in rows], [owners[row] for row in rows])
        return features

    def inputs(self, histories: Sequence[History], users: Sequence[int]) -> dict[str, NDArray[Any]]:
        """What the graph takes for histories of at most `max_length` events."""
        tensors: dict[str, NDArray[Any]] = {**padded(histories)}
        if self._relations is not None:
            tensors |= self._relations.inputs_of(tensors["items"], np.array(users, np.int64))
        return tensors

    def _run(self, histories: Sequence[History], users: Sequence[int]) -> Floats:
        features: Floats = self.graph.run(self.inputs(histories, users))["features"]
        if features.shape != (len(histories), self._width):
            raise ServingError(f"{len(histories)} histories gave features {features.shape}")
        with np.errstate(over="ignore"):
            length = np.linalg.norm(features)
        # A finite length, squares within float32, keeps every product with the item vectors finite too.
        if not np.isfinite(length):
            raise ServingError("the model's features are not finite; its version is damaged, deploy another")
        return features


def padded(histories: Sequence[History]) -> dict[str, NDArray[np.int64]]:
    """Histories as inputs of a graph: `items` [N, n], right-padded with 0, and `lengths` [N]."""
    lengths = np.array([len(history) for history in histories], np.int64)
    items = np.zeros((len(histories), int(lengths.max())), np.int64)
    for row, history in enumerate(histories):
        items[row, : len(history)] = history
    return {"items": items, "lengths": lengths}


def length_buckets(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Rows in groups of at most `most`, none more than twice as long as the shortest of its group."""
    groups: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        group = groups[-1] if groups else []
        if group and len(group) < most and lengths[row] <= 2 * lengths[group[0]]:
            group.append(row)
        else:
            groups.append([row])
    return groups
