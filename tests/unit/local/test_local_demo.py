"""The demo asks about a picture that the model has not seen."""

import zipfile
from pathlib import Path

import numpy as np

from services.local.demo import write_zip


def test_the_first_picture_is_of_the_test_split(tmp_path: Path):
    write_zip(np.zeros((10, 8, 8), np.uint8), range(10), tmp_path / "d.zip")
    names = zipfile.ZipFile(tmp_path / "d.zip").namelist()
    assert names[:2] == ["test/0/0000.png", "train/1/0001.png"]
    assert sum(name.startswith("test/") for name in names) == 2
