"""Reading bundle folders (`libs.serving.bundle`), every file proved."""

from pathlib import Path

from pydantic import ValidationError

from libs.registry.digests import file_digest, plain_files
from libs.serving.bundle import (
    BUNDLE_FILE,
    MODEL_FILE,
    AnyBundle,
    Bundle,
    ClassifierBundle,
    NextItemBundle,
    parse_bundle,
)
from libs.serving.errors import LoadError

_MAX_BUNDLE_BYTES = 64 * 2**20


def read_bundle(folder: Path) -> AnyBundle:
    """The bundle in `folder`, every file of it proved against its recorded SHA-256.

    Raises:
        LoadError: `bundle.json` is missing, too large or invalid, or a file is missing, changed or unlisted.
    """
    file = folder / BUNDLE_FILE
    try:
        if file.stat().st_size > _MAX_BUNDLE_BYTES:
            raise LoadError(f"{BUNDLE_FILE} is larger than {_MAX_BUNDLE_BYTES} bytes")
        bundle = parse_bundle(file.read_bytes())
    except OSError as error:
        raise LoadError(f"no bundle: {BUNDLE_FILE} cannot be read ({error.strerror})") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"])
        raise LoadError(f"{BUNDLE_FILE} is invalid: {place}: {first['msg']}") from error
    _check_files(folder, bundle)
    return bundle


def read_classifier_bundle(folder: Path) -> ClassifierBundle:
    """The bundle of a classifier.

    Raises:
        LoadError: as `read_bundle`, and for a model of another task.
    """
    bundle = read_bundle(folder)
    if isinstance(bundle, ClassifierBundle):
        return bundle
    raise LoadError("The model recommends items; a classifier of pictures is needed here.")


def read_next_item_bundle(folder: Path) -> NextItemBundle:
    """The bundle of a model that recommends.

    Raises:
        LoadError: as `read_bundle`, and for a model of another task.
    """
    bundle = read_bundle(folder)
    if isinstance(bundle, NextItemBundle):
        return bundle
    raise LoadError("The model classifies pictures; one that recommends items is needed here.")


def _names(folder: Path) -> list[str]:
    names = [path.relative_to(folder).as_posix() for path in plain_files(folder)]
    return [name for name in names if name != BUNDLE_FILE]


def _check_files(folder: Path, bundle: Bundle) -> None:
    names = set(_names(folder))
    if MODEL_FILE not in bundle.files:
        raise LoadError(f"the bundle lists no {MODEL_FILE}")
    if odd := names ^ set(bundle.files):
        raise LoadError(f"the bundle's list of files and its folder differ in {', '.join(sorted(odd)[:5])}")
    for name, digest in bundle.files.items():
        if file_digest(folder / name)[0] != digest:
            raise LoadError(f"{name} is not what the bundle recorded: its SHA-256 differs")
