"""New items by their features, each likeness reckoned by hand."""

import math
import tracemalloc
from collections import Counter

import numpy as np
import polars as pl
import pytest

from libs.data.manifest import ItemFeature
from libs.serving.errors import RequestError
from libs.serving.recommendation.engine import recommend, recommend_many, similar
from libs.serving.recommendation.likeness import Likeness
from libs.serving.recommendation.model import LoadedRecommender, load
from libs.serving.recommendation.request import RecommendationRequest
from libs.serving.repository import RunSettings
from tests.support.recommenders import IDENTITY, make_recommender

GENRES = ["drama", "comedy|crime", "crime", None, "crime|noir", None, "crime"]
COUNTS = [50, 40, 30, 20, 0, 0, 10]


def weight(having, of):
    """Of a word that so many of the items with events have."""
    return round(math.log(1 + of / (1 + having)) * 1024) / 1024


NOIR, COMEDY, CRIME = (weight(having, 5) for having in (0, 1, 3))  # drama as comedy
SHARED_BY_I3, SHARED_BY_I2 = CRIME / (CRIME + NOIR), CRIME / (CRIME + NOIR + COMEDY)  # with i5

A = D = weight(1, 4)
B, C = weight(3, 4), weight(2, 4)
ALL = 3 * A + C  # the lion is in two titles, the other words in one
LONG = " ".join(map(str, range(40)))


def compared(kind, known, new, **wanted):
    """Likeness of items 1, 2, … to the new item "n" by one feature."""
    dtype = pl.Float64 if kind == "number" else pl.String
    features = [ItemFeature(name="f", type=kind)]
    frame = pl.DataFrame({"f": pl.Series(known, dtype=dtype)})
    of_new = pl.DataFrame({"id": ["n"], "f": pl.Series([new], dtype=dtype)})
    counts = np.array([0, *range(len(known), 0, -1)])
    return Likeness(features, frame, counts, of_new, **wanted)


@pytest.mark.parametrize(
    ("new", "known", "expected"),
    [
        # of 0 to 20 the quantiles are 1 and 19, the spread 18
        (10.0, [*map(float, range(21)), None], [max(0, 1 - abs(10 - one) / 18) for one in range(21)] + [0]),
        (40.0, [*map(float, range(21))], [0] * 21),
        (5.0, [5.0] * 20 + [9.0], [1] * 20 + [0]),  # the quantiles are one: the range, 4
        (7.0, [7.0, 7.0, None], [1, 1, 0]),
        (7.4, [7.0, 7.0], [0, 0]),
        (1.0, [None, None], [0, 0]),
        (1.0, [1.0, 1e308, -1e308, float("inf")], [1, 1 - 1 / 1.8, 1 - 1 / 1.8, 0]),
        # far beyond the others nothing is alike but what is equal
        (1e10, [*[1.0, 1.1, 1.2] * 20, 1e9, 1e12, 1e10], [0] * 62 + [1]),
        (1e308, [*[1.0, 1.1, 1.2] * 20, 9e307, 1e308], [0] * 61 + [1]),
        (2.0**24, [*[0.0, 1.0] * 20, 2.0**24 + 0.5], [0] * 40 + [1 / 2]),
    ],
)
def test_numbers_are_alike_by_their_difference(new, known, expected):
    scores = compared("number", known, new).scores("n")
    assert scores[0] == -np.inf
    np.testing.assert_allclose(scores[1:], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "new", "known", "expected"),
    [
        ("category", "red", ["red", "Red", "red | blue", "blue", None, ""], [1, 0, 1 / 2, 0, 0, 0]),
        ("category", "a| b|a", ["a|b", "b|c", "b|c|d", "a b"], [1, B / (A + B + C), B / (A + B + C + D), 0]),
        (
            "text",
            "The Lion King (1994)",
            ["Lion", "the KING, the lion!", "1994", "?"],
            [C / ALL, (C + 2 * A) / ALL, A / ALL, 0],
        ),
        ("text", "Übergang", ["übergang", "Uber"], [1, 0]),
        ("text", LONG, [LONG, "39", "31"], [1, 0, weight(2, 3) / (weight(2, 3) + 31 * weight(1, 3))]),
    ],
)
def test_words_are_alike_by_what_both_have(kind, new, known, expected):
    np.testing.assert_allclose(compared(kind, known, new).scores("n")[1:], expected, atol=1e-6)


@pytest.mark.parametrize(("kind", "value"), [("text", "?!"), ("text", None), ("category", "|"), ("number", None)])
def test_nothing_is_told_of_an_item_without_values(kind, value):
    assert compared(kind, [None, value], value).newest(["n"]) is None


def test_equal_sets_are_equally_like_in_whatever_order_they_stand():
    parts = [f"p{n}" for n in range(20)]
    known = ["|".join(parts), "|".join(reversed(parts)), *("|".join(parts[n:]) for n in range(1, 20))]
    scores = compared("category", known, "|".join([*parts[::2], "q"])).scores("n")
    assert scores[1] == scores[2]
    assert compared("category", known, "|".join(parts[::-1])).scores("n")[1] == 1


def test_long_catalogues_are_coded_in_parts(monkeypatch):
    monkeypatch.setattr("libs.serving.recommendation.word_codes._ROWS_AT_A_TIME", 2)
    scores = compared("category", ["a", "b", "a|b", None, "c|a"], "a|c").scores("n")
    a, b, c = weight(3, 5), weight(2, 5), weight(1, 5)
    np.testing.assert_allclose(scores[1:], [a / (a + c), 0, a / (a + b + c), 0, 1], atol=1e-6)


def by_definition(known, new):
    """The likeness of sets of words as it is written down, for every new one of every known one."""
    having = Counter(word for one in known for word in one)
    of = {word: weight(having[word], len(known)) for word in {*having, *(word for one in new for word in one)}}
    return [
        [sum(of[word] for word in one & other) / sum(of[word] for word in one | other) for other in known]
        for one in new
    ]


@pytest.mark.parametrize("kind", ["category", "text"])
@pytest.mark.parametrize("seed", range(5))
def test_any_catalogue_is_coded_as_likeness_is_defined(monkeypatch, kind, seed):
    monkeypatch.setattr("libs.serving.recommendation.word_codes._ROWS_AT_A_TIME", 7)
    random = np.random.default_rng(seed)
    sets = [{f"w{word}" for word in random.zipf(1.6, random.integers(0, 6)) % 40} for _ in range(60)]
    texts = [("|" if kind == "category" else " ").join(sorted(one)) or None for one in sets]
    events = np.where(random.random(40) < 0.2, 0, 1)  # some of the first 40 are no candidates
    new = pl.DataFrame({"id": [f"n{number}" for number in range(20)], "f": pl.Series(texts[40:], dtype=pl.String)})
    frame = pl.DataFrame({"f": pl.Series(texts[:40], dtype=pl.String)})
    likeness = Likeness([ItemFeature(name="f", type=kind)], frame, np.array([0, *events]), new)
    expected = np.full((20, 41), -np.inf)
    told = [number for number, one in enumerate(sets[40:]) if one]
    known = [one for one, met in zip(sets, events, strict=False) if met]
    expected[np.ix_(told, np.flatnonzero(events) + 1)] = by_definition(known, [sets[40 + number] for number in told])
    assert [likeness.newest([one]) is not None for one in new["id"]] == [bool(one) for one in sets[40:]]
    for number in told:
        np.testing.assert_allclose(likeness.scores(f"n{number}"), expected[number], atol=1e-6)


def test_words_that_no_new_item_has_are_not_all_in_memory_together(monkeypatch):
    monkeypatch.setattr("libs.serving.recommendation.word_codes._ROWS_AT_A_TIME", 256)
    items, words = 8_192, 30
    texts = [" ".join(f"w{(number * 7 + place) % 1000}" for place in range(words)) for number in range(items)]
    frame = pl.DataFrame({"f": texts})
    new = pl.DataFrame({"id": ["n"], "f": ["w1 w2"]})
    tracemalloc.start()
    likeness = Likeness([ItemFeature(name="f", type="text")], frame, np.array([0, *[1] * items]), new)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert likeness.scores("n").max() > 0
    assert peak < items * words * 8 / 2, "the hashes of all words would be twice this"


def test_features_that_take_too_much_memory_are_left_out():
    columns = {"title": ["a b", "c"], "price": [1.0, 2.0]}
    features = [ItemFeature(name="title", type="text"), ItemFeature(name="price", type="number")]
    new = pl.DataFrame({"id": ["n", "m"], "title": ["c", "c"], "price": [1.0, None]})
    counts = np.array([0, 2, 1])
    both = Likeness(features, pl.DataFrame(columns), counts, new)
    assert both.newest(["m"]) == "m"
    exact = Likeness(features, pl.DataFrame(columns), counts, new, most_bytes=both.nbytes)
    assert exact.by_feature("n", np.array([1, 2])) == [{"price": 1.0}, {"title": 1.0}]
    likeness = Likeness(features, pl.DataFrame(columns), counts, new, most_bytes=both.nbytes - 1)
    assert likeness.by_feature("n", np.array([1, 2])) == [{"price": 1.0}, {}]
    assert likeness.newest(["m"]) is None
    none = Likeness(features, pl.DataFrame(columns), counts, new, most_bytes=16)
    assert none.newest(["n"]) is None


@pytest.mark.parametrize(("known", "new"), [(["a b", "c"], "a"), (["a"], "a b c")])
def test_a_feature_of_too_many_different_words_is_left_out(monkeypatch, known, new):
    monkeypatch.setattr("libs.serving.recommendation.word_codes.MOST_DIFFERENT", 2)
    assert compared("text", known, new).newest(["n"]) is None
    monkeypatch.setattr("libs.serving.recommendation.word_codes.MOST_DIFFERENT", 3)
    assert compared("text", known, new).newest(["n"]) == "n"


def loaded(folder, **wanted) -> LoadedRecommender:
    make_recommender(folder, items=7, **{"features": {"category": GENRES}, "training_count": COUNTS, **wanted})
    return load(folder, IDENTITY, RunSettings())


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> LoadedRecommender:
    """Seven films, of which i5 and i6 had no events in training, and i6 has no genre."""
    return loaded(tmp_path_factory.mktemp("films"))


BEST = [("i3", round(SHARED_BY_I3, 4)), ("i7", round(SHARED_BY_I3, 4)), ("i2", round(SHARED_BY_I2, 4))]


def told(answer):
    return [(item.id, round(item.score, 4)) for item in answer.items]


def test_items_like_the_newest_that_is_described_answer(films):
    # i3 and i7 share one of two genres: i3 had more events. i1 and i4 are like it in nothing and come last.
    expected = [*BEST, ("i1", 0.0), ("i4", 0.0)]
    for history in (["i5"], ["?", "i5", "i6", "??"]):
        answer = recommend(films, RecommendationRequest(history))
        assert (answer.strategy, told(answer)) == ("similar", expected)
        assert answer.unknown_items == history.count("?") + history.count("??")
        assert all(item.reasons == () for item in answer.items)
    assert recommend(films, RecommendationRequest(["i5", "i4"])).strategy == "model"


def test_what_is_ruled_out_is_no_answer(films):
    wanted = {"filters": {"category": {"missing": False}}, "exclude_items": ["i7"], "k": 2}
    assert told(recommend(films, RecommendationRequest(["i5"], **wanted))) == [BEST[0], BEST[2]]
    wanted = {"filters": {"category": {"in": ["drama"]}}, "exclude_seen": False}
    answer = recommend(films, RecommendationRequest(["i5"], **wanted))
    assert (answer.strategy, told(answer)) == ("popular", [("i1", 50.0)]), "nothing that is allowed is like it"
    with pytest.raises(RequestError, match="colour"):
        recommend(films, RecommendationRequest(["i5"], filters={"colour": {"in": ["red"]}}))


def test_a_seen_item_is_left_out_as_anywhere(tmp_path):
    model = loaded(tmp_path / "short", max_length=3)
    history = ["i3", "i6", "i6", "i5"]  # the model reads the newest three, which had no events in training
    assert told(recommend(model, RecommendationRequest(history, k=1))) == [BEST[1]]
    assert told(recommend(model, RecommendationRequest(history, k=1, exclude_seen=False))) == [BEST[0]]


def test_diversity_chooses_among_the_alike(films):
    answer = recommend(films, RecommendationRequest(["i5"], k=3, diversity=0.9))
    assert (answer.strategy, answer.items[0].id, len(answer.items)) == ("similar", "i3", 3)


@pytest.mark.parametrize("history", [["i6"], ["?"], []])
def test_what_is_popular_answers_where_nothing_is_described(films, history):
    answer = recommend(films, RecommendationRequest(history, k=2))
    assert (answer.strategy, told(answer)) == ("popular", [("i1", 50.0), ("i2", 40.0)])


def test_another_fallback_is_taken_as_asked(films):
    popular, refused, alike = recommend_many(
        films, [RecommendationRequest(["i5"], fallback=one) for one in ("popular", "error", "similar")]
    )
    assert (popular.strategy, alike.strategy) == ("popular", "similar")
    assert isinstance(refused, RequestError)


@pytest.mark.parametrize("explain", ["basic", "full"])
def test_an_answer_says_what_it_is_like_and_in_what(tmp_path, explain):
    prices = [1.0, 2.0, 3.0, None, 3.0, None, None]  # quantiles of 1, 2, 3: 1.1 and 2.9
    model = loaded(tmp_path / "priced", features={"category": GENRES, "price": prices})
    answer = recommend(model, RecommendationRequest(["i5"], explain=explain))
    reasons = {item.id: item.reasons for item in answer.items}
    (why,) = reasons["i2"]
    assert (why.item_id, why.users_together) == ("i5", 0)
    assert why.features == pytest.approx({"category": SHARED_BY_I2, "price": 1 - 1 / 1.8})
    assert why.similarity == pytest.approx((SHARED_BY_I2 + 1 - 1 / 1.8) / 2)
    assert reasons["i3"][0].features == pytest.approx({"price": 1.0, "category": SHARED_BY_I3})
    assert reasons["i7"][0].features == pytest.approx({"category": SHARED_BY_I3})
    assert reasons["i1"] == reasons["i4"] == ()
    assert answer.explanation is None


def test_items_that_the_model_does_not_know_may_be_described(tmp_path):
    described = {"id": ["n1", "n2", "i1"], "category": ["drama|comedy", None, "crime"]}
    model = loaded(tmp_path / "described", new_items=described)
    like_i2 = round(COMEDY / (2 * COMEDY + CRIME), 4)
    answer = recommend(model, RecommendationRequest(["n1", "n2"], k=2, explain="basic"))
    assert (answer.strategy, answer.unknown_items, told(answer)) == ("similar", 2, [("i1", 0.5), ("i2", like_i2)])
    assert answer.items[0].reasons[0].item_id == "n1"
    assert (similar(model, "n1", 1).by, similar(model, "i1", 1).by) == ("features", "vectors")
    with pytest.raises(RequestError, match="no item 'n2' is known"):
        similar(model, "n2")


def test_items_like_a_new_one_are_found_by_features(films):
    found = similar(films, "i5", 10, {"category": {"missing": False}})
    assert (found.by, told(found)) == ("features", BEST)
    assert similar(films, "i6").by == similar(films, "i3").by == "vectors"
