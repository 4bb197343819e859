"""Where a data set may come from: places under allowed roots, whatever links and dots say; data sets of events."""

from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit
from uuid import UUID

from sqlalchemy.orm import Session

from libs.jobs.errors import Fault, RequestRefused
from libs.registry import datasets
from libs.registry.errors import RegistryError
from libs.registry.references import parse_reference

ROOTS_SEPARATOR = ":::"


def allowed_location(path: str, data_roots: str) -> str:
    """`path` as a URL without links, dots or doubled slashes, if it lies under one of `data_roots`.

    Args:
        path: an absolute path, a file:// URL or an s3:// URL.
        data_roots: folders and s3:// prefixes, joined by `:::`.

    Raises:
        RequestRefused: it lies elsewhere, or no roots are allowed.
    """
    roots = [_location(root) for root in data_roots.split(ROOTS_SEPARATOR) if root]
    found = _location(path)
    if found is None or not any(root is not None and _lies_below(found, root) for root in roots):
        message = "This place is not under a folder that data may be read from in place. " + (
            f"Allowed: {', '.join(data_roots.split(ROOTS_SEPARATOR))}."
            if roots
            else "None is allowed here; set OCTAVO_DATA_ROOTS, or upload the data instead."
        )
        raise RequestRefused([Fault(("source", "path"), message)], code="path_not_allowed")
    return found


def _location(text: str) -> str | None:
    """The one URL of a place; None for what is neither an absolute path nor file:// nor s3://."""
    if text.startswith("s3://"):
        return _bucket_location(text)
    path = unquote(urlsplit(text).path) if text.startswith("file://") else text
    return Path(path).resolve().as_uri() if path.startswith("/") else None


def _bucket_location(text: str) -> str | None:
    parts = PurePosixPath(text.removeprefix("s3://")).parts
    return None if not parts or "/" in parts or ".." in parts else "s3://" + "/".join(parts)


def _lies_below(location: str, root: str) -> bool:
    return location == root or location.startswith(root.rstrip("/") + "/")


def pinned_events(session: Session, project_id: UUID, reference: str) -> str:
    """`name@version` of a ready data set of events.

    Raises:
        RequestRefused: there is none, or it holds other data.
    """
    try:
        version = datasets.resolve(session, project_id, reference)
        problem = None if version.kind == "events" else "It holds pictures; events are added to events only."
    except RegistryError as error:
        problem = str(error)
    if problem is not None:
        raise RequestRefused([Fault(("source", "recorded", "base"), problem)])
    return f"{parse_reference(reference).name}@{version.version}"
