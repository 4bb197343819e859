"""The artifact store on S3, against moto's server: the same behaviour as on files."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import boto3
import pytest

from libs.registry.artifacts import (
    ArtifactError,
    ArtifactNotFound,
    ArtifactRefused,
    ArtifactStore,
    DigestMismatch,
)
from libs.registry.cache import FolderCache
from tests.support.s3 import s3_server, use_s3


@pytest.fixture(scope="module")
def s3() -> Iterator[Mapping[str, str]]:
    with s3_server() as environment:
        yield environment


@pytest.fixture
def store(s3: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> ArtifactStore:
    use_s3(s3, monkeypatch)
    client = boto3.client("s3")
    client.create_bucket(Bucket="octavo")
    for found in client.list_objects_v2(Bucket="octavo").get("Contents", []):
        client.delete_object(Bucket="octavo", Key=found["Key"])
    client.close()
    return ArtifactStore("s3://octavo/artifacts")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    (folder / "a").write_bytes(b"one")
    (folder / "deep" / "b").write_bytes(b"three")
    return folder


def test_files_and_folders_come_back(store: ArtifactStore, folder: Path, tmp_path: Path) -> None:
    file = store.put_file(folder / "a")
    assert file.uri.startswith("s3://octavo/artifacts/")
    with store.open(file.uri) as opened:
        assert opened.read() == b"one"
    stored = store.put_folder(folder)
    assert store.fetch_folder(stored.uri, tmp_path / "copy", stored.digest).digest == stored.digest
    assert store.size_bytes(stored.uri) == 8
    assert {entry.uri for entry in store.entries()} == {file.uri, f"{stored.uri}/a", f"{stored.uri}/deep/b"}
    store.delete(stored.uri)
    assert not store.exists(stored.uri)
    with pytest.raises(ArtifactNotFound):
        store.fetch_folder(stored.uri, tmp_path / "again")


def test_a_changed_object_is_not_served(store: ArtifactStore, folder: Path, tmp_path: Path) -> None:
    stored = store.put_folder(folder)
    client = boto3.client("s3")
    client.put_object(Bucket="octavo", Key=f"{stored.uri}/a".removeprefix("s3://octavo/"), Body=b"oNe")
    client.close()
    with pytest.raises(DigestMismatch):
        FolderCache(tmp_path / "cache", store).fetch(stored.digest, stored.uri)


def test_a_cached_folder_outlives_the_store(store: ArtifactStore, folder: Path, tmp_path: Path) -> None:
    stored = store.put_folder(folder)
    cache = FolderCache(tmp_path / "cache", store)
    first = cache.fetch(stored.digest, stored.uri)
    store.delete(stored.uri)
    assert cache.fetch(stored.digest, stored.uri) == first


def test_who_has_the_wrong_keys_is_refused_and_takes_nothing_for_gone(
    store: ArtifactStore, s3: Mapping[str, str], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, file = store.put_folder(folder), store.put_file(folder / "a")
    store.check()
    monkeypatch.setattr("moto.settings.INITIAL_NO_AUTH_ACTION_COUNT", 0)  # from now on it knows nobody
    store = another(s3, monkeypatch)
    for ask in (
        store.check,
        lambda: store.open(file.uri),
        lambda: store.is_file(file.uri),
        lambda: store.fetch_folder(stored.uri, tmp_path / "copy"),
        lambda: store.put_file(folder / "deep" / "b"),
    ):
        with pytest.raises(ArtifactRefused, match="the artifact store s3://octavo/artifacts refuses: "):
            ask()


def test_a_store_that_does_not_answer_has_lost_nothing(
    store: ArtifactStore, s3: Mapping[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = store.put_file(folder / "a")
    store = another({**s3, "AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_MAX_ATTEMPTS": "1"}, monkeypatch)
    for ask in (store.check, lambda: store.open(file.uri)):
        with pytest.raises(ArtifactError, match="the artifact store s3://octavo/artifacts fails: ") as raised:
            ask()
        assert not isinstance(raised.value, ArtifactNotFound | ArtifactRefused)


def test_a_bucket_that_is_not_there_is_no_refusal(store: ArtifactStore) -> None:
    with pytest.raises(ArtifactError, match="s3://nobody/x: The specified bucket does not exist"):
        ArtifactStore("s3://nobody/x").check()


def another(environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> ArtifactStore:
    """The same store over a new connection."""
    use_s3(environment, monkeypatch)
    return ArtifactStore("s3://octavo/artifacts")
