"""Inspecting many files in several processes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from libs.data.duplicates import equal_groups, similar_across_splits
from libs.data.images import inspect as module
from libs.data.images.fingerprint import difference_hash, nearly_equal
from libs.data.images.inspect import Inspection, inspect_file, inspect_files

PIXELS = 10_000


def picture(path: Path, seed: int) -> Path:
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (9, 11, 3), np.uint8)).save(path)
    return path


def test_several_processes_give_what_one_gives_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [picture(tmp_path / f"{number}.png", number) for number in range(30)]
    files[7].write_bytes(b"broken")
    expected = [inspect_file(file, PIXELS) for file in files]
    monkeypatch.setattr(module, "_PARALLEL_FROM_FILES", 10)
    monkeypatch.setattr(module, "_CHUNK_FILES", 4)
    assert list(inspect_files(files, PIXELS)) == expected
    assert [number for number, look in enumerate(expected) if isinstance(look, str)] == [7]


PROGRAM = """
import sys
from pathlib import Path
from libs.data.images.inspect import inspect_files
if __name__ == "__main__":
    looks = inspect_files([Path(sys.argv[1])] * 5000, 10_000)
    next(looks)
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_no_process_stays_when_the_validation_is_killed(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, str(tmp_path / "program.py"), str(picture(tmp_path / "x.png", 0))]
    repository = Path(__file__).parents[3]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"PYTHONPATH": str(repository)}
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"ready\n"
        children = psutil.Process(program.pid).children(recursive=True)
        assert children
        program.kill()
        _, alive = psutil.wait_procs(children, timeout=60)
        for process in alive:
            process.kill()
        assert not alive


def test_a_file_with_more_bytes_than_its_pixels_could_need_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "sparse.png"
    with file.open("wb") as stream:
        stream.truncate(1 << 40)
    look = inspect_file(file, PIXELS)
    assert isinstance(look, str)
    assert "it was not read" in look


def test_pillows_warnings_become_notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60)  # 99 pixels: more than once, less than twice the limit
    look = inspect_file(picture(tmp_path / "x.png", 0), PIXELS)
    assert isinstance(look, Inspection)
    assert any("decompression bomb" in note for note in look.notes)


def test_fingerprints_find_recompressed_copies_and_not_others() -> None:
    rng = np.random.default_rng(0)
    originals = [
        Image.fromarray(rng.integers(0, 256, (7, 7, 3), np.uint8)).resize((80, 80), Image.Resampling.BICUBIC)
        for _ in range(200)
    ]
    copies = [image.resize((64, 64), Image.Resampling.BILINEAR) for image in originals[:50]]
    everything = [*originals, *copies]
    arrays = [np.asarray(image) for image in everything]
    found = similar_across_splits(
        np.array([difference_hash(image) for image in everything], dtype=np.uint64),
        np.array([0] * 200 + [2] * 50, dtype=np.int8),
        [str(number) for number in range(250)],
        lambda left, right: nearly_equal(arrays[left], arrays[right]),
    )
    assert found.complete
    expected = {(number, 200 + number) for number in range(50)}
    assert set(found.pairs) <= expected
    assert len(found.pairs) >= 45


def test_blank_pictures_are_not_called_copies() -> None:
    blank = np.full((8, 8, 1), 255, np.uint8)
    assert not nearly_equal(blank, blank)


def test_a_crowd_of_equal_fingerprints_costs_little_and_is_said() -> None:
    count = 20_000
    asked = 0

    def same(left: int, right: int) -> bool:
        nonlocal asked
        asked += 1
        return False

    found = similar_across_splits(
        np.zeros(count, np.uint64), np.arange(count, dtype=np.int8) % 2, [str(i) for i in range(count)], same
    )
    assert not found.complete
    assert asked <= 5_000


def test_equal_groups() -> None:
    assert equal_groups(["a", "b", "a", "c", "b", "a"]) == [[0, 2, 5], [1, 4]]
