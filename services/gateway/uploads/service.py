"""Model files on their way in: looked at before they are kept, never opened."""

import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from uuid import UUID, uuid4

from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from libs.registry.artifacts import StoredFile
from libs.registry.errors import ImportRefused
from libs.registry.model_files import FileKind, model_file_kind
from libs.registry.uploads import record_upload
from libs.web.problems import UnsupportedMediaTypeError
from services.gateway.uploads.schemas import UploadedFile

_PICKLE_ENDINGS = (".pth", ".pt", ".pkl", ".pickle", ".ckpt", ".bin", ".joblib")
_BLOCK_BYTES = 1 << 20
_LEFT_AFTER_S = 86_400.0


def refuse_pickle(name: str) -> None:
    """Refuse by its name what may hold a pickle, before any of it is received.

    Raises:
        UnsupportedMediaTypeError: with the way out.
    """
    path = PurePosixPath(name)
    if path.suffix.lower() in _PICKLE_ENDINGS:
        raise UnsupportedMediaTypeError(
            f"{name} may hold a pickle, which can run any program when it is opened, so Octavo takes none. "
            f"On your own machine: octavo convert {name} {path.with_suffix('.safetensors').name}",
            code="import_refused",
        )


async def receive(chunks: AsyncIterator[bytes], folder: Path) -> Path:
    """Write what arrives to a temporary file in `folder`; the caller deletes it.

    Whatever goes wrong, no file stays behind; those of processes that were killed are removed here a day later.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _remove_left(folder)
    path = folder / f"incoming-{uuid4().hex}"
    try:
        with path.open("xb") as file:
            block = bytearray()
            async for chunk in chunks:
                block += chunk
                if len(block) >= _BLOCK_BYTES:
                    await run_in_threadpool(file.write, bytes(block))
                    block.clear()
            await run_in_threadpool(file.write, bytes(block))
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def _remove_left(folder: Path) -> None:
    for left in folder.glob("incoming-*"):
        with suppress(FileNotFoundError):  # another request has just done it
            if time.time() - left.stat().st_mtime > _LEFT_AFTER_S:
                left.unlink()


def kind_of(path: Path) -> FileKind:
    """What the file is, by its content.

    Raises:
        UnsupportedMediaTypeError: neither ONNX nor safetensors.
    """
    try:
        return model_file_kind(path)
    except ImportRefused as error:
        raise UnsupportedMediaTypeError(str(error), code=error.code) from None


def record(session: Session, project_id: UUID, name: str, kind: FileKind, stored: StoredFile) -> UploadedFile:
    """Note a stored file as an upload of the project."""
    row = record_upload(session, project_id, name, stored)
    return UploadedFile(id=row.id, name=name, kind=kind, digest=row.digest, size_bytes=row.size_bytes)
