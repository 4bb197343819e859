"""What the engine answers, against the same in plain numpy."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.serving.errors import RequestError, ServingError
from libs.serving.recommendation import vectors
from libs.serving.recommendation.engine import recommend, recommend_many, score, similar
from libs.serving.recommendation.model import load
from libs.serving.recommendation.request import RecommendationRequest
from libs.serving.repository import RunSettings
from tests.support.recommenders import IDENTITY, encode, item_vectors, make_recommender
from tests.support.waiting import until

VECTORS = item_vectors(12, 4)
PRICES = {number: float(number) for number in range(1, 12)}
IDS = st.sampled_from([f"i{number}" for number in range(1, 13)] + ["?", ""])


def naive(history, k, exclude_seen, exclude, below=None):
    """Ids and scores of the best, by sorting every candidate."""
    known = [int(item[1:]) for item in history if item.startswith("i")]
    newest = known[-6:]
    features = encode(VECTORS, np.array([newest]), np.array([len(newest)]))[0]
    out = set(known) if exclude_seen else set()
    out |= {int(item[1:]) for item in exclude if item.startswith("i")}
    left = [n for n in range(1, 13) if n not in out and (below is None or PRICES.get(n, below) < below)]
    scores = VECTORS @ features
    left.sort(key=lambda number: (-scores[number], number))
    return [f"i{number}" for number in left[:k]], [float(scores[number]) for number in left[:k]]


def told(answer):
    return [item.id for item in answer.items], [item.score for item in answer.items]


@given(
    history=st.lists(IDS, max_size=12).filter(lambda ids: any(one.startswith("i") for one in ids)),
    k=st.integers(1, 15),
    exclude_seen=st.booleans(),
    exclude=st.lists(IDS, max_size=4),
    below=st.none() | st.integers(0, 13),
)
def test_recommendations_are_the_best_candidates(model, history, k, exclude_seen, exclude, below):
    filters = None if below is None else {"price": {"<": below}}
    asked = RecommendationRequest(history, k, exclude_seen=exclude_seen, exclude_items=exclude, filters=filters)
    answer = recommend(model, asked)
    ids, scores = naive(history, k, exclude_seen, exclude, below)
    assert told(answer)[0] == ids
    np.testing.assert_allclose(told(answer)[1], scores, atol=1e-5)
    assert [item.rank for item in answer.items] == list(range(1, len(ids) + 1))
    assert answer.strategy == "model"
    assert answer.unknown_items == sum(not one.startswith("i") for one in history)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.lists(IDS, max_size=9), st.integers(1, 12), st.sampled_from([0.0, 0.4])), max_size=8))
def test_many_are_answered_as_one_by_one(model, asked):
    requests = [RecommendationRequest(history, k, diversity=diversity) for history, k, diversity in asked]
    for together, request in zip(recommend_many(model, requests), requests, strict=True):
        alone = recommend(model, request)
        assert told(together)[0] == told(alone)[0]
        np.testing.assert_allclose(told(together)[1], told(alone)[1], atol=1e-5)
        assert (together.strategy, together.unknown_items) == (alone.strategy, alone.unknown_items)


def test_products_are_made_in_blocks(model, monkeypatch):
    requests = [RecommendationRequest([f"i{1 + i % 12}"], k=3) for i in range(9)]
    whole = recommend_many(model, requests)
    monkeypatch.setattr(vectors, "_BLOCK_BYTES", 4 * 13 * 2)
    assert [told(one)[0] for one in recommend_many(model, requests)] == [told(one)[0] for one in whole]


def test_requests_that_wait_are_multiplied_together(tmp_path, monkeypatch):
    make_recommender(tmp_path / "b")
    model = load(tmp_path / "b", IDENTITY, RunSettings(max_batch_size=4))
    busy, go_on = threading.Event(), threading.Event()
    batches: list[int] = []

    def products(features):
        batches.append(len(features))
        busy.set()
        assert go_on.wait(30)
        return features @ VECTORS.T

    monkeypatch.setattr(model.scorer, "_run", products)
    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(recommend, model, RecommendationRequest(["i1"], k=3))
        assert busy.wait(30)
        others = [pool.submit(recommend, model, RecommendationRequest([f"i{n}"], k=3)) for n in (2, 3, 4, 5)]
        until(lambda: model.scorer.waiting_rows == 4, "four requests wait", 30)
        go_on.set()
        answers = [one.result() for one in (first, *others)]
    assert batches == [1, 4]
    assert [told(answer)[0] for answer in answers] == [naive([f"i{n}"], 3, True, [])[0] for n in range(1, 6)]


def test_equal_scores_are_ranked_by_item_number(tmp_path):
    vectors = np.zeros((7, 2), np.float32)
    vectors[1:] = 1
    make_recommender(tmp_path / "b", vectors=vectors)
    answer = recommend(load(tmp_path / "b", IDENTITY, RunSettings()), RecommendationRequest(["i4"], k=4))
    assert told(answer)[0] == ["i1", "i2", "i3", "i5"]


def test_a_sessions_features_are_taken_as_they_are(model):
    request = RecommendationRequest(["i2", "i5"], k=4)
    features = model.sessions.replay([2, 5]).features
    assert told(recommend(model, request, features))[0] == told(recommend(model, request))[0]
    assert told(recommend(model, request, -features))[0] != told(recommend(model, request))[0]


def test_the_bundle_says_whether_seen_items_are_left_out(tmp_path):
    make_recommender(tmp_path / "music", exclude_seen=False)
    music = load(tmp_path / "music", IDENTITY, RunSettings())
    assert told(recommend(music, RecommendationRequest(["i8"], k=12)))[0][0] == "i8"


@pytest.mark.parametrize("history", [[], ["?"], ["?", "unheard of"]])
def test_nothing_known_is_answered_by_what_is_popular(model, history):
    answer = recommend(model, RecommendationRequest(history, k=3, filters={"price": {">": 2}}))
    assert (answer.strategy, told(answer)) == ("popular", (["i3", "i4", "i5"], [100.0, 90.0, 80.0]))
    assert answer.unknown_items == len(history)


@pytest.mark.parametrize(("history", "why"), [([], "it is empty"), (["?"], "knows none of its items")])
def test_an_error_is_answered_where_it_is_wanted_and_says_why(model, history, why):
    with pytest.raises(RequestError, match=f"no history to go by: .*{why}.*choose the fallback 'similar' or 'popular'"):
        recommend(model, RecommendationRequest(history, fallback="error"))
    with pytest.raises(RequestError, match=f"{why}.*fall back on likeness by features, or on what is popular"):
        score(model, history, ["i1"])


def test_an_error_in_a_batch_stops_no_other(model):
    wanted = RecommendationRequest([], fallback="error")
    refused, answered = recommend_many(model, [wanted, RecommendationRequest(["i1"])])
    assert isinstance(refused, RequestError)
    assert refused.problems[0].pointer == "/history"
    assert answered.strategy == "model"


@pytest.mark.parametrize(("features", "strategy"), [({}, "popular"), (None, "similar")])
def test_an_item_without_events_in_training_is_answered_without_the_model(tmp_path, features, strategy):
    make_recommender(tmp_path / "b", training_count=[*range(11, 0, -1), 0], features=features)
    model = load(tmp_path / "b", IDENTITY, RunSettings())
    assert recommend(model, RecommendationRequest(["i12"], k=2)).strategy == strategy
    assert recommend(model, RecommendationRequest(["i12", "i1"], k=2)).strategy == "model"


def test_similar_items_are_ranked_by_cosine(model):
    lengths = np.linalg.norm(VECTORS[1:], axis=1)
    cosines = VECTORS[1:] @ VECTORS[3] / (lengths * np.linalg.norm(VECTORS[3]))
    order = [f"i{place + 1}" for place in np.argsort(-cosines) if place != 2]
    found = similar(model, "i3", 20)
    assert [item.id for item in found.items] == order
    assert found.by == "vectors"
    np.testing.assert_allclose([item.score for item in found.items], np.sort(cosines)[::-1][1:], atol=1e-5)
    assert [item.id for item in similar(model, "i3", 20, {"price": {"missing": True}}).items] == ["i12"]


def test_an_unknown_item_is_answered_with_the_nearest_names(model):
    with pytest.raises(RequestError, match="Did you mean") as caught:
        similar(model, "i13", 2)
    assert caught.value.problems[0].pointer == "/item_id"


def test_candidates_are_ranked_seen_ones_too(model):
    found = score(model, ["i1", "i2"], ["i2", "?", "i9", "i2"])
    features = encode(VECTORS, np.array([[1, 2]]), np.array([2]))[0]
    expected = sorted((2, 9), key=lambda number: -float(VECTORS[number] @ features))
    assert [item.id for item in found] == [f"i{number}" for number in expected]
    assert score(model, ["i1"], ["?"]) == ()
    with pytest.raises(RequestError, match="no history to go by"):
        score(model, [], ["i1"])


def test_reasons_name_events_and_people(model):
    answer = recommend(model, RecommendationRequest(["i4", "i9", "i4"], k=12, explain="basic"))
    five = next(item for item in answer.items if item.id == "i5")
    by_event = {reason.item_id: reason for reason in five.reasons}
    assert by_event["i4"].users_together == 5
    cosine = VECTORS[4] @ VECTORS[5] / np.linalg.norm(VECTORS[4]) / np.linalg.norm(VECTORS[5])
    assert by_event["i4"].similarity == pytest.approx(float(cosine), abs=1e-5)
    assert answer.explanation is None


def test_reasons_are_ordered_by_their_strength(model):
    counts = np.array([0, *range(120, 0, -10)])
    unit = VECTORS[1:] / np.linalg.norm(VECTORS[1:], axis=1, keepdims=True)
    history = [2, 7, 11]
    answer = recommend(model, RecommendationRequest([f"i{n}" for n in history], k=12, explain="basic"))
    assert any(item.reasons for item in answer.items)
    for item in answer.items:
        number = int(item.id[1:])
        strength = {
            event: (max(event, number) if abs(event - number) == 1 else 0) / np.sqrt(counts[event] * counts[number])
            + max(0.0, float(unit[event - 1] @ unit[number - 1]))
            for event in history
        }
        expected = sorted((event for event in history if strength[event] > 1e-6), key=lambda event: -strength[event])
        assert [reason.item_id for reason in item.reasons] == [f"i{event}" for event in expected]


def test_the_model_tells_of_the_events_that_it_read(model):
    history = ["?", "i1", "i2", "i3", "i4", "i5", "i6", "i7"]
    told_by_model = recommend(model, RecommendationRequest(history, k=1, explain="full")).explanation
    assert told_by_model is not None
    assert told_by_model.history == ("i2", "i3", "i4", "i5", "i6", "i7")
    np.testing.assert_allclose(told_by_model.tensors["attention"], np.full(6, 1 / 6), atol=1e-6)


def test_a_model_that_explains_nothing_gives_reasons_alone(tmp_path):
    make_recommender(tmp_path / "b", explain=False)
    model = load(tmp_path / "b", IDENTITY, RunSettings())
    answer = recommend(model, RecommendationRequest(["i4"], k=3, explain="full"))
    assert answer.explanation is None
    assert any(item.reasons for item in answer.items)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e20])
def test_features_that_are_not_finite_are_an_error(model, monkeypatch, value):
    bad = {"features": np.full((1, 4), value, np.float32)}
    monkeypatch.setattr(model.encoder.graph, "run", lambda tensors: bad)
    with pytest.raises(ServingError, match="not finite"):
        recommend(model, RecommendationRequest(["i1"]))


@pytest.mark.parametrize(
    ("values", "pointer"),
    [
        ({"k": 0}, "/k"),
        ({"k": 10_000}, "/k"),
        ({"diversity": 1.1}, "/diversity"),
        ({"diversity": float("nan")}, "/diversity"),
        ({"history": ["i1"] * 10_001}, "/history"),
        ({"exclude_items": ["i1"] * 10_001}, "/exclude_items"),
    ],
)
def test_values_out_of_range_are_named(values, pointer):
    with pytest.raises(RequestError) as caught:
        RecommendationRequest(**{"history": ["i1"], **values})
    assert caught.value.problems[0].pointer == pointer


def test_threads_get_their_own_answers(model):
    requests = [
        RecommendationRequest([f"i{1 + i % 12}", f"i{1 + i % 5}"], k=5, filters={"price": {"<": 5 + i % 6}})
        for i in range(120)
    ]
    expected = [told(recommend(model, request)) for request in requests]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda request: told(recommend(model, request)), requests))
    assert [ids for ids, _ in found] == [ids for ids, _ in expected]
    for (_, scores), (_, wanted) in zip(found, expected, strict=True):
        np.testing.assert_allclose(scores, wanted, atol=1e-5)
