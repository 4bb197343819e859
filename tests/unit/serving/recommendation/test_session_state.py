"""Live sessions: the same features as from the whole history, and bytes that only their own version reads."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.serving.errors import LoadError
from libs.serving.recommendation.model import load
from libs.serving.recommendation.session_state import SessionStates, StateUnusable
from libs.serving.repository import RunSettings
from tests.support.recommenders import IDENTITY, make_recommender


@given(items=st.lists(st.integers(1, 12), min_size=1, max_size=6))
def test_steps_give_the_features_of_the_whole_history(model, items):
    state = model.sessions.start()
    for place, item in enumerate(items, 1):
        state = model.sessions.from_bytes(model.sessions.to_bytes(model.sessions.advance(state, item)))
        np.testing.assert_allclose(state.features, model.encoder.features([items[:place]]), atol=1e-6)
    assert state.events == len(items)


def test_bytes_keep_every_tensor(model):
    state = model.sessions.replay([3, 1, 2])
    again = model.sessions.from_bytes(model.sessions.to_bytes(state))
    assert again.events == 3
    for one, other in zip(state.tensors, again.tensors, strict=True):
        np.testing.assert_array_equal(one, other)
    assert again.tensors[2].tolist() == [[3, 1, 2]]


def test_a_session_without_events_has_no_features(model):
    again = model.sessions.from_bytes(model.sessions.to_bytes(model.sessions.start()))
    assert (again.events, again.features) == (0, None)


def test_a_session_ends_where_the_models_reading_does(model):
    state = model.sessions.replay([1, 2, 3, 4, 5, 6])
    with pytest.raises(StateUnusable, match="all that the model reads"):
        model.sessions.advance(state, 7)


def test_another_versions_bytes_are_refused(model, tmp_path):
    make_recommender(tmp_path / "other", seed=1)
    other = load(tmp_path / "other", IDENTITY._replace(digest="b" * 64), RunSettings())
    with pytest.raises(StateUnusable, match="another model version"):
        other.sessions.from_bytes(model.sessions.to_bytes(model.sessions.replay([1])))


def damaged(content: bytes, kind: str) -> bytes:
    changed = bytearray(content)
    if kind == "magic":
        changed[0] ^= 1
    elif kind == "events":
        changed[36:40] = struct.pack("<I", 1_000_000)
    elif kind == "one event more":
        changed[36:40] = struct.pack("<I", 3)
    elif kind == "nan":
        changed[40:44] = struct.pack("<f", float("nan"))
    elif kind == "shape":
        changed[56:60] = struct.pack("<I", 2**31)
    return bytes(changed)


@pytest.mark.parametrize("kind", ["magic", "events", "one event more", "nan", "shape"])
def test_damaged_bytes_are_refused(model, kind):
    content = model.sessions.to_bytes(model.sessions.replay([1, 2]))
    with pytest.raises(StateUnusable):
        model.sessions.from_bytes(damaged(content, kind))


@given(data=st.data())
def test_cut_and_lengthened_bytes_are_refused(model, data):
    content = model.sessions.to_bytes(model.sessions.replay([1, 2]))
    cut = content[: data.draw(st.integers(0, len(content) - 1))]
    for wrong in (cut, content + b"\0"):
        with pytest.raises(StateUnusable):
            model.sessions.from_bytes(wrong)


def test_a_bundle_without_steps_has_no_sessions(tmp_path):
    make_recommender(tmp_path / "b", step=False)
    assert load(tmp_path / "b", IDENTITY, RunSettings()).sessions is None


def test_a_state_with_another_free_dimension_is_refused(model):
    spec = model.bundle.state[0]
    odd = model.bundle.model_copy(update={"state": [spec.model_copy(update={"shape": [-1, 2, -1]})]})
    with pytest.raises(LoadError, match="alone may be free"):
        SessionStates(model.encoder.graph, odd, "a" * 64)
