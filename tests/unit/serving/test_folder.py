"""Bundle folders are proved before they are used."""

import json
from pathlib import Path

import pytest

from libs.serving.errors import LoadError
from libs.serving.folder import read_bundle
from tests.support.bundles import make_bundle


def test_a_bundle_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = make_bundle(tmp_path)
    assert read_bundle(tmp_path) == written
    assert set(written.files) == {"model.onnx", "model.safetensors", "recipe.json"}


def test_a_changed_missing_or_added_file_is_noticed(tmp_path: Path) -> None:
    make_bundle(tmp_path)
    recipe = (tmp_path / "recipe.json").read_bytes()
    (tmp_path / "recipe.json").write_bytes(recipe + b" ")
    with pytest.raises(LoadError, match=r"recipe\.json is not what the bundle recorded"):
        read_bundle(tmp_path)
    (tmp_path / "recipe.json").unlink()
    with pytest.raises(LoadError, match=r"differ in recipe\.json"):
        read_bundle(tmp_path)
    (tmp_path / "recipe.json").write_bytes(recipe)
    (tmp_path / "extra.bin").write_bytes(b"x")
    with pytest.raises(LoadError, match=r"differ in extra\.bin"):
        read_bundle(tmp_path)


def test_what_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"bundle\.json cannot be read"):
        read_bundle(tmp_path)
    make_bundle(tmp_path)
    file = tmp_path / "bundle.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "temperature": 0}))
    with pytest.raises(LoadError, match="temperature"):
        read_bundle(tmp_path)
    content["files"].pop("model.onnx")
    file.write_text(json.dumps(content))
    with pytest.raises(LoadError, match=r"lists no model\.onnx"):
        read_bundle(tmp_path)
