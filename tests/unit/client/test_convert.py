"""PyTorch files become safetensors on the user's machine; what would run a program is refused."""

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from libs.client.cli.convert import convert
from libs.client.errors import LocalFileError

STATE = {"conv.weight": torch.arange(6.0).reshape(2, 3).T, "bn.count": torch.tensor(7)}


class Bomb:
    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (self.place,))


@pytest.mark.parametrize(
    "wrapped",
    [
        STATE,
        {"state_dict": STATE, "epoch": 3},
        {"model": {"module.conv.weight": STATE["conv.weight"], "bn.count": STATE["bn.count"]}},
    ],
    ids=["plain", "wrapped", "data-parallel"],
)
def test_weights_arrive_under_their_names(tmp_path: Path, wrapped: dict[str, object]):
    torch.save(wrapped, tmp_path / "w.pth")
    convert(tmp_path / "w.pth", tmp_path / "w.safetensors")
    found = load_file(tmp_path / "w.safetensors")
    assert found.keys() == STATE.keys()
    assert all(torch.equal(found[name], STATE[name]) for name in STATE)


def test_shared_tensors_are_written_apart(tmp_path: Path):
    torch.save({"a": STATE["conv.weight"], "b": STATE["conv.weight"]}, tmp_path / "w.pth")
    convert(tmp_path / "w.pth", tmp_path / "w.safetensors")
    assert set(load_file(tmp_path / "w.safetensors")) == {"a", "b"}


def test_weights_in_an_odd_pickle_are_refused_in_our_own_words(tmp_path: Path):
    (tmp_path / "w.pth").write_bytes(pickle.dumps({"a": 1}, protocol=0))
    with pytest.raises(LocalFileError, match="nothing in it was run") as caught:
        convert(tmp_path / "w.pth", tmp_path / "w.safetensors")
    assert "weights_only" not in str(caught.value)


def test_a_pickled_program_is_refused_and_not_run(tmp_path: Path):
    (tmp_path / "w.pth").write_bytes(pickle.dumps({"a": Bomb(tmp_path / "ran")}))
    with pytest.raises(LocalFileError, match="holds more than weights"):
        convert(tmp_path / "w.pth", tmp_path / "w.safetensors")
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "w.safetensors").exists()


@pytest.mark.parametrize(
    "content", [[1, 2], {}, {"epoch": 3}, torch.zeros(2)], ids=["list", "empty", "no tensor", "tensor"]
)
def test_a_file_without_named_tensors_is_refused(tmp_path: Path, content: object):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(LocalFileError, match="holds no named tensors"):
        convert(tmp_path / "w.pth", tmp_path / "w.safetensors")


def test_an_existing_file_is_kept_unless_forced(tmp_path: Path):
    torch.save(STATE, tmp_path / "w.pth")
    (tmp_path / "w.safetensors").write_text("mine")
    with pytest.raises(LocalFileError, match="--force"):
        convert(tmp_path / "w.pth", tmp_path / "w.safetensors")
    assert (tmp_path / "w.safetensors").read_text() == "mine"
    convert(tmp_path / "w.pth", tmp_path / "w.safetensors", force=True)
    assert len(load_file(tmp_path / "w.safetensors")) == 2


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(LocalFileError, match=r"nothing\.pth cannot be read: No such file"):
        convert(tmp_path / "nothing.pth", tmp_path / "w.safetensors")
