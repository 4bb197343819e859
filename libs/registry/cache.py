"""Copies of stored folders on this machine, addressed by digest.

    <cache>/<digest>/          the folder, complete or absent
    <cache>/<digest>.json      size, and what its files looked like when they were last hashed
    <cache>/<digest>.lock      flock: shared while it is filled or used, exclusive while it is evicted
    <cache>/<digest>.fill      flock: exclusive while it is fetched
    <cache>/<digest>.*.ann     what a server derived from it; counts with the folder, and goes with it

Works without the store once a folder is here, and with several processes on one cache.
"""

import fcntl
import json
import os
import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import time
from typing import IO

from libs.registry.artifacts import ArtifactError, ArtifactStore, Tick, go_on
from libs.registry.digests import FolderContent, folder_content, plain_files

_LEFT_AFTER_S = 86_400.0
_DERIVED = ".*.ann"
Source = str | Callable[[Path], FolderContent]
"""Where a folder comes from: its URI in the store, or what makes it at a path, content checked."""
Stamp = dict[str, list[int]]
"""File name → [bytes, mtime ns, ctime ns, inode]; any write changes ctime, and nobody can set it back."""


class FolderCache:
    """Least recently used folders are removed when the cache outgrows `limit_bytes`."""

    def __init__(self, folder: Path, store: ArtifactStore, limit_bytes: int = 50 * 2**30) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes
        self._store = store
        folder.mkdir(parents=True, exist_ok=True)
        self._sweep()

    def fetch(self, digest: str, uri: str) -> Path:
        """The folder with this digest, from here or from the store.

        The digest is proved again whenever a file was touched since it was last hashed; a damaged copy is replaced.
        Use `lease` where it must stay while it is read.

        Raises:
            ArtifactNotFound: it is neither here nor in the store.
            DigestMismatch: the store holds something else.
        """
        with self.lease(digest, uri) as folder:
            return folder

    @contextmanager
    def lease(self, digest: str, source: Source, tick: Tick = go_on) -> Iterator[Path]:
        """As `fetch`; the folder is not evicted, by any process, while the context lasts. Any number may hold one.

        What `tick` raises stops it while it fetches from the store.
        """
        with self._open_lock(digest) as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            if not self._intact(digest):
                self._fill(digest, source, tick)
            with suppress(FileNotFoundError):  # somebody may be replacing a copy damaged this instant
                os.utime(self._record(digest))
            self.evict(keep=digest)
            yield self.folder / digest

    def holds(self, digest: str) -> bool:
        """Whether an undamaged copy is here."""
        with self._open_lock(digest) as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            return self._intact(digest)

    def size_bytes(self) -> int:
        """Bytes of all complete folders, as recorded, and of what was derived from them."""
        return sum(size for _, size in self._by_use())

    def evict(self, keep: str) -> None:
        """Remove least recently used folders, but not `keep`, until the rest is within the limit.

        `lease` does so by itself; files derived meanwhile want it again.
        """
        sizes = self._by_use()
        excess = sum(size for _, size in sizes) - self.limit_bytes
        for digest, size in sizes:
            if excess <= 0:
                return
            if digest != keep and self._evict_one(digest):
                excess -= size

    def _fill(self, digest: str, source: Source, tick: Tick) -> None:
        """Fetch the folder, one process at a time. Others may hold a lease: a damaged copy is replaced under them."""
        with self._open_lock(digest, "fill") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self._intact(digest):
                return
            temporary = self.folder / f".incoming-{uuid.uuid4().hex}"
            try:
                if callable(source):
                    fetched = source(temporary)
                else:
                    fetched = self._store.fetch_folder(source, temporary, digest, tick)
                self._remove(digest)
                temporary.rename(self.folder / digest)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
            self._write_record(digest, fetched.size_bytes)

    def _sweep(self) -> None:
        """Remove what killed processes left half done."""
        for pattern in (".incoming-*", ".doomed-*", ".record-*"):
            for left in self.folder.glob(pattern):
                if time() - _used_at(left) / 1e9 > _LEFT_AFTER_S:
                    shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)

    def _intact(self, digest: str) -> bool:
        folder, record = self.folder / digest, self._record(digest)
        if not folder.is_dir():
            return False
        try:
            stamp = _stamp(folder)
            if record.is_file() and json.loads(record.read_text())["stamp"] == stamp:
                return True
            content = folder_content(folder)
        except (OSError, ValueError, KeyError):
            return False
        if content.digest != digest:
            return False
        self._write_record(digest, content.size_bytes)
        return True

    def _write_record(self, digest: str, size_bytes: int) -> None:
        temporary = self.folder / f".record-{uuid.uuid4().hex}"
        temporary.write_text(json.dumps({"size_bytes": size_bytes, "stamp": _stamp(self.folder / digest)}))
        temporary.replace(self._record(digest))

    def _remove(self, digest: str) -> None:
        self._record(digest).unlink(missing_ok=True)
        for derived in self.folder.glob(f"{digest}{_DERIVED}"):
            derived.unlink(missing_ok=True)
        folder = self.folder / digest
        if folder.exists():
            doomed = self.folder / f".doomed-{uuid.uuid4().hex}"
            folder.rename(doomed)
            shutil.rmtree(doomed, ignore_errors=True)

    def _by_use(self) -> list[tuple[str, int]]:
        """Digests and the bytes that go with each, least recently used first."""
        derived: Counter[str] = Counter()
        for file in self.folder.glob(f"*{_DERIVED}"):
            with suppress(FileNotFoundError):
                derived[file.name.partition(".")[0]] += file.stat().st_size
        records = sorted(self.folder.glob("*.json"), key=_used_at)
        return [(record.stem, _recorded_size(record) + derived[record.stem]) for record in records]

    def _evict_one(self, digest: str) -> bool:
        """Whether it is gone; not when it is in use."""
        with self._open_lock(digest) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            self._remove(digest)
            return True

    def _record(self, digest: str) -> Path:
        return self.folder / f"{digest}.json"

    def _open_lock(self, digest: str, kind: str = "lock") -> IO[bytes]:
        if len(digest) != 64 or not all(character in "0123456789abcdef" for character in digest):
            raise ArtifactError(f"{digest[:80]!r} is not a SHA-256 in lower-case hex")
        return (self.folder / f"{digest}.{kind}").open("ab")


def _stamp(folder: Path) -> Stamp:
    return {
        path.relative_to(folder).as_posix(): [
            (found := path.stat()).st_size,
            found.st_mtime_ns,
            found.st_ctime_ns,
            found.st_ino,
        ]
        for path in plain_files(folder)
    }


def _used_at(record: Path) -> int:
    try:
        return record.stat().st_mtime_ns
    except OSError:  # evicted by another process
        return 0


def _recorded_size(record: Path) -> int:
    try:
        return int(json.loads(record.read_text())["size_bytes"])
    except (OSError, ValueError, KeyError):
        return 0
