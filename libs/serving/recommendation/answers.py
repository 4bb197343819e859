"""From candidates to an answer: diversity, reasons, what the model tells, and who answers where the model cannot."""

import numpy as np

from libs.serving.errors import InputProblem, RequestError
from libs.serving.recommendation.candidates import Ranked, best, exclusions
from libs.serving.recommendation.diversity import diversify, pool_size
from libs.serving.recommendation.encoder import History
from libs.serving.recommendation.model import LoadedRecommender
from libs.serving.recommendation.reasons import reasons
from libs.serving.recommendation.request import (
    Explanation,
    RankedItem,
    Reason,
    RecommendationRequest,
    Recommendations,
    Strategy,
)


def wanted(request: RecommendationRequest) -> int:
    """How many candidates an answer is chosen from."""
    return pool_size(request.k) if request.diversity > 0 else request.k


def answer(
    model: LoadedRecommender, request: RecommendationRequest, history: History, ranked: Ranked, strategy: Strategy
) -> Recommendations:
    """The answer that `wanted(request)` ranked candidates give."""
    if request.diversity > 0:
        vectors = model.vectors.unit(ranked.numbers)
        places = diversify(ranked.scores, vectors, request.k, request.diversity)
        ranked = Ranked(ranked.numbers[places], ranked.scores[places])
    newest = history[-model.bundle.max_length :]
    why: list[tuple[Reason, ...]] = [()] * len(ranked.numbers)
    if request.explain != "none" and newest:
        why = reasons(model, newest, ranked.numbers)
    return Recommendations(
        strategy=strategy,
        items=ranked_items(model, ranked, why),
        unknown_items=len(request.history) - len(history),
        explanation=_explanation(model, request, newest) if strategy == "model" else None,
    )


def fall_back(model: LoadedRecommender, request: RecommendationRequest, history: History) -> Recommendations:
    """The answer without the model: what is popular.

    Raises:
        RequestError: `fallback` is "error", or a filter is wrong.
    """
    if request.fallback == "error":
        known = f"{len(history)} of its {len(request.history)} items are known, none had events in training"
        message = f"the model has nothing to go by: {known}. Choose the fallback 'popular'."
        raise RequestError(InputProblem("/history", message))
    excluded = exclusions(model, request, history)
    ranked = best(model.catalogue.training_count.astype(np.float32), excluded, wanted(request))
    return answer(model, request, history, ranked, "popular")


def ranked_items(
    model: LoadedRecommender, ranked: Ranked, why: list[tuple[Reason, ...]] | None = None
) -> tuple[RankedItem, ...]:
    """Ranked numbers as items."""
    identify = model.catalogue.id
    return tuple(
        RankedItem(identify(number), score, rank, why[rank - 1] if why else ())
        for rank, (number, score) in enumerate(
            zip(ranked.numbers.tolist(), ranked.scores.tolist(), strict=True), start=1
        )
    )


def _explanation(model: LoadedRecommender, request: RecommendationRequest, newest: History) -> Explanation | None:
    if model.explainer is None or request.explain != "full":
        return None
    tensors = model.explainer.run(model.encoder.inputs([newest], [model.user(request.user_id)]))
    return Explanation(
        tuple(model.catalogue.id(number) for number in newest), {name: tensor[0] for name, tensor in tensors.items()}
    )
