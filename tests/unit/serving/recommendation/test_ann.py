"""The index: exact scores of nearly all the best items, the exact way where it finds too few, kept on disk."""

import numpy as np
import pytest

from libs.serving.recommendation import ann
from libs.serving.recommendation.ann import ItemIndex
from libs.serving.recommendation.engine import recommend, recommend_many
from libs.serving.recommendation.model import load
from libs.serving.recommendation.request import RecommendationRequest
from libs.serving.repository import RunSettings
from tests.support.recommenders import IDENTITY, item_vectors, make_recommender

ITEMS = 2_000


def clustered(items: int) -> np.ndarray:
    generator = np.random.default_rng(0)
    centres = generator.standard_normal((40, 16), np.float32) * 2
    table = centres[generator.integers(0, 40, items + 1)] + generator.standard_normal((items + 1, 16), np.float32)
    table[0] = 0
    return table


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache") / "bundle"
    make_recommender(folder, vectors=clustered(ITEMS), features={"number": [float(i) for i in range(ITEMS)]})
    return folder


@pytest.fixture(scope="module")
def exact(folder):
    return load(folder, IDENTITY, RunSettings())


@pytest.fixture(scope="module")
def indexed(folder):
    return load(folder, IDENTITY, RunSettings(), ann_above_items=ITEMS - 1)


def test_small_catalogues_have_no_index(exact, indexed):
    assert exact.index is None
    assert indexed.index is not None


def test_nearly_all_of_the_best_are_found_with_their_exact_scores(exact, indexed):
    requests = [RecommendationRequest([f"i{1 + 7 * i}"], k=20) for i in range(100)]
    hits = 0
    for one, other in zip(recommend_many(exact, requests), recommend_many(indexed, requests), strict=True):
        best = {item.id: item.score for item in one.items}
        found = {item.id: item.score for item in other.items}
        assert len(found) == 20
        assert [item.score for item in other.items] == sorted(found.values(), reverse=True)
        for item in best.keys() & found.keys():
            assert found[item] == pytest.approx(best[item], rel=1e-5)
        hits += len(best.keys() & found.keys())
    assert hits / 2_000 >= 0.95


def test_excluded_items_are_never_answered(indexed):
    best = [item.id for item in recommend(indexed, RecommendationRequest(["i1"], k=20)).items]
    again = recommend(indexed, RecommendationRequest(["i1"], k=20, exclude_items=best))
    assert len(again.items) == 20
    assert not {item.id for item in again.items} & {*best, "i1"}


def test_a_narrow_filter_is_answered_exactly(exact, indexed):
    asked = RecommendationRequest(["i5"], k=10, filters={"number": {"<": 12}})
    assert recommend(indexed, asked) == recommend(exact, asked)


def test_the_index_is_kept_beside_the_bundle_and_replaced_when_damaged(folder, indexed, monkeypatch):
    (file,) = folder.parent.glob("bundle.*.ann")
    asked = RecommendationRequest(["i9"], k=5)
    expected = recommend(indexed, asked)
    with monkeypatch.context() as patched:
        patched.setattr(ItemIndex, "build", None)
        assert recommend(load(folder, IDENTITY, RunSettings(), ann_above_items=0), asked) == expected
    file.write_bytes(file.read_bytes()[:500])
    assert recommend(load(folder, IDENTITY, RunSettings(), ann_above_items=0), asked) == expected
    assert ItemIndex.load(file, ITEMS, 16) is not None
    assert list(folder.parent.glob(".record-*")) == []


def test_an_index_of_other_items_is_none(folder, indexed):
    (file,) = folder.parent.glob("bundle.*.ann")
    assert ItemIndex.load(file, ITEMS + 1, 16) is None
    assert ItemIndex.load(file.with_name("absent"), ITEMS, 16) is None


def test_a_handful_of_items_can_be_indexed():
    index = ItemIndex.build(item_vectors(5, 3))
    assert sorted(index.search(np.ones(3, np.float32), 4).tolist()) == [1, 2, 3, 4, 5]
    assert ann.OVER_FETCH == 4
