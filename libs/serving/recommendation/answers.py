"""From candidates to an answer: diversity, reasons, what the model tells, and who answers where the model cannot."""

from collections.abc import Sequence

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
    model: LoadedRecommender,
    request: RecommendationRequest,
    history: History,
    ranked: Ranked,
    strategy: Strategy,
    like: str | None = None,
) -> Recommendations:
    """The answer that `wanted(request)` ranked candidates give.

    Args:
        like: of the strategy "similar": the item that they are like.
    """
    if request.diversity > 0:
        vectors = model.vectors.unit(ranked.numbers)
        places = diversify(ranked.scores, vectors, request.k, request.diversity)
        ranked = Ranked(ranked.numbers[places], ranked.scores[places])
    newest = history[-model.bundle.max_length :]
    why: list[tuple[Reason, ...]] = [()] * len(ranked.numbers)
    if request.explain != "none" and like is not None:
        why = _likeness(model, like, ranked)
    elif request.explain != "none" and newest:
        why = reasons(model, newest, ranked.numbers)
    return Recommendations(
        strategy=strategy,
        items=ranked_items(model, ranked, why),
        unknown_items=len(request.history) - len(history),
        explanation=_explanation(model, request, newest) if strategy == "model" else None,
    )


def fall_back(model: LoadedRecommender, request: RecommendationRequest, history: History) -> Recommendations:
    """The answer without the model: what is like the newest item that features tell of, or what is popular.

    Raises:
        RequestError: `fallback` is "error", or a filter is wrong.
    """
    if request.fallback == "error":
        raise nothing_to_go_by(request.history, history, "choose the fallback 'similar' or 'popular'")
    excluded = exclusions(model, request, history)
    like = model.likeness.newest(request.history) if request.fallback == "similar" else None
    if like is not None:
        ranked = best(model.likeness.scores(like), excluded, wanted(request))
        if ranked.scores.max(initial=0) > 0:
            return answer(model, request, history, ranked, "similar", like)
    ranked = best(model.catalogue.training_count.astype(np.float32), excluded, wanted(request))
    return answer(model, request, history, ranked, "popular")


def nothing_to_go_by(asked: Sequence[str], history: History, otherwise: str) -> RequestError:
    """What is wrong with a history that tells the model nothing.

    Args:
        asked: its item ids.
        history: its items that the model knows.
        otherwise: what else can be done.
    """
    if not asked:
        told = "it is empty"
    elif not history:
        told = "the model knows none of its items"
    else:
        told = "none of its items that the model reads had events in training"
    message = f"There is no history to go by: {told}. Give one with items of the model, or {otherwise}."
    return RequestError(InputProblem("/history", message))


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


def _likeness(model: LoadedRecommender, like: str, ranked: Ranked) -> list[tuple[Reason, ...]]:
    """For each item the one that it is like, and by what; nothing for those that are not like it."""
    by_feature = model.likeness.by_feature(like, ranked.numbers)
    return [
        (Reason(like, 0, score, features),) if features else ()
        for score, features in zip(ranked.scores.tolist(), by_feature, strict=True)
    ]


def _explanation(model: LoadedRecommender, request: RecommendationRequest, newest: History) -> Explanation | None:
    if model.explainer is None or request.explain != "full":
        return None
    tensors = model.explainer.run(model.encoder.inputs([newest], [model.user(request.user_id)]))
    return Explanation(
        tuple(model.catalogue.id(number) for number in newest), {name: tensor[0] for name, tensor in tensors.items()}
    )
