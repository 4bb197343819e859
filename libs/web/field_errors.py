"""What pydantic says of a wrong field, in words that say what to do: one place for every request."""

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import GetPydanticSchema, TypeAdapter
from pydantic_core import core_schema

Path = tuple[str | int, ...]
FieldNames = Callable[[Path], Sequence[str]]
"""The fields that the object at a path of the body may have."""

_MESSAGES = {
    "missing": "This field is required.",
    "model_type": "This should be a JSON object.",
    "model_attributes_type": "This should be a JSON object.",
    "dict_type": "This should be a JSON object.",
    "finite_number": "This should be a finite number.",
}
_COMPARED = ("greater_than", "less_than")
_LISTED_AT_MOST = 40


def in_words(message: str) -> GetPydanticSchema:
    """For `Annotated`: what is said of a value, whichever constraint it breaks."""
    return GetPydanticSchema(
        lambda kind, handler: core_schema.custom_error_schema(
            handler(kind), custom_error_type="wrong_value", custom_error_message=message
        )
    )


def suggestion(name: str, known: Iterable[str]) -> str:
    """The names most like `name`, or all of them, as the end of a message."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return f" Did you mean {' or '.join(map(repr, near))}?"
    return f" Known: {', '.join(names[:_LISTED_AT_MOST])}." if names else " None is taken here."


def message_of(error: Mapping[str, Any], names: FieldNames | None = None) -> str:
    """The message of one of pydantic's errors; `names` are looked up for an unknown field."""
    kind, path = error["type"], tuple(error["loc"])
    if kind == "extra_forbidden" and names is not None:
        return "There is no such field." + suggestion(str(path[-1]), names(path[:-1]))
    if kind == "missing" and not path:
        return "The body is missing; send a JSON object."
    if kind.startswith(_COMPARED) and str(error.get("input")).lower() == "nan":  # it fails every comparison
        kind = "finite_number"
    if kind in _MESSAGES:
        return _MESSAGES[kind]
    return str(error["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")


def names_in(kind: Any) -> FieldNames:
    """The fields of `kind` (a pydantic model or any type pydantic knows) and of what it contains."""

    def names(path: Path) -> list[str]:
        root = _schema_of(kind)
        nodes = _branches(root, root)
        for step in path:
            nodes = [branch for node in nodes for below in _below(node, step) for branch in _branches(below, root)]
        return sorted({name for node in nodes for name in node.get("properties", {})})

    return names


@cache
def _schema_of(kind: Any) -> dict[str, Any]:
    return TypeAdapter(kind).json_schema()


def _below(node: Mapping[str, Any], step: str | int) -> list[dict[str, Any]]:
    found = node.get("items") if isinstance(step, int) else node.get("properties", {}).get(step)
    found = found or node.get("additionalProperties")
    return [found] if isinstance(found, dict) else []


def _branches(node: dict[str, Any], root: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The schemas a value at this node may follow, references and unions resolved."""
    if "$ref" in node:
        return _branches(root["$defs"][node["$ref"].rpartition("/")[2]], root)
    options = [*node.get("anyOf", ()), *node.get("oneOf", ()), *node.get("allOf", ())]
    return [branch for option in options for branch in _branches(option, root)] or [node]
