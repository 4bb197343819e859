"""Pictures used in place on S3: the child has no credentials, so they are fetched into this machine's cache."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import fsspec

from libs.data.errors import DataError
from libs.data.images.index import Index
from libs.data.manifest import read_manifest
from libs.registry.artifacts import said_by_name
from libs.registry.cache import FolderCache
from libs.registry.digests import FolderContent, folder_content, folder_digest


@contextmanager
def with_pictures(stored: Path, cache: FolderCache, scratch: Path) -> Iterator[Path]:
    """A data set's folder with all that its reader needs, as long as the context lasts.

    The folder itself, unless its pictures lie on S3: then a folder of links below `scratch`, with `pictures` too.

    Raises:
        DataError: a picture is gone or has changed since validation.
        ArtifactError: the place does not answer as it should.
    """
    manifest = read_manifest(stored)
    if manifest.kind != "images" or manifest.in_place is None or manifest.in_place.root.startswith("file://"):
        yield stored
        return
    root = manifest.in_place.root
    index = Index.read(stored / "index.csv.gz")
    files = {path.decode(): bytes(sha256).hex() for path, sha256 in zip(index.path, index.sha256, strict=True)}
    with cache.lease(folder_digest(files), lambda target: _fetch(root, files, target)) as pictures:
        whole = Path(tempfile.mkdtemp(prefix="dataset-", dir=scratch))
        for path in stored.iterdir():
            (whole / path.name).symlink_to(path)
        (whole / "pictures").symlink_to(pictures)
        yield whole


def _fetch(root: str, files: Mapping[str, str], target: Path) -> FolderContent:
    """Copy the files below `root` to `target`, many at a time, and check each against its SHA-256."""
    fs, base = fsspec.core.url_to_fs(root, use_listings_cache=False)
    names = list(files)
    try:
        with said_by_name(root):
            fs.get([f"{base}/{name}" for name in names], [str(target / name) for name in names])
    except FileNotFoundError as error:
        gone = next((name for name in names if not fs.isfile(f"{base}/{name}")), "")
        raise _changed(root, gone, "is not there any more") from error
    content = folder_content(target)
    for name in names:
        if content.files[name] != files[name]:
            raise _changed(root, name, "has changed since the data set was validated")
    return content


def _changed(root: str, name: str, what: str) -> DataError:
    return DataError(
        f"{root}/{name} {what}. Put the old file back, or make a new version of what is there now: "
        f"octavo datasets create NAME --path {root}"
    )
