"""Form fields from a JSON Schema, and JSON back from what was typed into them.

A field's name in the form is its JSON pointer without the first slash, so that a problem finds its field. What is left
empty is left out of the JSON: the service's default stands, and the form shows it as a placeholder.

Objects in objects are fields of their own, `outer: inner`. Where a value may be one of several things (`anyOf`,
`oneOf`, or an object that may be left out) a choice says which, and each of them has its fields: those of the second
are named `pointer#2/…`, and those that were not chosen do not count.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Literal

from libs.web.problems import FieldProblem
from services.gateway.dashboard.formats import figure
from services.gateway.dashboard.forms import FormData

Kind = Literal["choice", "switch", "integer", "number", "mixed", "list", "json", "text", "union"]
Schema = Mapping[str, Any]
_DEEPEST = 6
"""Objects and choices below are typed in as JSON: so deep nobody reads a form, and a schema may go in circles."""
_SCALARS = ("string", "integer", "number", "boolean")


@dataclass(frozen=True, slots=True)
class Variant:
    """One of the things that a value may be.

    Attributes:
        place: what the form calls it, from 1.
        fields: what is typed in for it; none for a constant.
        constants: parts of an object that say which thing it is, and are not typed in; or the constant itself.
        begins: what an object holds before anything is typed in: the constants, and objects that it needs.
        is_object: whether the fields are properties of it; else its one field is the value.
    """

    place: str
    title: str
    help: str
    fields: tuple["Field", ...]
    constants: Any = None
    begins: Mapping[str, Any] = field(default_factory=dict)
    is_object: bool = False


@dataclass(frozen=True, slots=True)
class Field:
    """One input.

    Attributes:
        name: its path in the JSON, `config/beta`.
        options: of a choice.
        default: what stands when it is left empty, in words; empty when there is none.
        limits: the range of a number, in words.
        value: what is typed in; of a switch `true` or `false`, of a union the place of a variant.
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
    variants: tuple[Variant, ...] = ()

    @property
    def id(self) -> str:
        """An id for the page."""
        return self.name.replace("/", "-").replace("#", "_")

    @property
    def placeholder(self) -> str:
        """What an empty input shows."""
        return self.default or {"list": "a, b, c", "json": "{}"}.get(self.kind, "")


@dataclass(frozen=True, slots=True)
class Typed:
    """What a form should show: texts by field name, and what is wrong by JSON pointer without its first slash."""

    values: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def fields_of(schema: Schema, typed: Typed, prefix: str = "") -> list[Field]:
    """The inputs of an object's properties, those of objects in it among them, in the schema's order."""
    return list(_Reader(schema, typed).properties(schema, prefix, ""))


class _Reader:
    """Turns one schema into fields."""

    def __init__(self, root: Schema, typed: Typed) -> None:
        self._root, self._typed = root, typed

    def properties(self, node: Schema, prefix: str, outer: str, depth: int = 0) -> Iterator[Field]:
        required = node.get("required", ())
        for name, below in node.get("properties", {}).items():
            words = f"{outer}{name.replace('_', ' ')}"
            if "const" not in below:
                yield from self.value(below, f"{prefix}{name}", words, depth, required=name in required)

    def value(self, below: Schema, path: str, words: str, depth: int, *, required: bool) -> Iterator[Field]:
        """The field of a value, or those of an object's properties."""
        schema, options, optional = _options(below, self._root)
        left_out = optional and schema.get("default") is None
        of_objects = any(_is_object(option) for option in options)
        if depth >= _DEEPEST and (of_objects or len(options) > 1):
            yield self._field(path, words, {**schema, "type": "object"}, required=required)
        elif len(options) == 1 and not (of_objects and left_out):
            if of_objects:
                yield from self.properties(schema, f"{path}/", f"{words}: ", depth + 1)
            else:
                yield self._field(path, words, schema, required=required)
        elif all(option.get("type") in _SCALARS for option in options):
            yield self._field(path, words, _mixed(schema, options), required=required)
        else:
            yield self._union(path, words, schema, options, depth, required=required)

    def _union(
        self, path: str, words: str, schema: Schema, options: Sequence[Schema], depth: int, *, required: bool
    ) -> Field:
        variants = tuple(
            self._variant(option, f"{path}#{place}", str(place), depth) for place, option in enumerate(options, 1)
        )
        chosen = self._typed.values.get(path, "")
        inside = [one for variant in variants if variant.place == chosen for one in every(variant.fields)]
        elsewhere = {name for name in self._typed.errors if any(_is_about(name, one.name) for one in inside)}
        errors = {name: said for name, said in self._typed.errors.items() if name not in elsewhere}
        default = schema.get("default")
        return Field(
            name=path,
            label=words,
            kind="union",
            help=schema.get("description", ""),
            required=required,
            options=tuple(variant.place for variant in variants),
            default="" if default is None else text_of(default),
            value=chosen,
            errors=_errors(path, errors),
            variants=variants,
        )

    def _variant(self, option: Schema, path: str, place: str, depth: int) -> Variant:
        about = option.get("description", "")
        if "const" in option:
            return Variant(place, text_of(option["const"]), about, (), option["const"])
        if not _is_object(option):
            title = _WORDS.get(option.get("type", ""), "a value")
            given = next(self.value({**option, "description": ""}, path, title, depth + 1, required=True))
            return Variant(place, title, about, (given,))
        constants = {name: below["const"] for name, below in option["properties"].items() if "const" in below}
        fields = tuple(self.properties(option, f"{path}/", "", depth + 1))
        begins = {**self._needed(option, depth), **constants}
        return Variant(place, _title(option, constants), about, fields, constants, begins, is_object=True)

    def _needed(self, node: Schema, depth: int) -> dict[str, Any]:
        """The objects in an object that have no default, empty but for such objects in them."""
        found: dict[str, Any] = {}
        for name in node.get("required", ()):
            schema, options, _ = _options(node["properties"][name], self._root)
            if len(options) == 1 and _is_object(schema) and depth < _DEEPEST:
                found[name] = self._needed(schema, depth + 1)
        return found

    def _field(self, path: str, words: str, schema: Schema, *, required: bool) -> Field:
        default = schema.get("default")
        return Field(
            name=path,
            label=words,
            kind=_kind(schema),
            help=schema.get("description", ""),
            required=required,
            options=tuple(text_of(option) for option in schema.get("enum", ())),
            default="" if default is None else text_of(default),
            limits=_limits(schema),
            value=self._typed.values.get(path, ""),
            errors=_errors(path, self._typed.errors),
            of_items=_kind(schema.get("items", {})),
        )


_WORDS = {"string": "a text", "integer": "a number", "number": "a number", "boolean": "yes or no", "array": "a list"}


def _title(option: Schema, constants: Mapping[str, Any]) -> str:
    """What an object is called: by what tells it apart, else by its one needed property; never by a class of ours."""
    if constants:
        return ", ".join(text_of(value) for value in constants.values())
    required = option.get("required", ())
    if len(required) == 1:
        return str(required[0]).replace("_", " ")
    return "as follows"


def _options(node: Schema, root: Schema) -> tuple[dict[str, Any], list[dict[str, Any]], bool]:
    """A value's schema, the schemas it may have (`null` is none of them), and whether it may be null.

    The outer words, such as a default, are kept; with one option the schema is that option's, too.
    """
    outer = {key: value for key, value in node.items() if key not in ("$ref", "anyOf", "oneOf", "allOf")}
    if "$ref" in node:
        target = root["$defs"][node["$ref"].rpartition("/")[2]]
        return _options({**target, **outer}, root)
    given = [*node.get("anyOf", ()), *node.get("oneOf", ()), *node.get("allOf", ())]
    if not given:
        return dict(node), [dict(node)], False
    options: list[dict[str, Any]] = []
    optional = False
    for option in given:
        if option.get("type") == "null":
            optional = True
            continue
        _, inner, also = _options(option, root)
        options, optional = [*options, *inner], optional or also
    schema = {**options[0], **outer} if len(options) == 1 else outer
    return schema, options, optional


def _is_object(schema: Schema) -> bool:
    """Whether it has properties of its own; a table of any names is typed in as JSON."""
    return "properties" in schema


def _mixed(schema: Schema, options: Sequence[Schema]) -> Schema:
    """One input for a value that may be a number or a word."""
    kinds = {str(option["type"]) for option in options}
    words = [text_of(word) for option in options for word in option.get("enum", ())]
    if kinds <= {"integer", "number"}:
        return {**schema, "type": "number"}
    if len(words) and all("enum" in option for option in options):
        return {**schema, "enum": words}
    said = schema.get("description", "")
    given = f"A number, or {' or '.join(f'`{word}`' for word in words)}." if words else ""
    return {**schema, "type": "mixed", "description": f"{said} {given}".strip()}


def _kind(schema: Schema) -> Kind:
    if "enum" in schema:
        return "choice"
    kinds: dict[str, Kind] = {
        "boolean": "switch",
        "integer": "integer",
        "number": "number",
        "mixed": "mixed",
        "array": "list" if schema.get("items", {}).get("type") in _SCALARS else "json",
        "object": "json",
    }
    return kinds.get(schema.get("type", ""), "text")


def _limits(schema: Schema) -> str:
    signs = {"minimum": "\u2265", "exclusiveMinimum": ">", "maximum": "\u2264", "exclusiveMaximum": "<"}
    return ", ".join(f"{sign} {_plain(schema[name])}" for name, sign in signs.items() if name in schema)


def _plain(bound: float) -> str:
    return figure(int(bound) if bound == int(bound) else bound)


def _is_about(pointer: str, name: str) -> bool:
    """Whether a problem is about a field or about something inside of it.

    Of a value that may be several things a pointer may name which (`teacher/Train/model`), as a field does by `#2`.
    """
    pattern = "".join(r"(/[^/]+)?" if part else re.escape(text) for text, part in _parts(name))
    return re.fullmatch(f"{pattern}(/.*)?", pointer) is not None


def _parts(name: str) -> Iterator[tuple[str, bool]]:
    """The pieces of a name, and whether a piece is the mark of a variant."""
    for number, text in enumerate(re.split(r"(#\d+)", name)):
        yield text, bool(number % 2)


def _errors(name: str, errors: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """What is wrong with a field or with something inside of it, each thing once."""
    return tuple(dict.fromkeys(said for at, messages in errors.items() if _is_about(at, name) for said in messages))


def text_of(value: Any) -> str:
    """A JSON value as it is typed into its field."""
    if isinstance(value, list | tuple):
        plain = all(isinstance(one, str | int | float) and "," not in str(one) for one in value)
        return ", ".join(text_of(one) for one in value) if plain else json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False) if value else ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def typed_values(
    schema: Schema, value: Mapping[str, Any], prefix: str = "", *, defaults: bool = False
) -> dict[str, str]:
    """The texts that stand for a JSON object; where it has the default, nothing, unless `defaults`."""
    return dict(_texts(fields_of(schema, Typed(), prefix), value, prefix, defaults))


def _texts(fields: Sequence[Field], value: Mapping[str, Any], prefix: str, defaults: bool) -> Iterator[tuple[str, str]]:
    for one in fields:
        found = _at(value, one.name.removeprefix(prefix).split("/"))
        if found is None or (not defaults and text_of(found) == one.default):
            continue
        if one.kind != "union":
            yield one.name, text_of(found)
        elif variant := next((variant for variant in one.variants if _fits(variant, found)), None):
            yield one.name, variant.place
            if variant.is_object:
                yield from _texts(variant.fields, found, f"{one.name}#{variant.place}/", defaults)
            else:
                yield from ((given.name, text_of(found)) for given in variant.fields)


def _at(value: Any, path: Sequence[str]) -> Any:
    for step in path:
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _fits(variant: Variant, value: Any) -> bool:
    """Whether a value is this thing."""
    if not variant.is_object:
        if not variant.fields:
            return bool(value == variant.constants)
        return not isinstance(value, dict) and isinstance(value, list) == (variant.fields[0].kind in ("list", "json"))
    if not isinstance(value, dict) or any(value.get(name) != one for name, one in variant.constants.items()):
        return False
    tops = [re.split(r"#\d+/", one.name)[-1] for one in variant.fields]
    needed = {top for top, one in zip(tops, variant.fields, strict=True) if one.required and "/" not in top}
    known = {top.partition("/")[0] for top in tops} | set(variant.constants)
    return needed <= set(value) <= known


def every(fields: Sequence[Field]) -> Iterator[Field]:
    """The fields, and those of what was chosen among the things that a value may be; the inner ones first."""
    for one in fields:
        for variant in one.variants:
            if variant.place == one.value:
                yield from every(variant.fields)
        yield one


def json_of(fields: Sequence[Field], form: FormData) -> dict[str, Any]:
    """The JSON that was typed into `fields`. What does not fit its field stays a text, which validation then names."""
    found: dict[str, Any] = {}
    for path, value in _typed_in(fields, form, ""):
        _put(found, path, value)
    return found


def _typed_in(fields: Sequence[Field], form: FormData, prefix: str) -> Iterator[tuple[list[str], Any]]:
    for one in fields:
        given = _given(one, form)
        if given is not None:
            yield one.name.removeprefix(prefix).split("/"), given


def _given(one: Field, form: FormData) -> Any:
    """What was typed into a field; None: nothing."""
    text = form.get(one.name)
    if one.kind == "union":
        variant = next((variant for variant in one.variants if variant.place == text), None)
        return None if variant is None else _given_as(variant, f"{one.name}#{variant.place}/", form)
    if one.kind == "switch":
        text = "true" if text else "false"
        text = "" if text == (one.default or "false") else text
    return _value(one, text) if text else None


def _given_as(variant: Variant, prefix: str, form: FormData) -> Any:
    if variant.is_object:
        found = deepcopy(dict(variant.begins))
        for path, value in _typed_in(variant.fields, form, prefix):
            _put(found, path, value)
        return found
    return _given(variant.fields[0], form) if variant.fields else variant.constants


def _put(target: dict[str, Any], path: list[str], value: Any) -> None:
    for step in path[:-1]:
        target = target.setdefault(step, {})
    target[path[-1]] = value


def _value(one: Field, text: str) -> Any:
    try:
        if one.kind == "list" and text.startswith("["):
            return json.loads(text)
        if one.kind == "list":
            return [_scalar(one.of_items, part.strip()) for part in text.split(",") if part.strip()]
        return json.loads(text) if one.kind == "json" else _scalar(one.kind, text)
    except (ValueError, RecursionError):  # the latter of brackets in brackets without end
        return text


def _scalar(kind: Kind, text: str) -> Any:
    try:
        match kind:
            case "switch":
                return text == "true"
            case "integer":
                return int(text)
            case "number":
                return float(text)
            case "mixed":
                return int(text) if text.lstrip("-").isdigit() else float(text)
            case "choice":
                return int(text) if text.lstrip("-").isdigit() else text
    except ValueError:
        return text
    return text


def untouched(fields: Sequence[Field]) -> Iterator[tuple[str, str]]:
    """What a browser sends of a form in which nothing was changed: names and texts, also of what is not chosen."""
    for one in fields:
        if one.kind != "switch":
            yield one.name, one.value
        elif (one.value or one.default) == "true":
            yield one.name, "true"
        for variant in one.variants:
            yield from untouched(variant.fields)


def shown_values(fields: Sequence[Field], form: FormData) -> dict[str, str]:
    """What was typed, to be shown again; also into what was not chosen."""
    found: dict[str, str] = {}
    for one in fields:
        text = form.get(one.name)
        found[one.name] = ("true" if text else "false") if one.kind == "switch" else text
        for variant in one.variants:
            found |= shown_values(variant.fields, form)
    return found


def about(problem: FieldProblem, fields: Sequence[Field]) -> tuple[Field | None, str]:
    """The field of a form that a problem is about, if it is about one, and what is wrong."""
    name = problem.pointer.removeprefix("/")
    return next((one for one in every(fields) if _is_about(name, one.name)), None), problem.message


def by_field(errors: Sequence[FieldProblem]) -> dict[str, tuple[str, ...]]:
    """Messages by the pointer to what they are about."""
    found: dict[str, tuple[str, ...]] = {}
    for error in errors:
        name = error.pointer.removeprefix("/")
        found[name] = (*found.get(name, ()), error.message)
    return found
