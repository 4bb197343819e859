"""Fetching a public data set, from its official address or from a mirror, into a file that can be uploaded."""

import hashlib
import os
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any

import numpy as np
import platformdirs
import pooch

from libs.data.errors import PublicDatasetError
from libs.data.public.catalog import PublicDataset, RemoteFile, public_dataset

_TIMEOUT_S = 30.0
_CHUNK_BYTES = 1 << 20

Tick = Callable[[float], None]
"""Told the fraction done; may raise to stop."""


def public_cache() -> Path:
    """Where fetched files are kept on this machine."""
    return Path(os.environ.get("OCTAVO_HOME") or platformdirs.user_data_dir("octavo")) / "public"


def pull(name: str, cache: Path | None = None, mirror: str | None = None, tick: Tick = lambda fraction: None) -> Path:
    """Fetch a public data set by name.

    Args:
        name: in the catalog.
        cache: folder for the fetched files and the npz; None: `public_cache()`.
        mirror: folder or http(s) address with `datasets/<name>/<file>`, used instead of the official address;
            None: `OCTAVO_MIRROR`.
        tick: told the fraction fetched.

    Returns:
        An npz or a zip of tables, which can be uploaded.

    Raises:
        PublicDatasetError: unknown name, not reachable, a wrong checksum, or a broken file.
    """
    chosen = os.environ.get("OCTAVO_MIRROR", "") if mirror is None else mirror
    return fetch_public(public_dataset(name), cache or public_cache(), chosen, tick)


def fetch_public(dataset: PublicDataset, cache: Path, mirror: str = "", tick: Tick = lambda fraction: None) -> Path:
    """Fetch what is not in the cache yet, check it and convert it. Arguments, result and errors as `pull`."""
    folder = cache / dataset.name
    converted = folder / dataset.upload_name
    if converted.is_file():
        return converted
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number, remote in enumerate(dataset.files):
        files.append(_obtain(dataset, remote, folder, mirror, partial(tick, number / len(dataset.files))))
    _save(converted, dataset.convert(files))
    return converted


def _obtain(dataset: PublicDataset, remote: RemoteFile, folder: Path, mirror: str, tick: Callable[[], None]) -> Path:
    """One file: from the cache, a mirror folder, or over the network."""
    algorithm, _, digest = remote.checksum.partition(":")
    is_url = mirror.startswith(("http://", "https://"))
    if mirror and not is_url:
        return _from_folder(dataset, remote, Path(mirror), algorithm, digest)
    url = f"{mirror.rstrip('/')}/datasets/{dataset.name}/{remote.name}" if mirror else remote.url
    downloader = _Downloader(remote.largest_bytes, algorithm, tick)
    try:
        return Path(pooch.retrieve(url, remote.checksum, remote.name, folder, downloader=downloader))
    except (OSError, HTTPException) as error:
        raise PublicDatasetError(f"{url} cannot be fetched ({error}). {_what_to_do(dataset)}") from error
    except PublicDatasetError:
        raise
    except ValueError as error:  # pooch: another checksum
        raise _another_file(dataset, url, remote, downloader.digest.hexdigest()) from error


def _from_folder(dataset: PublicDataset, remote: RemoteFile, mirror: Path, algorithm: str, digest: str) -> Path:
    file = mirror / "datasets" / dataset.name / remote.name
    if not file.is_file():
        raise PublicDatasetError(f"The mirror has no {file}. {_what_to_do(dataset)}")
    if (found := pooch.file_hash(str(file), alg=algorithm)) != digest:
        raise _another_file(dataset, file, remote, found)
    return file


def _another_file(dataset: PublicDataset, where: str | Path, remote: RemoteFile, found: str) -> PublicDatasetError:
    algorithm, _, expected = remote.checksum.partition(":")
    return PublicDatasetError(
        f"{where} is not the file that was published: its {algorithm} is {found}, expected is {expected}. "
        f"It is not used. {_what_to_do(dataset)}"
    )


def _what_to_do(dataset: PublicDataset) -> str:
    addresses = ", ".join(remote.url for remote in dataset.files)
    return (
        f"By hand: fetch {addresses} elsewhere into <folder>/datasets/{dataset.name}/, and start the workers with "
        "OCTAVO_MIRROR set to <folder>, or to an http(s) address that serves it (on one machine: before `octavo up`)."
    )


def _save(target: Path, content: Mapping[str, Any]) -> None:
    """Write all or nothing: an npz of arrays, or a zip of texts."""
    with tempfile.NamedTemporaryFile(dir=target.parent, suffix=".part", delete=False) as part:
        try:
            if target.suffix == ".npz":
                np.savez_compressed(part, **content)
            else:
                _zip(part, content)
        except BaseException:
            Path(part.name).unlink()
            raise
    Path(part.name).replace(target)


def _zip(file: IO[bytes], texts: Mapping[str, str]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts.items():
            archive.writestr(name, text)


class _Downloader:
    """Downloads for pooch, with a time limit, a size limit, and a way to stop; knows the digest of what came."""

    def __init__(self, largest_bytes: int, algorithm: str, tick: Callable[[], None]) -> None:
        self._largest_bytes = largest_bytes
        self.digest = hashlib.new(algorithm)
        self._tick = tick

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        received = 0
        # The scheme is http(s): from the catalog, or checked when the mirror was read.
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response, Path(output_file).open("wb") as file:  # noqa: S310
            while chunk := response.read(_CHUNK_BYTES):
                received += len(chunk)
                if received > self._largest_bytes:
                    raise PublicDatasetError(f"{url} is larger than the expected {self._largest_bytes:,} bytes")
                file.write(chunk)
                self.digest.update(chunk)
                self._tick()
