"""What can go wrong in the registry. Callers map the three branches to 404, 409 and 422.

RegistryError
├── NotFoundError
│   ├── ModelNotFound · VersionNotFound · AliasNotFound
│   ├── DatasetNotFound · DatasetVersionNotFound
│   └── DeploymentNotFound · UploadNotFound
├── ConflictError
│   ├── NameTaken
│   ├── AliasConflict
│   └── InUse
└── InvalidError
    ├── NotReady
    ├── BadReference
    ├── TrafficRefused
    └── ImportRefused
"""

import difflib
from collections.abc import Iterable, Sequence


class RegistryError(Exception):
    """A request the registry cannot fulfil; the message says why and what to do next."""

    code = "registry_error"


class NotFoundError(RegistryError):
    """Something asked for by name does not exist.

    Attributes:
        nearest: existing names that look alike, best first.
    """

    code = "not_found"

    def __init__(self, message: str, nearest: Sequence[str] = ()) -> None:
        self.nearest = list(nearest)
        hint = f" Did you mean {' or '.join(repr(name) for name in nearest)}?" if nearest else ""
        super().__init__(message + hint)


class ModelNotFound(NotFoundError):
    code = "model_not_found"


class VersionNotFound(NotFoundError):
    code = "version_not_found"


class AliasNotFound(NotFoundError):
    code = "alias_not_found"


class DatasetNotFound(NotFoundError):
    code = "dataset_not_found"


class DatasetVersionNotFound(NotFoundError):
    code = "dataset_version_not_found"


class DeploymentNotFound(NotFoundError):
    code = "deployment_not_found"


class UploadNotFound(NotFoundError):
    code = "upload_not_found"


class ConflictError(RegistryError):
    """The request contradicts what is there."""

    code = "conflict"


class NameTaken(ConflictError):
    code = "name_taken"


class AliasConflict(ConflictError):
    """The alias is at another revision than the caller expected.

    Attributes:
        revision: the revision it is at, or None when the alias does not exist.
    """

    code = "alias_conflict"

    def __init__(self, alias: str, expected: int | None, revision: int | None) -> None:
        self.revision = revision
        wanted = "not to exist" if expected is None else f"to be at revision {expected}"
        found = "it does not exist" if revision is None else f"it is at revision {revision}"
        super().__init__(f"Alias {alias!r} was expected {wanted}, but {found}. Read it again and decide anew.")


class InUse(ConflictError):
    code = "in_use"


class InvalidError(RegistryError):
    """The request can never be fulfilled as it stands."""

    code = "invalid"


class NotReady(InvalidError):
    code = "not_ready"


class BadReference(InvalidError):
    code = "bad_reference"


class TrafficRefused(InvalidError):
    """A deployment may not share its requests so.

    Attributes:
        arm: the other deployment that is at fault; None: the deployment itself is.
    """

    code = "traffic_refused"

    def __init__(self, message: str, arm: str | None = None) -> None:
        self.arm = arm
        super().__init__(message)


class ImportRefused(InvalidError):
    """A model file from outside cannot be taken; trying again cannot help."""

    code = "import_refused"
    user_error = True


MOST_NAMES = 1000
"""Names that are looked through for the one that was probably meant."""


def nearest_names(name: str, names: Iterable[str]) -> list[str]:
    """Up to three existing names that look like `name`, best first."""
    return difflib.get_close_matches(name, list(names), n=3, cutoff=0.5)
