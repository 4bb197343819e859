"""Form fields from a JSON Schema, and JSON back from what was typed into them.

A field's name in the form is its JSON pointer without the first slash, so that a problem finds its field. What is left
empty is left out of the JSON: the service's default stands, and the form shows it as a placeholder.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from libs.web.problems import FieldProblem
from services.gateway.dashboard.formats import figure
from services.gateway.dashboard.forms import FormData

Kind = Literal["choice", "switch", "integer", "number", "list", "json", "text"]
Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Field:
    """One input.

    Attributes:
        name: its path in the JSON, `config/beta`.
        options: of a choice.
        default: what stands when it is left empty, in words; empty when there is none.
        limits: the range of a number, in words.
        value: what is typed in; of a switch `true` or `false`.
        of_items: of a list, the kind of its items.
    """

    name: str
    label: str
    kind: Kind
    help: str = ""
    required: bool = False
    options: tuple[str, ...] = ()
    default: str = ""
    limits: str = ""
    value: str = ""
    errors: tuple[str, ...] = ()
    of_items: Kind = "text"

    @property
    def id(self) -> str:
        """An id for the page."""
        return self.name.replace("/", "-")


@dataclass(frozen=True, slots=True)
class Typed:
    """What a form should show: texts by field name, and what is wrong by field name."""

    values: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def fields_of(schema: Schema, typed: Typed, prefix: str = "") -> list[Field]:
    """The inputs of an object's properties, those of objects in it among them, in the schema's order."""
    return list(_fields(schema, schema, typed, prefix))


def _fields(node: Schema, root: Schema, typed: Typed, prefix: str) -> Iterator[Field]:
    required = node.get("required", ())
    for name, below in node.get("properties", {}).items():
        resolved, path = _resolved(below, root), f"{prefix}{name}"
        if "properties" in resolved:
            yield from _fields(resolved, root, typed, f"{path}/")
        else:
            yield _field(path, name, resolved, typed, required=name in required)


def _resolved(node: Schema, root: Schema) -> dict[str, Any]:
    """The schema of a value that is there: references followed, `null` left out, the outer words kept."""
    outer = {key: value for key, value in node.items() if key not in ("$ref", "anyOf")}
    if "$ref" in node:
        return {**root["$defs"][node["$ref"].rpartition("/")[2]], **outer}
    options = [option for option in node.get("anyOf", ()) if option.get("type") != "null"]
    return {**_resolved(options[0], root), **outer} if options else dict(node)


def _field(path: str, name: str, schema: Schema, typed: Typed, *, required: bool) -> Field:
    kind = _kind(schema)
    default = schema.get("default")
    return Field(
        name=path,
        label=name.replace("_", " "),
        kind=kind,
        help=schema.get("description", ""),
        required=required,
        options=tuple(str(option) for option in schema.get("enum", ())),
        default="" if default is None else text_of(default),
        limits=_limits(schema),
        value=typed.values.get(path, ""),
        errors=_errors(path, typed.errors),
        of_items=_kind(schema.get("items", {})),
    )


def _kind(schema: Schema) -> Kind:
    if "enum" in schema:
        return "choice"
    kinds: dict[str, Kind] = {
        "boolean": "switch",
        "integer": "integer",
        "number": "number",
        "array": "list",
        "object": "json",
    }
    return kinds.get(schema.get("type", ""), "text")


def _limits(schema: Schema) -> str:
    signs = {"minimum": "\u2265", "exclusiveMinimum": ">", "maximum": "\u2264", "exclusiveMaximum": "<"}
    return ", ".join(f"{sign} {_plain(schema[name])}" for name, sign in signs.items() if name in schema)


def _plain(bound: float) -> str:
    return figure(int(bound) if bound == int(bound) else bound)


def _errors(path: str, errors: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """What is wrong with a field or with something inside of it."""
    return tuple(
        message for at, messages in errors.items() if at == path or at.startswith(f"{path}/") for message in messages
    )


def text_of(value: Any) -> str:
    """A JSON value as it is typed into its field."""
    if isinstance(value, list | tuple):
        return ", ".join(text_of(one) for one in value)
    if isinstance(value, dict):
        return json.dumps(value) if value else ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def typed_values(schema: Schema, value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """The texts that stand for a JSON object; where it has the default, nothing."""
    return dict(_texts(schema, schema, value, prefix))


def _texts(node: Schema, root: Schema, value: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for name, below in node.get("properties", {}).items():
        resolved, found = _resolved(below, root), value.get(name)
        if "properties" in resolved:
            yield from _texts(resolved, root, found or {}, f"{prefix}{name}/")
        elif found is not None and found != resolved.get("default"):
            yield f"{prefix}{name}", text_of(found)


def json_of(fields: list[Field], form: FormData) -> dict[str, Any]:
    """The JSON that was typed into `fields`. What does not fit its field stays a text, which validation then names."""
    found: dict[str, Any] = {}
    for one in fields:
        text = form.get(one.name)
        if one.kind == "switch":
            text = "true" if text else "false"
            text = "" if text == (one.default or "false") else text
        if text:
            _put(found, one.name.split("/"), _value(one.kind, text, one.of_items))
    return found


def _put(target: dict[str, Any], path: list[str], value: Any) -> None:
    for step in path[:-1]:
        target = target.setdefault(step, {})
    target[path[-1]] = value


def _value(kind: Kind, text: str, of_items: Kind = "text") -> Any:
    if kind == "list":
        return [_value(of_items, part.strip()) for part in text.split(",") if part.strip()]
    try:
        match kind:
            case "switch":
                return text == "true"
            case "integer":
                return int(text)
            case "number":
                return float(text)
            case "json":
                return json.loads(text)
            case "choice":
                return int(text) if text.lstrip("-").isdigit() else text
    except ValueError:
        return text
    return text


def shown_values(fields: list[Field], form: FormData) -> dict[str, str]:
    """What was typed, to be shown again."""
    switches = {one.name: "true" if form.get(one.name) else "false" for one in fields if one.kind == "switch"}
    return {**{one.name: form.get(one.name) for one in fields}, **switches}


def about(problem: FieldProblem, fields: list[Field]) -> tuple[Field | None, str]:
    """The field of a form that a problem is about, if it is about one, and what is wrong."""
    name = problem.pointer.removeprefix("/")
    found = (one for one in fields if name == one.name or name.startswith(f"{one.name}/"))
    return next(found, None), problem.message


def by_field(errors: Sequence[FieldProblem]) -> dict[str, tuple[str, ...]]:
    """Messages by the name of the field, or of the part of it, that they are about."""
    found: dict[str, tuple[str, ...]] = {}
    for error in errors:
        name = error.pointer.removeprefix("/")
        found[name] = (*found.get(name, ()), error.message)
    return found
