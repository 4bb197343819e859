"""What RKSA exports, against torch, and served: the engine makes the graphs' further inputs of users and tables."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import polars as pl
import pytest
import torch

from libs.data.events.dataset import EventData, open_event_data
from libs.data.events.relations import COUNTS_FILE, FACTORS_FILE, USERS_FILE
from libs.models.rksa.build import build_rksa
from libs.models.rksa.config import RksaConfig
from libs.models.rksa.export import servable
from libs.models.rksa.model import RksaModel
from libs.models.sequences.export import export_next_item
from libs.models.sequences.graphs import Servable
from libs.serving.bundle import Lineage, NextItemBundle, TensorSpec, write_bundle
from libs.serving.errors import LoadError
from libs.serving.folder import read_next_item_bundle
from libs.serving.recommendation.engine import recommend, recommend_many, score
from libs.serving.recommendation.model import LoadedRecommender, load
from libs.serving.recommendation.relations import read_relations
from libs.serving.recommendation.request import RecommendationRequest
from libs.serving.repository import RunSettings
from tests.support.events import events_folder, walks
from tests.support.recommenders import IDENTITY

ITEMS, LENGTH = 9, 6
SMALL = {"width": 8, "blocks": 1, "rank": 3, "cooccurrence_rank": 4, "max_length": LENGTH, "exclude_seen": False}


@dataclass(frozen=True)
class Exported:
    model: RksaModel
    events: EventData
    folder: Path
    bundle: NextItemBundle
    servable: Servable


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> EventData:
    return open_event_data(events_folder(tmp_path_factory.mktemp("events"), walks(users=30, items=ITEMS)))


def exported(folder: Path, events: EventData, *, explained: bool = True, **changes: Any) -> Exported:
    """An untrained model whose users, spreads and shapes differ, as a bundle."""
    torch.manual_seed(0)
    model = build_rksa(RksaConfig.model_validate({**SMALL, **changes}), events.events, seed=1)
    assert isinstance(model, RksaModel)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "users" in name or "of_user" in name or "attention.s" in name:
                parameter.normal_(std=0.5)
    model.eval()
    made = servable(model, pl.Series("id", events.users.all_ids()), LENGTH)
    if not explained:
        made = replace(made, explain=None, explanations=())
    bundle = export_next_item(
        model,
        folder,
        events,
        architecture="rksa",
        max_length=LENGTH,
        exclude_seen=False,
        lineage=Lineage(method="rksa"),
        metrics={},
        servable_of=lambda _: made,
    )
    return Exported(model, events, folder, bundle, made)


@pytest.fixture(scope="module")
def low_rank(events: EventData, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return exported(tmp_path_factory.mktemp("low-rank"), events)


@pytest.fixture(scope="module")
def served(low_rank: Exported) -> LoadedRecommender:
    return load(low_rank.folder, IDENTITY, RunSettings())


def history(events: EventData, user_id: str, count: int = LENGTH) -> list[str]:
    number = events.users.all_ids().index(user_id)
    begin = events.events.offsets[number]
    ids = ["", *events.items.all_ids()]
    return [ids[item] for item in events.events.items[begin : begin + count]]


def in_torch(exported: Exported, items: list[str], user: int) -> torch.Tensor:
    """Features after a history, by the model itself."""
    numbers = [exported.events.items.all_ids().index(item) + 1 for item in items]
    with torch.no_grad():
        made = exported.model.encode(
            torch.tensor([numbers]), torch.tensor([len(numbers)]), torch.tensor([user], dtype=torch.int64)
        )
    return made.features[0, -1]


@pytest.mark.parametrize("user_id", ["u3", "u17", "somebody else", None])
def test_the_user_who_asks_is_read(low_rank: Exported, served: LoadedRecommender, user_id: str | None) -> None:
    items = history(low_rank.events, "u3", 5)
    ids = low_rank.events.users.all_ids()
    user = ids.index(user_id) + 1 if user_id in ids else 0
    wanted = (low_rank.model.item_vectors[1:] @ in_torch(low_rank, items, user)).detach()
    answer = recommend(served, RecommendationRequest(items, k=ITEMS, user_id=user_id))
    assert answer.strategy == "model"
    scores = {item.id: item.score for item in answer.items}
    found = torch.tensor([scores[item] for item in low_rank.events.items.all_ids()])
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    ranked = score(served, items, ["i1", "i2"], user_id)
    assert {one.id: pytest.approx(one.score, abs=1e-5) for one in ranked} == {
        name: scores[name] for name in ("i1", "i2")
    }


def test_users_differ_and_batches_are_as_one_by_one(low_rank: Exported, served: LoadedRecommender) -> None:
    requests = [
        RecommendationRequest(history(low_rank.events, "u3", length), k=ITEMS, user_id=user_id)
        for length in (5, 2, 1, 4)
        for user_id in ("u3", None, "u9")
    ]
    together = recommend_many(served, requests)
    for request, found in zip(requests, together, strict=True):
        alone = recommend(served, request)
        assert [one.id for one in found.items] == [one.id for one in alone.items]
        np.testing.assert_allclose([a.score for a in found.items], [a.score for a in alone.items], atol=1e-5)
    scores = [{item.id: item.score for item in answer.items} for answer in together[:3]]
    assert abs(scores[0]["i1"] - scores[1]["i1"]) > 1e-4
    assert abs(scores[0]["i1"] - scores[2]["i1"]) > 1e-4


def test_explanations_are_those_of_torch(low_rank: Exported) -> None:
    """explain.onnx at every length, with rows of their own lengths."""
    session = onnxruntime.InferenceSession(low_rank.folder / "explain.onnx", providers=["CPUExecutionProvider"])
    random = np.random.default_rng(1)
    for longest in range(1, LENGTH + 1):
        lengths = np.array([longest, 1, (longest + 1) // 2], np.int64)
        items = random.integers(1, ITEMS + 1, (3, longest))
        items = np.where(np.arange(longest) < lengths[:, None], items, 0)
        inputs = low_rank.servable.inputs_of(items, lengths, np.array([3, 0, 9]))
        found = session.run(None, inputs)
        assert low_rank.servable.explain is not None
        with torch.inference_mode():
            wanted = low_rank.servable.explain(**{name: torch.from_numpy(part) for name, part in inputs.items()})
        assert len(found) == len(wanted) == len(low_rank.bundle.explanations)
        for spec, theirs, ours in zip(low_rank.bundle.explanations, found, wanted, strict=True):
            np.testing.assert_allclose(theirs, ours.numpy(), atol=1e-5, err_msg=spec.name)


def test_an_explained_answer_tells_what_the_model_read(low_rank: Exported, served: LoadedRecommender) -> None:
    items = history(low_rank.events, "u3", 4)
    answer = recommend(served, RecommendationRequest(items, k=3, explain="full", user_id="u3"))
    assert answer.explanation is not None
    told = answer.explanation.tensors
    lifts = {"lift_cooccurrence", "lift_item", "lift_user", "lift_own"}
    assert set(told) == {"attention", "spread", "skew_lift", "mixture"} | lifts
    assert list(answer.explanation.history) == items
    assert {name: told[name].shape for name in ("attention", "mixture")} == {"attention": (4,), "mixture": (3,)}
    assert told["attention"].sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(sum(told[name] for name in lifts), told["skew_lift"], atol=1e-5)
    of_nobody = recommend(served, RecommendationRequest(items, k=3, explain="full")).explanation
    assert of_nobody is not None
    assert np.abs(of_nobody.tensors["mixture"] - told["mixture"]).max() > 1e-3


def test_reasons_count_the_users_who_had_both(low_rank: Exported, served: LoadedRecommender) -> None:
    sets = training_sets(low_rank.events)
    answer = recommend(served, RecommendationRequest(history(low_rank.events, "u3", 4), k=ITEMS, explain="basic"))
    reasons = [(item.id, reason) for item in answer.items for reason in item.reasons]
    assert reasons
    for item, reason in reasons:
        assert reason.users_together == sum({item, reason.item_id} <= had for had in sets)


def training_sets(events: EventData) -> list[set[str]]:
    ids, store = ["", *events.items.all_ids()], events.events
    return [
        {ids[item] for item in store.items[begin:end]}
        for begin, end in zip(store.offsets[:-1], store.ends[:, 0], strict=True)
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"form": "dense"},
        {"relations": ("item",), "mixture": "fixed"},
        {"samples": 3, "relations": ("item",), "places": "last"},
    ],
)
def test_other_forms_are_served(changes: Mapping[str, Any], events: EventData, tmp_path: Path) -> None:
    made = exported(tmp_path / "bundle", events, explained=False, **changes)
    assert made.bundle.parity is not None
    assert made.bundle.parity.passed
    assert made.model.tables.factors.shape[2] == 0
    model = load(made.folder, IDENTITY, RunSettings())
    items = history(events, "u5", 5)
    answer = recommend(model, RecommendationRequest(items, k=ITEMS, user_id="u5"))
    wanted = (made.model.item_vectors[1:] @ in_torch(made, items, 1 + events.users.all_ids().index("u5"))).detach()
    found = {item.id: item.score for item in answer.items}
    np.testing.assert_allclose([found[item] for item in events.items.all_ids()], wanted.numpy(), atol=1e-4)


def bent(low_rank: Exported, folder: Path, **changes: Any) -> Path:
    """A copy of the bundle, to be changed."""
    folder.mkdir()
    for file in low_rank.folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    write_bundle(folder, read_next_item_bundle(low_rank.folder).model_copy(update=changes))
    return folder


@pytest.mark.parametrize("file", [COUNTS_FILE, FACTORS_FILE, USERS_FILE])
@pytest.mark.parametrize("content", [None, b"noise"])
def test_damaged_tables_are_refused(low_rank: Exported, tmp_path: Path, file: str, content: bytes | None) -> None:
    folder = bent(low_rank, tmp_path / "bundle")
    (folder / file).unlink() if content is None else (folder / file).write_bytes(content)
    write_bundle(folder, low_rank.bundle)
    with pytest.raises(LoadError, match="tables of items that go together cannot be read"):
        load(folder, IDENTITY, RunSettings())


@pytest.mark.parametrize(
    ("shape", "words"), [((5, ITEMS + 2, 4), "do not fit to counts"), ((5, ITEMS + 1, 3), "have 3 columns")]
)
def test_other_factors_are_refused(low_rank: Exported, tmp_path: Path, shape: tuple[int, ...], words: str) -> None:
    folder = bent(low_rank, tmp_path / "bundle")
    np.save(folder / FACTORS_FILE, np.zeros(shape, np.float32))
    write_bundle(folder, low_rank.bundle)
    with pytest.raises(LoadError, match=words):
        load(folder, IDENTITY, RunSettings())


def test_other_counts_than_the_models_show_in_the_probe(low_rank: Exported, tmp_path: Path) -> None:
    folder = bent(low_rank, tmp_path / "bundle")
    factors = np.load(folder / FACTORS_FILE)
    np.save(folder / FACTORS_FILE, factors[:, ::-1])  # of other items
    write_bundle(folder, low_rank.bundle)
    with pytest.raises(LoadError, match="the loaded model and the recorded sample differ"):
        load(folder, IDENTITY, RunSettings())


def test_an_input_that_nobody_makes_is_refused(low_rank: Exported, tmp_path: Path) -> None:
    weather = TensorSpec(name="weather", datatype="FP32", shape=[-1])
    folder = bent(low_rank, tmp_path / "bundle", inputs=[*low_rank.bundle.inputs, weather])
    with pytest.raises(LoadError, match=r"model\.onnx has the inputs"):
        load(folder, IDENTITY, RunSettings())
    with pytest.raises(LoadError, match="takes weather, which this version of Octavo cannot make"):
        read_relations(folder, read_next_item_bundle(folder))
