"""Where the bytes of an upload go, chunk by chunk, so that it can be resumed after any interruption.

The store itself says how much has arrived: what the client is told as the offset is on disk. In a folder chunks are
appended to the file; in a bucket, which cannot append, each chunk is an object named by its offset, and `finish`
joins them inside the bucket, without moving a byte through this process.
"""

import fcntl
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import fsspec
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from libs.durable import sync_folder
from libs.registry.artifacts import said_by_name
from libs.web.problems import ConflictError, TooLargeError, UnprocessableError

_BLOCK_BYTES = 1 << 20
MIN_PART_BYTES = 5 << 20
"""S3 joins no parts smaller than this, except the last."""


class Upload(Protocol):
    """One upload in progress."""

    uri: str

    def offset(self) -> int:
        """Bytes that have arrived."""

    async def append(self, offset: int, chunks: AsyncIterator[bytes], limit_bytes: int) -> int:
        """Add a chunk at `offset`; return the new offset. An interrupted chunk keeps what a resume can build on."""

    def finish(self) -> int:
        """Make the whole readable at `uri`; return its size in bytes."""


def open_upload(root_url: str, key: str) -> Upload:
    """The upload whose content will lie at `root_url/key`."""
    root_url = root_url.rstrip("/")
    fs, root = fsspec.core.url_to_fs(root_url)
    if root_url.startswith("file://"):
        return FolderUpload(f"{root_url}/{key}", Path(root) / key)
    return BucketUpload(root_url, key, fs, f"{root}/{key}")


def _offset_conflict(found: int, offered: int) -> ConflictError:
    return ConflictError(
        f"{found} bytes have arrived and the chunk begins at {offered}; go on at {found}.",
        code="upload_offset_mismatch",
        headers={"Upload-Offset": str(found)},
    )


def _complete() -> ConflictError:
    return ConflictError("The upload is complete.", code="upload_complete")


def _check_limit(end: int, limit_bytes: int) -> None:
    if end > limit_bytes:
        raise TooLargeError(f"The upload is over the limit of {limit_bytes} bytes.", code="upload_too_large")


class FolderUpload:
    """An upload into a folder: one file that grows, and takes its name when it is whole.

    A lock on the file lets one chunk in at a time.
    """

    def __init__(self, uri: str, path: Path) -> None:
        self.uri = uri
        self._path = path
        self._part = path.with_name(path.name + ".part")

    def offset(self) -> int:
        """Bytes in the file."""
        found = next((path for path in (self._path, self._part) if path.exists()), None)
        return found.stat().st_size if found else 0

    async def append(self, offset: int, chunks: AsyncIterator[bytes], limit_bytes: int) -> int:
        """Append, whatever arrives of it.

        Raises:
            ConflictError: the file ends elsewhere than at `offset`, is whole, or takes another chunk now.
            TooLargeError: the file would grow over the limit; it keeps its old size.
        """
        file = await run_in_threadpool(self._open_at, offset)
        try:
            return await _write(file, offset, chunks, limit_bytes)
        finally:
            await run_in_threadpool(_sync_and_close, file)

    def _open_at(self, offset: int) -> BinaryIO:
        if self._path.exists():
            raise _complete()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = self._locked()
        found = os.fstat(file.fileno()).st_size
        if found != offset:
            file.close()
            raise _offset_conflict(found, offset)
        return file

    def _locked(self) -> BinaryIO:
        file = self._part.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise ConflictError("Another chunk of this upload is being written.", code="upload_busy") from None
        return file

    def finish(self) -> int:
        """Give the file its name. Finishing again changes nothing."""
        if not self._path.exists():
            with self._locked():
                self._part.rename(self._path)
                sync_folder(self._path.parent)
        return self._path.stat().st_size


async def _write(file: BinaryIO, offset: int, chunks: AsyncIterator[bytes], limit_bytes: int) -> int:
    end, block = offset, bytearray()
    try:
        async for chunk in chunks:
            end += len(chunk)
            _check_limit(end, limit_bytes)
            block += chunk
            if len(block) >= _BLOCK_BYTES:
                await run_in_threadpool(file.write, bytes(block))
                block.clear()
    except TooLargeError:
        await run_in_threadpool(file.truncate, offset)
        raise
    except (ClientDisconnect, HTTPException):  # it broke off, or nothing more came: what did come is kept
        await run_in_threadpool(file.write, bytes(block))
        raise
    await run_in_threadpool(file.write, bytes(block))
    return end


def _sync_and_close(file: BinaryIO) -> None:
    try:
        file.flush()
        os.fsync(file.fileno())
    finally:
        file.close()


def _abandon(part: Any) -> None:
    """Drop an object that is being written. Unless it is marked closed, it would be written when it is freed."""
    part.discard()
    part.closed = True


class BucketUpload:
    """An upload into a bucket: an object a chunk. An interrupted chunk leaves nothing.

    The whole is there at once or not at all; from then on parts count for nothing, were they only half removed.

    Each method raises ArtifactError where the bucket fails.
    """

    def __init__(self, root_url: str, key: str, fs: Any, path: str) -> None:
        self.uri = f"{root_url}/{key}"
        self._root_url = root_url
        self._fs, self._path, self._parts = fs, path, f"{path}.parts"

    def offset(self) -> int:
        """Bytes of the whole, or in the unbroken row of parts from the start."""
        with said_by_name(self._root_url):
            return self._offset()

    def _offset(self) -> int:
        if (whole := self._whole()) is not None:
            return whole
        end = 0
        for start, size in self._listed():
            if start != end:
                break
            end += size
        return end

    def _whole(self) -> int | None:
        """Bytes of the whole; None while there is none."""
        self._fs.invalidate_cache()
        return int(self._fs.size(self._path)) if self._fs.exists(self._path) else None

    def _listed(self) -> list[tuple[int, int]]:
        if not self._fs.exists(self._parts):
            return []
        entries = self._fs.ls(self._parts, detail=True)
        return sorted((int(Path(entry["name"]).name), int(entry["size"])) for entry in entries)

    async def append(self, offset: int, chunks: AsyncIterator[bytes], limit_bytes: int) -> int:
        """Store a part.

        Raises:
            ConflictError: the parts end elsewhere than at `offset`, or the upload is whole.
            TooLargeError: the whole would grow over the limit; the part is not kept.
        """
        with said_by_name(self._root_url):
            return await self._append(offset, chunks, limit_bytes)

    async def _append(self, offset: int, chunks: AsyncIterator[bytes], limit_bytes: int) -> int:
        part = await run_in_threadpool(self._open_at, offset)
        end = offset
        try:
            async for chunk in chunks:
                end += len(chunk)
                _check_limit(end, limit_bytes)
                await run_in_threadpool(part.write, chunk)
        except BaseException:
            await run_in_threadpool(_abandon, part)
            raise
        await run_in_threadpool(part.close)
        return end

    def _open_at(self, offset: int) -> Any:
        if self._whole() is not None:
            raise _complete()
        found = self._offset()
        if found != offset:
            raise _offset_conflict(found, offset)
        return self._fs.open(f"{self._parts}/{offset:020d}", "wb")

    def finish(self) -> int:
        """Join the parts. Finishing again changes nothing.

        Raises:
            UnprocessableError: a part that is not the last is smaller than a bucket can join.
        """
        with said_by_name(self._root_url):
            return self._finish()

    def _finish(self) -> int:
        if (whole := self._whole()) is None:
            whole = self._join(self._listed())
        if self._fs.exists(self._parts):
            self._fs.rm(self._parts, recursive=True)
        return whole

    def _join(self, parts: Sequence[tuple[int, int]]) -> int:
        if any(size < MIN_PART_BYTES for _, size in parts[:-1]):
            raise UnprocessableError(
                f"Only the last chunk of an upload into a bucket may be smaller than {MIN_PART_BYTES} bytes. "
                "Delete this version and upload again in larger chunks.",
                code="chunks_too_small",
            )
        names = [f"{self._parts}/{start:020d}" for start, _ in parts]
        if len(names) == 1:
            self._fs.copy(names[0], self._path)
        else:
            self._fs.merge(self._path, names)
        return sum(size for _, size in parts)
