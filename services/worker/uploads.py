"""Makes the raw content of a data-set version ready for validation, as `libs.data.validate` wants to find it.

<folder>/upload + upload.name    a file that was uploaded, or one used in place
<folder>/upload.public           the name of a public data set, fetched by the child
the folder itself                class folders used in place
"""

from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from libs.data.errors import DataError
from libs.database.tables import DatasetVersion
from libs.registry.artifacts import ArtifactStore

_PUBLIC = "public:"


def fetch_upload(version: DatasetVersion, folder: Path, store: ArtifactStore) -> Path:
    """The folder validation reads; content on this machine is linked to, never copied.

    Raises:
        DataError: the place it should come from cannot be read in.
        ArtifactError: there is nothing there.
    """
    uri = str(version.upload_uri)
    if uri.startswith(_PUBLIC):
        folder.mkdir()
        (folder / "upload.public").write_text(uri.removeprefix(_PUBLIC), "utf-8")
        return folder
    if uri.startswith("file://"):
        return _local(Path(unquote(urlsplit(uri).path)), folder, version)
    if uri.startswith(store.root_url + "/"):
        folder.mkdir()
        store.fetch_file(uri, folder / "upload")
        _note_name(folder, version, uri)
        return folder
    return _remote(uri, folder, version)


def _local(place: Path, folder: Path, version: DatasetVersion) -> Path:
    if place.is_dir():
        return place
    if not place.is_file():
        raise DataError(f"{place} is not on this worker. Data used in place must be mounted on every worker.")
    folder.mkdir()
    (folder / "upload").symlink_to(place)
    _note_name(folder, version, place.as_uri())
    return folder


def _remote(uri: str, folder: Path, version: DatasetVersion) -> Path:
    """A file or a prefix of a bucket beside the artifact store; names that climb out of it are refused."""
    parent, _, name = uri.rstrip("/").rpartition("/")
    if not name or parent.endswith("/"):
        raise DataError(f"{uri} is a whole bucket; name a prefix or a file in it.")
    place = ArtifactStore(parent)
    if place.is_file(uri):
        folder.mkdir()
        place.fetch_file(uri, folder / "upload")
        _note_name(folder, version, uri)
    else:
        place.fetch_folder(uri, folder)
    return folder


def _note_name(folder: Path, version: DatasetVersion, uri: str) -> None:
    """The original file name, for people."""
    name = version.source.get("upload") or unquote(PurePosixPath(uri).name)
    (folder / "upload.name").write_text(str(name), "utf-8")
