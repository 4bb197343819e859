import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from libs.training.checkpoint import newest_checkpoint, publish_checkpoint, read_checkpoint
from libs.training.run import CheckpointError

ROOT = Path(__file__).parents[3]
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def test_what_is_read_is_what_was_published(tmp_path: Path) -> None:
    state = {"weights": {"a": torch.randn(3, 4)}, "step": 12, "names": ["x", "y"], "none": None}
    written = publish_checkpoint(tmp_path, 12, state)
    read = read_checkpoint(written.path, written.digest)
    assert torch.equal(read["weights"]["a"], state["weights"]["a"])
    assert {key: read[key] for key in ("step", "names", "none")} == {"step": 12, "names": ["x", "y"], "none": None}
    assert written.size_bytes == written.path.stat().st_size
    assert newest_checkpoint(tmp_path) == written.path


@given(state=st.dictionaries(st.text(max_size=5), plain, max_size=4))
def test_any_plain_state_survives(state: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> None:
    written = publish_checkpoint(tmp_path_factory.mktemp("plain"), 1, state)
    assert read_checkpoint(written.path) == state


def test_newest_two_are_kept_in_order_of_steps(tmp_path: Path) -> None:
    for step in (5, 10, 200, 1000):
        publish_checkpoint(tmp_path, step, {"step": step})
    steps = sorted(read_checkpoint(path)["step"] for path in tmp_path.iterdir())
    assert steps == [200, 1000]
    newest = newest_checkpoint(tmp_path)
    assert newest is not None
    assert read_checkpoint(newest)["step"] == 1000


@pytest.mark.parametrize("state", [{"a": object()}, {"a": [{"b": {1, 2}}]}, {"a": (Path("x"),)}])
def test_what_could_not_be_read_back_is_refused_at_once(state: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="state\\['a'\\]"):
        publish_checkpoint(tmp_path, 1, state)
    assert list(tmp_path.iterdir()) == []


def test_one_changed_byte_is_noticed(tmp_path: Path) -> None:
    path = publish_checkpoint(tmp_path, 3, {"weights": torch.zeros(1000)}).path
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        read_checkpoint(path)


def test_a_wrong_digest_is_noticed_under_any_name(tmp_path: Path) -> None:
    path = publish_checkpoint(tmp_path, 3, {"step": 3}).path.rename(tmp_path / "fetched")
    with pytest.raises(CheckpointError, match="damaged"):
        read_checkpoint(path, "0" * 64)


def test_a_pickle_with_code_is_not_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path}/exploded",)

    foreign = tmp_path / "foreign"
    torch.save({"bomb": Bomb()}, foreign)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_checkpoint(foreign)
    assert not (tmp_path / "exploded").exists()


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_checkpoint(tmp_path / "step-0000000001-0000000000000000.ckpt")


def test_no_room_to_write_leaves_the_old_one_valid(tmp_path: Path) -> None:
    """The kernel refuses the write half-way (a file size limit, as a full disk would), in a process of its own."""
    before = publish_checkpoint(tmp_path, 1, {"weights": torch.ones(10)})
    program = """
        import resource, sys
        from pathlib import Path
        import torch
        from libs.training.checkpoint import publish_checkpoint
        from libs.training.run import CheckpointError

        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        try:
            publish_checkpoint(Path(sys.argv[1]), 2, {"weights": torch.ones(1_000_000)})
        except CheckpointError as error:
            print(error)
    """
    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert "step 2 could not be written (File too large)" in finished.stdout
    assert f"{before.path.name} stays valid" in finished.stdout
    assert list(tmp_path.iterdir()) == [before.path]
    assert read_checkpoint(before.path, before.digest)["weights"].sum() == 10
