"""Why an item: the items of the history that speak most for it.

    strength(h, r) = users who had both / sqrt(count h · count r) + max(0, cos(h, r))

with the events in training as counts. Users who had both are in the tables of items that go together, where the model
has them, else in the neighbours, which are cut to the most frequent. The first part is what people did, the second what
the model made of it; each is about 1 for items that always go together.
"""

from collections.abc import Sequence

import numpy as np

from libs.serving.recommendation.catalogue import Numbers
from libs.serving.recommendation.model import LoadedRecommender
from libs.serving.recommendation.request import Reason

MOST_REASONS = 3


def reasons(model: LoadedRecommender, history: Sequence[int], items: Numbers) -> list[tuple[Reason, ...]]:
    """Up to three reasons for each of `items`, strongest first; equal ones with the newer event first.

    Args:
        history: item numbers, oldest first; those without positive strength are no reason.
    """
    catalogue, vectors = model.catalogue, model.vectors
    events = np.array(list(dict.fromkeys(reversed(history))), np.int64)
    cosines = np.clip(vectors.unit(items) @ vectors.unit(events).T, -1, 1)
    users = (model.relations or model.neighbours).users_together(items, events)
    counts = np.maximum(catalogue.training_count, 1)
    strength = users / np.sqrt(counts[items][:, None] * counts[events].astype(np.float64)) + np.maximum(cosines, 0)
    found = []
    for row, order in enumerate(np.argsort(-strength, axis=1, kind="stable")[:, :MOST_REASONS]):
        found.append(
            tuple(
                Reason(catalogue.id(events[place]), int(users[row, place]), float(cosines[row, place]))
                for place in order
                if strength[row, place] > 0 and events[place] != items[row]
            )
        )
    return found
