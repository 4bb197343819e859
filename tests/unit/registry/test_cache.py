import os
import subprocess
import sys
from pathlib import Path

import pytest

from libs.registry.artifacts import ArtifactNotFound, ArtifactStore, StoredFolder
from libs.registry.cache import FolderCache


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore((tmp_path / "store").as_uri())


@pytest.fixture
def cache(tmp_path: Path, store: ArtifactStore) -> FolderCache:
    return FolderCache(tmp_path / "cache", store, limit_bytes=250)


def stored(store: ArtifactStore, tmp_path: Path, name: str, size_bytes: int = 100) -> StoredFolder:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "data").write_bytes(name.encode() * (size_bytes // len(name)))
    return store.put_folder(folder)


def test_a_second_fetch_needs_no_store(cache: FolderCache, store: ArtifactStore, tmp_path: Path) -> None:
    one = stored(store, tmp_path, "one")
    first = cache.fetch(one.digest, one.uri)
    store.delete(one.uri)
    assert cache.fetch(one.digest, one.uri) == first
    assert cache.holds(one.digest)


def test_a_damaged_copy_is_replaced(cache: FolderCache, store: ArtifactStore, tmp_path: Path) -> None:
    one = stored(store, tmp_path, "one", 99)
    file = cache.fetch(one.digest, one.uri) / "data"
    before = file.stat()
    file.write_bytes(b"x" * before.st_size)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # same size, same times

    assert (cache.fetch(one.digest, one.uri) / "data").read_bytes() == b"one" * 33


def test_a_damaged_copy_without_a_store_is_not_used(cache: FolderCache, store: ArtifactStore, tmp_path: Path) -> None:
    one = stored(store, tmp_path, "one")
    (cache.fetch(one.digest, one.uri) / "data").write_bytes(b"")
    store.delete(one.uri)
    assert not cache.holds(one.digest)
    with pytest.raises(ArtifactNotFound):
        cache.fetch(one.digest, one.uri)


def test_a_touched_file_with_the_same_content_is_kept(cache: FolderCache, store: ArtifactStore, tmp_path: Path) -> None:
    one = stored(store, tmp_path, "one")
    folder = cache.fetch(one.digest, one.uri)
    os.utime(folder / "data")
    store.delete(one.uri)
    assert cache.fetch(one.digest, one.uri) == folder


def test_the_least_recently_used_goes_first(cache: FolderCache, store: ArtifactStore, tmp_path: Path) -> None:
    one, two, three = (stored(store, tmp_path, name) for name in ("one", "two", "three"))
    for each in (one, two, one, three):
        cache.fetch(each.digest, each.uri)
    assert [cache.holds(each.digest) for each in (one, two, three)] == [True, False, True]
    assert cache.size_bytes() <= 250


@pytest.mark.timeout(30)
def test_what_is_derived_from_a_folder_counts_and_goes_with_it(
    cache: FolderCache, store: ArtifactStore, tmp_path: Path
) -> None:
    one, two = (stored(store, tmp_path, name) for name in ("one", "two"))
    before = cache.fetch(one.digest, one.uri).parent / f"{one.digest}.0123.ann"
    before.write_bytes(b"x" * 20)
    with cache.lease(two.digest, two.uri) as folder:
        assert cache.size_bytes() == one.size_bytes + two.size_bytes + 20
        assert cache.holds(one.digest), "all within the limit"
        index = folder.with_name(f"{two.digest}.4567.ann")
        index.write_bytes(b"x" * 60)
        cache.evict(keep=two.digest)
        assert not cache.holds(one.digest)
        assert (before.exists(), index.exists()) == (False, True)
        assert cache.size_bytes() == two.size_bytes + 60


def test_any_number_may_lease_one_folder_at_once(cache: FolderCache, store: ArtifactStore, tmp_path: Path) -> None:
    one = stored(store, tmp_path, "one")
    with cache.lease(one.digest, one.uri) as first, cache.lease(one.digest, one.uri) as second:
        assert first == second == cache.fetch(one.digest, one.uri)
        assert cache.holds(one.digest)


def test_a_leased_folder_is_not_evicted(cache: FolderCache, store: ArtifactStore, tmp_path: Path) -> None:
    one, two, three = (stored(store, tmp_path, name) for name in ("one", "two", "three"))
    with cache.lease(one.digest, one.uri) as folder:
        cache.fetch(two.digest, two.uri)
        cache.fetch(three.digest, three.uri)
        assert (folder / "data").is_file()
    assert not (cache.folder / two.digest).exists()


def test_processes_share_a_cache(cache: FolderCache, store: ArtifactStore, tmp_path: Path) -> None:
    one = stored(store, tmp_path, "one")
    program = (
        "import sys; from pathlib import Path\n"
        "from libs.registry.artifacts import ArtifactStore\n"
        "from libs.registry.cache import FolderCache\n"
        "cache = FolderCache(Path(sys.argv[1]), ArtifactStore(sys.argv[2]))\n"
        "print(len((cache.fetch(sys.argv[3], sys.argv[4]) / 'data').read_bytes()))\n"
    )
    command = [sys.executable, "-c", program, str(cache.folder), store.root_url, one.digest, one.uri]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate()[0].strip() for process in processes] == ["99"] * 3
    left = {path.name for path in cache.folder.iterdir()}
    assert left == {one.digest, f"{one.digest}.json", f"{one.digest}.lock", f"{one.digest}.fill"}


def test_a_digest_cannot_be_a_path(cache: FolderCache) -> None:
    with pytest.raises(OSError, match="not a SHA-256"):
        cache.fetch("../../etc", "file:///x")


def test_a_copy_damaged_while_it_is_leased_is_replaced(
    cache: FolderCache, store: ArtifactStore, tmp_path: Path
) -> None:
    one = stored(store, tmp_path, "one", 99)
    with cache.lease(one.digest, one.uri) as folder:
        (folder / "data").write_bytes(b"damaged")
        with cache.lease(one.digest, one.uri) as again:
            assert (again / "data").read_bytes() == b"one" * 33


def test_a_failed_fetch_leaves_the_cache_usable(cache: FolderCache, store: ArtifactStore, tmp_path: Path) -> None:
    one = stored(store, tmp_path, "one")
    with pytest.raises(ArtifactNotFound):
        cache.fetch(one.digest, f"{store.root_url}/nothing")
    assert (cache.fetch(one.digest, one.uri) / "data").is_file()
    assert not list(cache.folder.glob(".incoming-*"))


def test_a_fetch_that_is_not_wanted_any_more_leaves_nothing(
    cache: FolderCache, store: ArtifactStore, tmp_path: Path
) -> None:
    one = stored(store, tmp_path, "one")

    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError), cache.lease(one.digest, one.uri, stop):
        pass
    assert not cache.holds(one.digest)
    assert not list(cache.folder.glob(".incoming-*"))
    assert cache.fetch(one.digest, one.uri).is_dir()


def test_what_a_killed_process_left_is_swept(cache: FolderCache, store: ArtifactStore) -> None:
    old, young = cache.folder / ".incoming-old", cache.folder / ".incoming-young"
    for left in (old, young):
        left.mkdir()
    os.utime(old, (0, 0))
    FolderCache(cache.folder, store)
    assert (old.exists(), young.exists()) == (False, True)
