import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.registry.artifacts import (
    ArtifactError,
    ArtifactNotFound,
    ArtifactStore,
    DigestMismatch,
    _safe_relative,
)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore((tmp_path / "store").as_uri())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    (folder / "a").write_bytes(b"one")
    (folder / "deep" / "b").write_bytes(b"three")
    return folder


def test_a_file_is_stored_under_its_digest(store: ArtifactStore, tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"content")

    stored = store.put_file(tmp_path / "x.bin")

    assert stored.digest == hashlib.sha256(b"content").hexdigest()
    assert stored.size_bytes == 7
    assert stored.digest in stored.uri
    with store.open(stored.uri) as file:
        assert file.read() == b"content"
    assert store.put_file(tmp_path / "x.bin") == stored


def test_a_folder_comes_back_as_it_was(store: ArtifactStore, folder: Path, tmp_path: Path) -> None:
    stored = store.put_folder(folder)

    content = store.fetch_folder(stored.uri, tmp_path / "copy", stored.digest)

    assert content.digest == stored.digest
    assert stored.size_bytes == store.size_bytes(stored.uri) == 8
    assert (tmp_path / "copy" / "deep" / "b").read_bytes() == b"three"


def test_stored_folders_never_change(store: ArtifactStore, folder: Path) -> None:
    store.put_folder(folder, "jobs/1/report")
    store.put_folder(folder, "jobs/1/report")
    (folder / "a").write_bytes(b"other")
    with pytest.raises(ArtifactError, match="never change"):
        store.put_folder(folder, "jobs/1/report")


def test_storing_again_renews_the_age(store: ArtifactStore, folder: Path) -> None:
    stored = store.put_folder(folder)
    for entry in store.entries():
        os.utime(entry.uri.removeprefix("file://"), (0, 0))
    store.put_folder(folder, None)
    assert all(entry.modified_at.year > 2000 for entry in store.entries())
    assert {entry.uri for entry in store.entries()} == {f"{stored.uri}/a", f"{stored.uri}/deep/b"}


def test_damage_is_seen(store: ArtifactStore, folder: Path, tmp_path: Path) -> None:
    stored = store.put_folder(folder)
    Path(f"{stored.uri}/a".removeprefix("file://")).write_bytes(b"oNe")
    with pytest.raises(DigestMismatch, match="recorded"):
        store.fetch_folder(stored.uri, tmp_path / "copy", stored.digest)
    assert not (tmp_path / "copy").exists()
    file = store.put_file(folder / "a")
    with pytest.raises(DigestMismatch):
        store.fetch_file(file.uri, tmp_path / "a", "0" * 64)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("key", ["../x", "/etc/passwd", "a/../b", "a//b", "", ".", "a\\b", "a\x00b", "x" * 901])
def test_unsafe_keys_are_refused(store: ArtifactStore, tmp_path: Path, key: str) -> None:
    (tmp_path / "f").write_bytes(b"x")
    if key:
        with pytest.raises(ArtifactError, match="not a safe"):
            store.put_file(tmp_path / "f", key)
    with pytest.raises(ArtifactError, match="not a safe"):
        store.exists(f"{store.root_url}/{key}")


@given(st.text(max_size=50))
def test_a_safe_key_stays_below_the_root(key: str) -> None:
    try:
        relative = _safe_relative(key)
    except ArtifactError:
        return
    assert os.path.normpath(f"/root/{relative}").startswith("/root/")


def test_other_places_are_not_read(store: ArtifactStore, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x")
    for uri in ((tmp_path / "secret").as_uri(), f"{store.root_url}/../secret", "s3://bucket/x"):
        with pytest.raises(ArtifactError):
            store.open(uri)


def test_what_is_not_there(store: ArtifactStore, tmp_path: Path) -> None:
    uri = f"{store.root_url}/nothing"
    assert not store.exists(uri)
    assert store.size_bytes(uri) == 0
    store.delete(uri)
    with pytest.raises(ArtifactNotFound):
        store.open(uri)
    with pytest.raises(ArtifactNotFound):
        store.fetch_folder(uri, tmp_path / "copy")


def test_deleting(store: ArtifactStore, folder: Path) -> None:
    stored = store.put_folder(folder)
    store.delete(stored.uri)
    assert not store.exists(stored.uri)
    assert list(store.entries()) == []


def test_links_are_not_followed(store: ArtifactStore, folder: Path) -> None:
    (folder / "link").symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="link"):
        store.put_folder(folder)
    with pytest.raises(ArtifactError, match="not a plain file"):
        store.put_file(folder / "link")


def test_only_files_and_s3_are_stores() -> None:
    with pytest.raises(ArtifactError, match="file:///folder or s3://"):
        ArtifactStore("http://example.org/")
