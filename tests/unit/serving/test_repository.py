"""Loaded models: probed before they serve, freed after their last request."""

from pathlib import Path

import numpy as np
import pytest

from libs.serving.bundle import write_bundle
from libs.serving.classifier import LoadedClassifier, load
from libs.serving.errors import LoadError, ModelNotLoaded, ServingError
from libs.serving.probe import SAMPLE_FILE
from libs.serving.repository import Identity, ModelRepository, RunSettings
from tests.support.bundles import logits, make_bundle

ZEROS = np.zeros((1, 1, 8, 8), np.float32)


def loaded(folder: Path, version: int = 1, **bundle: object) -> LoadedClassifier:
    make_bundle(folder, **bundle)
    return load(folder, Identity("shades", version, "0" * 64), RunSettings())


def answers(model: LoadedClassifier) -> bool:
    try:
        model.submit(ZEROS).result(20)
    except ServingError:
        return False
    return True


def test_a_held_model_outlives_its_replacement(tmp_path: Path) -> None:
    repository = ModelRepository()
    old, new = loaded(tmp_path / "1", 1), loaded(tmp_path / "2", 2)
    repository.switch("live", old)
    with repository.hold("live") as first, repository.hold("live") as second:
        repository.switch("live", new)
        assert first is second is old
        with repository.hold("live") as third:
            assert third is new
        assert answers(old)
    assert not answers(old)
    assert answers(new)


def test_removing_waits_for_the_last_request(tmp_path: Path) -> None:
    repository = ModelRepository()
    model = loaded(tmp_path)
    repository.switch("live", model)
    with repository.hold("live"):
        repository.remove("live")
        assert answers(model)
        assert repository.keys() == []
        with pytest.raises(ModelNotLoaded), repository.hold("live"):
            pass
    assert not answers(model)
    repository.remove("live")


def test_closing_frees_everything(tmp_path: Path) -> None:
    repository = ModelRepository()
    models = [loaded(tmp_path / str(number), number) for number in range(2)]
    for number, model in enumerate(models):
        repository.switch(number, model)
    repository.close()
    assert [answers(model) for model in models] == [False, False]


def test_a_recorded_sample_must_be_reproduced(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    rows = np.random.default_rng(0).random((3, 1, 8, 8), np.float32)
    np.savez(tmp_path / SAMPLE_FILE, input=rows, logits=logits(bundle, rows))
    write_bundle(tmp_path, bundle)
    identity = Identity("shades", 1, "0" * 64)
    load(tmp_path, identity, RunSettings()).close()
    np.savez(tmp_path / SAMPLE_FILE, input=rows, logits=logits(bundle, rows) + 0.1)
    write_bundle(tmp_path, bundle)
    with pytest.raises(LoadError, match=r"recorded sample differ by 0\.1"):
        load(tmp_path, identity, RunSettings())
    np.savez(tmp_path / SAMPLE_FILE, input=rows[:, :, :4], logits=logits(bundle, rows))
    write_bundle(tmp_path, bundle)
    with pytest.raises(LoadError, match=r"sample\.npz holds"):
        load(tmp_path, identity, RunSettings())
    (tmp_path / SAMPLE_FILE).write_bytes(b"no arrays")
    write_bundle(tmp_path, bundle)
    with pytest.raises(LoadError, match=r"sample\.npz cannot be read"):
        load(tmp_path, identity, RunSettings())


@pytest.mark.parametrize(("bias", "message"), [([np.nan, 0.0], "not finite"), ([0.0, np.inf], "not finite")])
def test_a_model_that_computes_nonsense_is_not_loaded(tmp_path: Path, bias: list[float], message: str) -> None:
    make_bundle(tmp_path, bias=bias)
    with pytest.raises(LoadError, match=message):
        load(tmp_path, Identity("shades", 1, "0" * 64), RunSettings())


def test_a_bundle_that_describes_another_graph_is_not_loaded(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    renamed = bundle.inputs[0].model_copy(update={"name": "pixels"})
    write_bundle(tmp_path, bundle.model_copy(update={"inputs": [renamed]}))
    with pytest.raises(LoadError, match="the bundle says 'pixels'"):
        load(tmp_path, Identity("shades", 1, "0" * 64), RunSettings())
    write_bundle(tmp_path, bundle.model_copy(update={"labels": ["a", "b", "c"]}))
    with pytest.raises(LoadError, match="gave an output"):
        load(tmp_path, Identity("shades", 1, "0" * 64), RunSettings())
