import hashlib
import subprocess
from pathlib import Path

import pytest

from libs.registry.digests import file_digest, folder_content, folder_digest


def test_a_folder_digest_is_that_of_sha256sum(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.txt").write_bytes(b"two")
    (tmp_path / "sub" / "a.txt").write_bytes(b"one")

    listing = subprocess.run(["sha256sum", "b.txt", "sub/a.txt"], cwd=tmp_path, capture_output=True, check=True).stdout

    assert folder_content(tmp_path).digest == hashlib.sha256(listing).hexdigest()


def test_names_and_contents_both_count() -> None:
    digests = {folder_digest(files) for files in ({"a": "1"}, {"b": "1"}, {"a": "2"}, {"a": "1", "b": "1"})}
    assert len(digests) == 4


def test_a_file_has_digest_and_size(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 3_000_000)
    assert file_digest(tmp_path / "f") == (hashlib.sha256(b"x" * 3_000_000).hexdigest(), 3_000_000)


def test_links_and_empty_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="holds no files"):
        folder_content(tmp_path)
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="link or a device"):
        folder_content(tmp_path)
