"""Files that outlive a process: one folder or bucket, immutable content, SHA-256 of everything.

    ArtifactStore("file:///var/lib/octavo/artifacts")     one machine
    ArtifactStore("s3://bucket/prefix")                   many; endpoint and keys by the usual AWS variables

Without a key, content is stored under its own digest, so storing it twice is harmless. Every write lands under a
temporary name first and is renamed (file) or is atomic by itself (object stores): a reader never sees half a file.
"""

import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, wraps
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Concatenate, ParamSpec, TypeVar, cast

import fsspec

from libs.durable import sync_folder
from libs.registry.digests import CHUNK_BYTES, FolderContent, file_digest, folder_content

_INCOMING = ".incoming"
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")


class ArtifactError(OSError):
    """The artifact store could not do what was asked; the message says what and where."""


class ArtifactNotFound(ArtifactError):
    """There is nothing at this address."""


class ArtifactRefused(ArtifactError):
    """The store does not let this process in; waiting does not help."""


class DigestMismatch(ArtifactError):
    """Stored content differs from its recorded SHA-256: it was changed or damaged."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file in the store."""

    uri: str
    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class StoredFolder:
    """A folder in the store; `digest` covers every name and content, `files` maps name to SHA-256."""

    uri: str
    digest: str
    size_bytes: int
    files: dict[str, str]


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """One object as listed: what retention looks at."""

    uri: str
    size_bytes: int
    modified_at: datetime


Tick = Callable[[], None]
"""Called many times while something is copied; may raise to stop."""


def go_on() -> None:
    """The tick of whoever waits to the end."""


P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def said_by_name(root_url: str) -> Iterator[None]:
    """What an S3 client raises within becomes an ArtifactError that names the store; those of a folder stay.

    Raises:
        ArtifactRefused: the credentials are wrong, or there are none.
        ArtifactError: the store does not answer as it should.
    """
    refusals, failures = _errors_of_s3() if root_url.startswith("s3://") else ((), ())
    try:
        yield
    except refusals as error:
        raise ArtifactRefused(f"the artifact store {root_url} refuses: {error}") from error
    except failures as error:
        raise ArtifactError(f"the artifact store {root_url} fails: {error}") from error


@cache
def _errors_of_s3() -> tuple[tuple[type[Exception], ...], tuple[type[Exception], ...]]:
    """What s3fs raises for wrong and missing credentials, and what it passes on from its client."""
    from botocore.exceptions import BotoCoreError, NoCredentialsError

    return (PermissionError, NoCredentialsError), (BotoCoreError,)


def _by_name(method: Callable[Concatenate["ArtifactStore", P], T]) -> Callable[Concatenate["ArtifactStore", P], T]:
    @wraps(method)
    def call(store: "ArtifactStore", /, *args: P.args, **kwargs: P.kwargs) -> T:
        with said_by_name(store.root_url):
            return method(store, *args, **kwargs)

    return call


class ArtifactStore:
    """Immutable files and folders below one root URL; on S3 every method may raise as `said_by_name` says."""

    def __init__(self, root_url: str) -> None:
        """Raises: ArtifactError: the URL is neither file:// nor s3://."""
        scheme = root_url.partition("://")[0]
        if scheme not in ("file", "s3"):
            raise ArtifactError(f"artifact store {root_url!r}: use file:///folder or s3://bucket/prefix")
        options: dict[str, Any] = {} if scheme == "file" else {"use_listings_cache": False}
        try:
            self._fs, self._root = fsspec.core.url_to_fs(root_url.rstrip("/"), **options)
        except ImportError as error:
            raise ArtifactError(f"artifact store {root_url!r} needs the extra: pip install octavo[s3]") from error
        self.root_url = root_url.rstrip("/")
        self._folder = Path(self._root) if scheme == "file" else None

    @_by_name
    def check(self) -> None:
        """Ask a bucket for one name, to learn early that it cannot be used; a folder is not looked at.

        Raises:
            ArtifactRefused: the credentials are wrong, or there are none.
            ArtifactError: it does not answer, or there is no such bucket.
        """
        if self._folder is None:
            bucket, _, prefix = self._root.partition("/")
            try:
                self._fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, MaxKeys=1)
            except FileNotFoundError as error:
                raise ArtifactError(f"the artifact store {self.root_url}: {error}") from error

    @_by_name
    def put_file(self, path: Path, key: str | None = None) -> StoredFile:
        """Store one file, under `key` or under its digest.

        Raises:
            ArtifactError: the key is unsafe, `path` is not a plain file, or it changed while it was stored.
        """
        if path.is_symlink() or not path.is_file():
            raise ArtifactError(f"{path} is not a plain file")
        digest, size_bytes = file_digest(path)
        target = self._checked_key(key or f"sha256/{digest[:2]}/{digest}/{_safe_name(path.name)}")
        if self._folder is None:
            self._fs.put_file(str(path), f"{self._root}/{target}")
            self._check_size(target, size_bytes)
        else:
            self._copy_in(path, self._folder / target, digest)
        return StoredFile(f"{self.root_url}/{target}", digest, size_bytes)

    @_by_name
    def put_folder(self, folder: Path, key: str | None = None) -> StoredFolder:
        """Store a folder of plain files, under `key` or under its digest.

        Raises:
            ArtifactError: it holds a link, a device or nothing, or another folder lies at `key`.
        """
        content = folder_content(folder)
        target = self._checked_key(key or f"folders/{content.digest[:2]}/{content.digest}")
        if self._folder is None:
            for name, size_bytes in content.sizes.items():
                self._fs.put_file(str(folder / name), f"{self._root}/{target}/{name}")
                self._check_size(f"{target}/{name}", size_bytes)
        else:
            self._copy_folder_in(folder, content, self._folder / target)
        return StoredFolder(f"{self.root_url}/{target}", content.digest, content.size_bytes, dict(content.files))

    @_by_name
    def open(self, uri: str) -> BinaryIO:
        """Open a stored file for reading.

        Raises:
            ArtifactNotFound: there is none.
        """
        path = self._path(uri)
        if self._kind(path) != "file":
            raise ArtifactNotFound(f"no file at {uri}")
        return cast(BinaryIO, self._fs.open(path, "rb"))

    @_by_name
    def exists(self, uri: str) -> bool:
        """Whether a file or folder lies at `uri`."""
        return self._kind(self._path(uri)) is not None

    @_by_name
    def is_file(self, uri: str) -> bool:
        """Whether a file, not a folder, lies at `uri`."""
        return self._kind(self._path(uri)) == "file"

    @_by_name
    def fetch_file(self, uri: str, destination: Path, digest: str | None = None, tick: Tick = go_on) -> Path:
        """Copy a stored file to `destination`; checked against `digest` when given. What `tick` raises stops it.

        Raises:
            ArtifactNotFound: there is none.
            DigestMismatch: its content is not what was recorded; `destination` is not written.
        """
        temporary = destination.with_name(f".{destination.name}.{uuid.uuid4().hex}")
        try:
            with self.open(uri) as source, temporary.open("wb") as sink:
                _copy(source, sink, tick)
            found = file_digest(temporary)[0]
            if digest is not None and found != digest:
                raise DigestMismatch(f"{uri} has SHA-256 {found}, recorded was {digest}")
            temporary.replace(destination)
        finally:
            temporary.unlink(missing_ok=True)
        return destination

    @_by_name
    def fetch_folder(self, uri: str, destination: Path, digest: str | None = None, tick: Tick = go_on) -> FolderContent:
        """Copy a stored folder to `destination`, which must not exist or be empty. What `tick` raises stops it.

        Raises:
            ArtifactNotFound: there is none.
            DigestMismatch: its content is not what was recorded; the copy is removed.
        """
        names = self._names_below(uri)
        destination.mkdir(parents=True, exist_ok=True)
        for name in names:
            target = destination / _safe_relative(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            with self.open(f"{uri.rstrip('/')}/{name}") as source, target.open("wb") as sink:
                _copy(source, sink, tick)
        content = folder_content(destination)
        if digest is not None and content.digest != digest:
            shutil.rmtree(destination)
            raise DigestMismatch(f"{uri} has digest {content.digest}, recorded was {digest}")
        return content

    @_by_name
    def delete(self, uri: str) -> None:
        """Remove a file or folder; nothing happens when there is none."""
        path = self._path(uri)
        if self._kind(path) is not None:
            self._fs.rm(path, recursive=True)

    @_by_name
    def size_bytes(self, uri: str) -> int:
        """Bytes stored at `uri`, file or folder; 0 when there is nothing."""
        path = self._path(uri)
        return int(self._fs.du(path)) if self._kind(path) is not None else 0

    @_by_name
    def modified_at(self, uri: str) -> datetime | None:
        """When the file was last stored; None when there is none."""
        path = self._path(uri)
        return _modified_at(self._fs.info(path)) if self._kind(path) == "file" else None

    def entries(self, prefix: str = "") -> Iterator[StoredEntry]:
        """Every stored file below the key `prefix`, unfinished writes included."""
        base = f"{self._root}/{prefix}".rstrip("/")
        if not self._fs.exists(base):
            return
        for path, info in self._fs.find(base, detail=True).items():
            uri = f"{self.root_url}/{path.removeprefix(self._root).lstrip('/')}"
            yield StoredEntry(uri, int(info["size"]), _modified_at(info))

    def _names_below(self, uri: str) -> list[str]:
        base = self._path(uri)
        found = self._fs.find(base) if self._kind(base) == "directory" else []
        if not found:
            raise ArtifactNotFound(f"no folder at {uri}")
        return sorted(path.removeprefix(base).lstrip("/") for path in found)

    def _kind(self, path: str) -> str | None:
        """`file`, `directory`, or None for nothing. (By fsspec's `isfile` and `isdir` a failing store has nothing.)"""
        try:
            kind = str(self._fs.info(path)["type"])
        except (FileNotFoundError, NotADirectoryError):
            return None
        if kind == "link":
            return "file" if self._fs.isfile(path) else "directory" if self._fs.isdir(path) else None
        return kind

    def _path(self, uri: str) -> str:
        """The file system's path of a URI, refused outside the root."""
        if not uri.startswith(self.root_url + "/"):
            raise ArtifactError(f"{uri} does not lie in the artifact store {self.root_url}")
        return f"{self._root}/{self._checked_key(uri.removeprefix(self.root_url + '/'))}"

    @staticmethod
    def _checked_key(key: str) -> str:
        return "/".join(_safe_relative(key).parts)

    def _check_size(self, target: str, size_bytes: int) -> None:
        stored = self._fs.size(f"{self._root}/{target}")
        if stored != size_bytes:
            raise ArtifactError(f"{self.root_url}/{target}: {stored} bytes arrived of {size_bytes}")

    def _copy_in(self, path: Path, target: Path, digest: str) -> None:
        temporary = self._incoming()
        try:
            shutil.copyfile(path, temporary)
            if file_digest(temporary)[0] != digest:
                raise ArtifactError(f"{path} changed while it was stored")
            _publish(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)

    def _copy_folder_in(self, folder: Path, content: FolderContent, target: Path) -> None:
        if target.exists():
            if folder_content(target).digest != content.digest:
                raise ArtifactError(f"another folder lies at {target}; stored folders never change")
            for name in content.files:
                os.utime(target / name)  # a renewed reference: retention counts its grace age from now
            return
        temporary = self._incoming()
        try:
            for name in content.files:
                (temporary / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(folder / name, temporary / name)
            if folder_content(temporary).digest != content.digest:
                raise ArtifactError(f"{folder} changed while it was stored")
            _publish_folder(temporary, target, content)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _incoming(self) -> Path:
        if self._folder is None:
            raise AssertionError("only file:// stores have an incoming folder")
        folder = self._folder / _INCOMING
        folder.mkdir(parents=True, exist_ok=True)
        return folder / uuid.uuid4().hex


def _copy(source: BinaryIO, sink: BinaryIO, tick: Tick) -> None:
    tick()
    while block := source.read(CHUNK_BYTES):
        sink.write(block)
        tick()


def _publish(temporary: Path, target: Path) -> None:
    """Move a complete file to its name so that a crash leaves the old one or the new one."""
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary.replace(target)
    sync_folder(target.parent)


def _publish_folder(temporary: Path, target: Path, content: FolderContent) -> None:
    for name in content.files:
        with (temporary / name).open("rb") as file:
            os.fsync(file.fileno())
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        temporary.rename(target)
    except OSError:
        # Another process published the same key first: fine when it holds the same content.
        if not target.is_dir() or folder_content(target).digest != content.digest:
            raise
    sync_folder(target.parent)


def _safe_name(name: str) -> str:
    return name if _PLAIN_NAME.fullmatch(name) else "file"


def _safe_relative(key: str) -> PurePosixPath:
    """`key` as a relative path.

    Raises:
        ArtifactError: it is empty, absolute, climbs, or has control characters or a backslash.
    """
    parts = key.split("/")
    unsafe = any(part in ("", ".", "..") or "\\" in part or not part.isprintable() for part in parts)
    if unsafe or len(key.encode()) > 900:
        raise ArtifactError(f"{key[:120]!r} is not a safe artifact key")
    return PurePosixPath(key)


def _modified_at(info: dict[str, Any]) -> datetime:
    found = info.get("LastModified") or info.get("mtime")
    return found if isinstance(found, datetime) else datetime.fromtimestamp(float(found or 0), UTC)
