"""`name`, `name@3`, `name@alias`: how people point at versions of models and data sets."""

import re
from dataclasses import dataclass

from libs.registry.errors import BadReference

_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?")
_ALIAS = re.compile(r"[a-z0-9._-]{1,64}")
NEWEST = "latest"
"""`name@latest` is the newest ready version; no alias may take this name."""
RESERVED_NAMES = frozenset({"compare"})
"""Words of the API's own addresses, as in `/v1/models/compare`: a model of such a name could not be reached."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A parsed reference: at most one of `version` and `alias` is set; neither means the newest ready version."""

    name: str
    version: int | None = None
    alias: str | None = None


def check_name(name: str) -> str:
    """`name` if it may name a model, data set or deployment.

    Raises:
        BadReference: other characters than lower-case letters, digits, dot, dash, underscore, more than 64 of them, or
            a word of `RESERVED_NAMES`.
    """
    if not _NAME.fullmatch(name):
        raise BadReference(
            f"{name[:80]!r} is not a name. Names are lower-case letters, digits, '.', '-' and '_', at most 64 of them, "
            f"and begin and end with a letter or digit{_like(name)}."
        )
    if name in RESERVED_NAMES:
        raise BadReference(f"{name!r} is a word of the API's own addresses. Choose another name.")
    return name


def _like(text: str) -> str:
    """The nearest name to a text, as the end of a sentence; nothing when none of its characters can stay."""
    kept = re.sub(r"[^a-z0-9._-]+", "-", text[:200].lower()).strip("._-")[:64].rstrip("._-")
    return f", like {kept!r}" if kept and kept not in RESERVED_NAMES else ""


def check_alias(alias: str) -> str:
    """`alias` if it may name an alias.

    Raises:
        BadReference: it has other characters, is all digits (that would be a version) or is `latest`.
    """
    if not _ALIAS.fullmatch(alias) or alias.isdigit() or alias == NEWEST:
        raise BadReference(
            f"{alias[:80]!r} is not an alias. An alias has lower-case letters, digits, '.', '-' and '_', is no number "
            f"and not {NEWEST!r}, which always means the newest ready version."
        )
    return alias


def parse_reference(text: str) -> Reference:
    """Split a reference into its parts.

    Raises:
        BadReference: it is not one of `name`, `name@3`, `name@alias`.
    """
    name, at, suffix = text.partition("@")
    check_name(name)
    if not at or suffix == NEWEST:
        return Reference(name)
    if suffix.isascii() and suffix.isdigit():
        if len(suffix) > 9 or int(suffix) == 0:
            raise BadReference(f"{text[:140]!r}: version numbers begin at 1 and have at most nine digits.")
        return Reference(name, version=int(suffix))
    return Reference(name, alias=check_alias(suffix))
