"""Makes raw content ready for the job that checks it: a data set for `libs.data.validate`, a model file for an import.

<folder>/upload + upload.name    a file that was uploaded, or one that lies in a place
<folder>/upload.public           the name of a public data set, fetched by the child
<folder>/content + upload.root   pictures used in place: where they are here, and the URL of the place
"""

import shutil
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from libs.data.errors import DataError
from libs.database.tables import Artifact, DatasetVersion
from libs.registry.artifacts import ArtifactStore, Tick, go_on

_PUBLIC = "public:"


def fetch_upload(version: DatasetVersion, folder: Path, store: ArtifactStore, tick: Tick = go_on) -> Path:
    """The folder validation reads; content on this machine is linked to, never copied. It may be called again.

    Args:
        tick: called many times meanwhile; may raise to stop.

    Raises:
        DataError: the place it should come from cannot be read in.
        ArtifactError: there is nothing there.
    """
    uri = str(version.upload_uri)
    shutil.rmtree(folder, ignore_errors=True)
    if uri.startswith(_PUBLIC):
        folder.mkdir()
        (folder / "upload.public").write_text(uri.removeprefix(_PUBLIC), "utf-8")
        return folder
    if uri.startswith("file://"):
        return _local(Path(unquote(urlsplit(uri).path)), folder, version)
    if uri.startswith(store.root_url + "/"):
        folder.mkdir()
        store.fetch_file(uri, folder / "upload", tick=tick)
        _note_name(folder, version, uri)
        return folder
    return _remote(uri, folder, version, tick)


def fetch_model_file(artifact: Artifact, folder: Path, store: ArtifactStore, tick: Tick = go_on) -> Path:
    """The folder an import job reads: the uploaded model file, checked against its digest. It may be called again.

    Raises:
        ArtifactError: the store cannot give it.
    """
    folder.mkdir(exist_ok=True)
    store.fetch_file(artifact.uri, folder / "upload", artifact.digest, tick)
    return folder


def _local(place: Path, folder: Path, version: DatasetVersion) -> Path:
    if place.resolve() != place:  # the gateway allowed this place, not what a link put there since points to
        raise DataError(f"{place} leads over a link to {place.resolve()}; name that place itself, if it is allowed.")
    if place.is_dir():
        (_placed(folder, place.as_uri()) / "content").symlink_to(place)
        return folder
    if not place.is_file():
        raise DataError(f"{place} is not on this worker. Data used in place must be mounted on every worker.")
    folder.mkdir()
    (folder / "upload").symlink_to(place)
    _note_name(folder, version, place.as_uri())
    return folder


def _remote(uri: str, folder: Path, version: DatasetVersion, tick: Tick) -> Path:
    """A file or a prefix of a bucket beside the artifact store; names that climb out of it are refused."""
    parent, _, name = uri.rstrip("/").rpartition("/")
    if not name or parent.endswith("/"):
        raise DataError(f"{uri} is a whole bucket; name a prefix or a file in it.")
    place = ArtifactStore(parent)
    if place.is_file(uri):
        folder.mkdir()
        place.fetch_file(uri, folder / "upload", tick=tick)
        _note_name(folder, version, uri)
    else:
        place.fetch_folder(uri, _placed(folder, uri) / "content", tick=tick)
    return folder


def _placed(folder: Path, url: str) -> Path:
    folder.mkdir()
    (folder / "upload.root").write_text(url.rstrip("/"), "utf-8")
    return folder


def _note_name(folder: Path, version: DatasetVersion, uri: str) -> None:
    """The original file name, for people."""
    name = version.source.get("upload") or unquote(PurePosixPath(uri).name)
    (folder / "upload.name").write_text(str(name), "utf-8")
