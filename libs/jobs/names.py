"""Names and references in requests, checked where they are read."""

from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

from libs.registry.errors import BadReference
from libs.registry.references import check_name, parse_reference


def _usable(name: str) -> str:
    try:
        return check_name(name)
    except BadReference as error:
        raise ValueError(str(error)) from None


def readable(reference: str) -> str:
    """The reference, if it is one.

    Raises:
        ValueError: it is not `name`, `name@3` or `name@alias`.
    """
    try:
        parse_reference(reference)
    except BadReference as error:
        raise ValueError(str(error)) from None
    return reference


_NAME_PATTERN = "[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?"

Name = Annotated[
    str,
    AfterValidator(_usable),
    WithJsonSchema({"type": "string", "pattern": f"^{_NAME_PATTERN}$", "maxLength": 64}),
]
"""Lower-case letters, digits, dot, dash, underscore; at most 64; no word of the API's own addresses."""

Reference = Annotated[
    str,
    AfterValidator(readable),
    WithJsonSchema({"type": "string", "pattern": f"^{_NAME_PATTERN}(@[a-z0-9._-]{{1,64}})?$", "maxLength": 129}),
]
"""`name`, `name@3` (a version) or `name@production` (an alias). Without a suffix: the newest ready version."""
