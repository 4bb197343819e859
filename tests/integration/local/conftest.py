"""Folders that a server of another account can reach: pytest's own `tmp_path` is closed to others."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def open_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="octavo-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)
