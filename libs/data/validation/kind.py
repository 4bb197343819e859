"""Telling an upload of pictures from one of events."""

from collections.abc import Iterable, Iterator

from libs.data.archives import ArchiveLimits, member_names, scan_folder
from libs.data.config import ValidationConfig
from libs.data.errors import ArchiveError
from libs.data.events.reading import is_parquet
from libs.data.events.upload import SURE_SUFFIXES, is_table_name
from libs.data.images.decode import SUFFIXES as PICTURE_SUFFIXES
from libs.data.manifest import DataKind
from libs.data.public.catalog import public_dataset
from libs.data.validation.upload import Upload


def kind_of(upload: Upload, config: ValidationConfig) -> DataKind:
    """As the config says, else events if the upload is a table, or holds tables and neither pictures nor arrays.

    What cannot be opened counts as pictures, whose validation says what is wrong.

    Raises:
        PublicDatasetError: there is no public data set of that name.
    """
    if config.kind != "auto":
        return config.kind
    if upload.public:
        return public_dataset(upload.name).kind
    if config.format != "auto":
        return "images"
    if upload.url is None and (is_table_name(upload.name, SURE_SUFFIXES) or is_parquet(upload.path)):
        return "events"
    try:
        return _kind_of_names(_names(upload, ArchiveLimits(config.max_files, config.max_unpacked_bytes)))
    except ArchiveError:
        return "images"


def _names(upload: Upload, limits: ArchiveLimits) -> Iterator[str]:
    if upload.url is None:
        yield from member_names(upload.path, limits)
    else:
        yield from (file.name for file in scan_folder(upload.path, limits.max_files).files)


def _kind_of_names(names: Iterable[str]) -> DataKind:
    found: DataKind = "images"
    for name in names:
        if name.casefold().endswith((*PICTURE_SUFFIXES, ".npy")):
            return "images"
        if is_table_name(name, SURE_SUFFIXES):
            found = "events"
    return found
