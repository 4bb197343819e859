"""Golden cases: arrays made by the methods' published code, one .npz file a case.

A test module names its method in `METHOD` and takes the fixture `golden_case`; it then runs once per file of
`tests/golden/data/<method>`, or of `$OCTAVO_GOLDEN_DIR/<method>` (`.../<method>/public` is accepted too).
`@pytest.mark.cases("PATTERN")` takes the files whose names match.
"""

import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch


@dataclass(frozen=True)
class GoldenCase:
    """One file. None: the published code produced nothing there, no gradient for example."""

    name: str
    arrays: Mapping[str, np.ndarray | None]

    def __getitem__(self, key: str) -> np.ndarray:
        array = self.arrays[key]
        assert array is not None, f"{self.name}: {key} is empty"
        return array

    def scalar(self, key: str) -> Any:
        return self[key].item()


def case_folder(method: str) -> Path:
    root = Path(os.environ.get("OCTAVO_GOLDEN_DIR") or Path(__file__).parent / "data")
    folder = root / method
    return folder / "public" if (folder / "public").is_dir() else folder


def read_case(path: Path) -> GoldenCase:
    """Read without unpickling: an object array (a stored None) is known by its header and read as None."""
    arrays: dict[str, np.ndarray | None] = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            with archive.open(member) as stream:
                np.lib.format.read_magic(stream)
                _, _, dtype = np.lib.format.read_array_header_1_0(stream)
            with archive.open(member) as stream:
                key = member.removesuffix(".npy")
                array = None if dtype.hasobject else np.lib.format.read_array(stream, allow_pickle=False)
                arrays[key] = array
    return GoldenCase(path.stem, arrays)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "golden_case" not in metafunc.fixturenames:
        return
    method = metafunc.module.METHOD
    marker = metafunc.definition.get_closest_marker("cases")
    pattern = marker.args[0] if marker else "*"
    paths = sorted(case_folder(method).glob(f"{pattern}.npz")) or [case_folder(method) / "no-cases"]
    ids = [f"{method}-{path.stem}" for path in paths]
    metafunc.parametrize("golden_case", paths, ids=ids, indirect=True)


@pytest.fixture
def golden_case(request: pytest.FixtureRequest) -> GoldenCase:
    if not request.param.is_file():
        pytest.fail(f"no golden cases (*.npz) in {request.param.parent}")
    return read_case(request.param)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny arrays gain nothing from more threads, and lose a lot on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
