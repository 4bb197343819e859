"""What a loaded recommender can be asked. Every function may be called from any thread."""

from collections.abc import Sequence

import numpy as np

from libs.serving.errors import RequestError
from libs.serving.recommendation.answers import answer, fall_back, nothing_to_go_by, ranked_items, wanted
from libs.serving.recommendation.candidates import (
    Exclusions,
    Ranked,
    best,
    best_by_model,
    blocked_by,
    exclusions,
)
from libs.serving.recommendation.encoder import History
from libs.serving.recommendation.model import LoadedRecommender
from libs.serving.recommendation.ranking import Floats, top_k
from libs.serving.recommendation.request import (
    MOST_CANDIDATES,
    MOST_EVENTS,
    Alike,
    Filters,
    RankedItem,
    RecommendationRequest,
    Recommendations,
    check_count,
    check_k,
)


def recommend(
    model: LoadedRecommender, request: RecommendationRequest, features: Floats | None = None
) -> Recommendations:
    """Answer one request.

    Args:
        features: after the history, [1, d], where a session's state knows them already.

    Raises:
        RequestError: a filter is wrong, or `fallback` is "error" and no item of the history that the
            model reads had events in training.
        ServingError: the model's numbers are not finite.
    """
    history = model.catalogue.known(request.history)
    if not _is_usable(model, history):
        return fall_back(model, request, history)
    excluded = exclusions(model, request, history)
    if features is None:
        features = model.encoder.features([history], [model.user(request.user_id)])
    (ranked,) = best_by_model(model, features, [(excluded, wanted(request))])
    return answer(model, request, history, ranked, "model")


def recommend_many(
    model: LoadedRecommender, requests: Sequence[RecommendationRequest]
) -> list[Recommendations | RequestError]:
    """Answer requests together: encoded in batches of about equal length, scored by blocked matrix products.

    Returns:
        By request its answer, or what is wrong with it, as `recommend` raises it.

    Raises:
        ServingError: as `recommend`.
    """
    histories = [model.catalogue.known(request.history) for request in requests]
    answers: list[Recommendations | RequestError | None] = [None] * len(requests)
    encoded: list[tuple[int, Exclusions]] = []
    for place, (request, history) in enumerate(zip(requests, histories, strict=True)):
        try:
            if _is_usable(model, history):
                encoded.append((place, exclusions(model, request, history)))
            else:
                answers[place] = fall_back(model, request, history)
        except RequestError as error:
            answers[place] = error
    if encoded:
        users = [model.user(requests[place].user_id) for place, _ in encoded]
        features = model.encoder.features([histories[place] for place, _ in encoded], users)
        asked = [(excluded, wanted(requests[place])) for place, excluded in encoded]
        for (place, _), ranked in zip(encoded, best_by_model(model, features, asked), strict=True):
            answers[place] = answer(model, requests[place], histories[place], ranked, "model")
    return [found for found in answers if found is not None]


def similar(model: LoadedRecommender, item_id: str, k: int = 10, filters: Filters | None = None) -> Alike:
    """The items most like one, best first; the item itself is none of them.

    By the cosine of their vectors; by features where the item had no events in training, which leave its vector as it
    was begun, and features tell of it: then items that are like it in nothing are none of them.

    Raises:
        RequestError: the item or a feature is unknown, or `k` is not 1 to 200.
    """
    check_k(k)
    if model.likeness.newest([item_id]) is not None:
        found = best(model.likeness.scores(item_id), Exclusions([], blocked_by(model, filters)), k)
        alike = found.scores > 0
        return Alike(ranked_items(model, Ranked(found.numbers[alike], found.scores[alike])), "features")
    number = model.catalogue.number(item_id, "/item_id")
    excluded = Exclusions([number], blocked_by(model, filters))
    return Alike(ranked_items(model, best(model.vectors.cosines(number), excluded, k)), "vectors")


def score(
    model: LoadedRecommender,
    history: Sequence[str],
    candidates: Sequence[str],
    user_id: str | None = None,
    features: Floats | None = None,
) -> tuple[RankedItem, ...]:
    """The known ones of some candidates, ranked by the model after a history; what was seen is no less a candidate.

    Args:
        features: as of `recommend`.

    Raises:
        RequestError: too many events or candidates, or no item of the history had events in training.
        ServingError: the model's numbers are not finite.
    """
    check_count("/history", len(history), MOST_EVENTS)
    check_count("/candidates", len(candidates), MOST_CANDIDATES)
    events = model.catalogue.known(history)
    if not _is_usable(model, events):
        raise nothing_to_go_by(
            history, events, "ask for recommendations, which fall back on likeness by features, or on what is popular"
        )
    if features is None:
        features = model.encoder.features([events], [model.user(user_id)])
    numbers = np.unique(np.array(model.catalogue.known(candidates), np.int64))
    scores: Floats = model.vectors.table[numbers] @ features[0]
    places = top_k(scores, len(numbers)) if len(numbers) else numbers
    return ranked_items(model, Ranked(numbers[places], scores[places]))


def _is_usable(model: LoadedRecommender, history: History) -> bool:
    """Whether the model learnt anything about an item of what it would read."""
    counts = model.catalogue.training_count
    return any(counts[number] for number in history[-model.bundle.max_length :])
