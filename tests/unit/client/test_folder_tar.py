"""A folder as a tar that is never on disk: the same bytes from any offset, readable by any tar."""

import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.client.errors import LocalFileError
from libs.client.folder_tar import FolderTar

NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60).filter(
    lambda name: not name.startswith(".") and len(name.encode()) < 200
)


def fill(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=st.dictionaries(NAMES, st.binary(max_size=1500), min_size=1, max_size=4), cut=st.floats(0, 1))
def test_any_tar_reader_gets_the_files_back_and_any_offset_gives_the_rest(tmp_path_factory, files, cut):
    folder = fill(tmp_path_factory.mktemp("source"), files)
    archive = FolderTar(folder)
    whole = b"".join(archive.read(0, block_bytes=100))
    assert len(whole) == archive.size_bytes
    with tarfile.open(fileobj=io.BytesIO(whole)) as opened:
        assert {member.name: opened.extractfile(member).read() for member in opened} == files
    offset = int(cut * len(whole))
    assert b"".join(FolderTar(folder).read(offset)) == whole[offset:]


def test_hidden_files_links_and_times_do_not_matter(tmp_path):
    folder = fill(tmp_path / "a", {"cats/1.png": b"one", ".cache/x": b"no", "cats/.DS_Store": b"no"})
    (folder / "cats" / "link.png").symlink_to(folder / "cats" / "1.png")
    other = fill(tmp_path / "b", {"cats/1.png": b"one"})
    assert b"".join(FolderTar(folder).read(0)) == b"".join(FolderTar(other).read(0))
    assert len(FolderTar(folder)) == 1


def test_an_empty_folder_and_a_file_that_shrinks_are_refused(tmp_path):
    with pytest.raises(LocalFileError, match="no files"):
        FolderTar(tmp_path)
    archive = FolderTar(fill(tmp_path, {"a.png": b"0123456789"}))
    (tmp_path / "a.png").write_bytes(b"0")
    with pytest.raises(LocalFileError, match=r"a\.png became shorter while it was sent"):
        b"".join(archive.read(0))
