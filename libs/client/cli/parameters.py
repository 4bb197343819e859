"""`--set name=value` and `--grid name=a,b` against a method's JSON Schema: the schema is the only list of flags."""

import difflib
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import typer

Schema = Mapping[str, Any]
_UNITS_S = {"h": 3600.0, "d": 86_400.0, "w": 7 * 86_400.0}


def parse_settings(texts: Iterable[str], schema: Schema) -> dict[str, Any]:
    """`["lr=0.1", "mix=mixup"]` → values of the types the schema wants.

    Raises:
        typer.BadParameter: an unknown name (the nearest are given) or a value of the wrong type or range.
    """
    values: dict[str, Any] = {}
    for text in texts:
        name, value = _split(text)
        values[name] = parse_value(name, value, _property(name, schema), schema)
    return values


def parse_grid(texts: Iterable[str], schema: Schema) -> list[dict[str, Any]]:
    """`["lr=0.1,0.05", "beta=10,100"]` → every combination; `[{}]` without any."""
    axes = []
    for text in texts:
        name, value = _split(text)
        wanted = _property(name, schema)
        axes.append([(name, parse_value(name, one, wanted, schema)) for one in _split_list(value)])
    return [dict(combination) for combination in itertools.product(*axes)]


def parse_seeds(text: str | None) -> list[int]:
    """`0,1,2` or `0-4` → seeds."""
    if text is None:
        return []
    try:
        seeds = [seed for part in text.split(",") for seed in _seed_range(part)]
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a list of seeds such as 0,1,2 or 0-4.") from None
    if len(set(seeds)) < len(seeds):
        raise typer.BadParameter(f"{text!r} names a seed twice; the two jobs would be the same.")
    return seeds


def parse_age(text: str) -> float:
    """`30d`, `12h`, `2w` → seconds."""
    number, unit = text[:-1], text[-1:]
    if not number.isdecimal() or unit not in _UNITS_S:
        raise typer.BadParameter(f"{text!r} is not an age such as 30d, 12h or 2w.")
    return float(number) * _UNITS_S[unit]


def _seed_range(part: str) -> range:
    first, _, last = part.partition("-")
    found = range(int(first), int(last or first) + 1)
    if not found or len(found) > 1000:
        raise ValueError(part)
    return found


def _split(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise typer.BadParameter(f"{text!r} is not of the form name=value.")
    return name.strip(), value.strip()


def _split_list(text: str) -> list[str]:
    """Commas separate, except inside brackets: `[0.3,0.6],[0.5]` are two."""
    parts, depth, start = [], 0, 0
    for place, letter in enumerate(text):
        depth += (letter in "[{") - (letter in "]}")
        if letter == "," and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    return [part.strip() for part in [*parts, text[start:]]]


def _property(name: str, schema: Schema) -> Schema:
    properties = schema.get("properties", {})
    if name in properties:
        found: Schema = properties[name]
        return found
    near = difflib.get_close_matches(name, properties, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    raise typer.BadParameter(f"There is no hyper-parameter {name!r}.{hint} There are: {', '.join(sorted(properties))}.")


def parse_value(name: str, text: str, wanted: Schema, root: Schema) -> Any:
    """One value of the type the schema wants.

    Raises:
        typer.BadParameter: it fits none of the allowed types, or is out of range.
    """
    problems = []
    for option in _options(wanted, root):
        value, problem = _try(text, option)
        if problem is None:
            return value
        problems.append(problem)
    raise typer.BadParameter(f"{name}={text}: {'; '.join(dict.fromkeys(problems))}.")


def resolved(wanted: Schema, root: Schema) -> Schema:
    """The schema a `$ref` points at; others as they are."""
    if "$ref" not in wanted:
        return wanted
    found: Schema = root.get("$defs", {}).get(str(wanted["$ref"]).rsplit("/", 1)[-1], {})
    return resolved(found, root)


def _options(wanted: Schema, root: Schema) -> Sequence[Schema]:
    found = resolved(wanted, root)
    if "anyOf" in found:
        return [inner for option in found["anyOf"] for inner in _options(option, root)]
    return [found]


def _try(text: str, wanted: Schema) -> tuple[Any, str | None]:
    """The value, or what is wrong with it."""
    kind = wanted.get("type")
    if kind == "null":
        return None, None if text.lower() in ("", "null", "none") else "or none"
    if kind == "string" or "enum" in wanted or "const" in wanted:
        return text, _not_listed(text, wanted)
    try:
        value = json.loads(text.lower() if kind == "boolean" else text)
    except ValueError:
        return None, f"want {_KINDS.get(str(kind), str(kind))}"
    if not _is_kind(value, str(kind)):
        return None, f"want {_KINDS.get(str(kind), str(kind))}"
    return value, _out_of_range(value, wanted)


_KINDS = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list such as [0.5, 0.75]",
    "object": "a JSON object",
}


def _is_kind(value: object, kind: str) -> bool:
    checks = {
        "integer": isinstance(value, int) and not isinstance(value, bool),
        "number": isinstance(value, int | float) and not isinstance(value, bool),
        "boolean": isinstance(value, bool),
        "array": isinstance(value, list),
        "object": isinstance(value, dict),
    }
    return checks.get(kind, True)


def _not_listed(text: str, wanted: Schema) -> str | None:
    listed = wanted.get("enum") or ([wanted["const"]] if "const" in wanted else None)
    return None if listed is None or text in listed else f"want one of {', '.join(map(str, listed))}"


def _out_of_range(value: object, wanted: Schema) -> str | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    fits = (
        value >= wanted.get("minimum", value)
        and value <= wanted.get("maximum", value)
        and ("exclusiveMinimum" not in wanted or value > wanted["exclusiveMinimum"])
        and ("exclusiveMaximum" not in wanted or value < wanted["exclusiveMaximum"])
    )
    return None if fits else f"want {describe_range(wanted)}"


def describe_range(wanted: Schema) -> str:
    """The allowed values in a few words: `0 to 1000`, `above 0`, `sgd | adamw`."""
    if "anyOf" in wanted:
        return " or ".join(filter(None, (describe_range(option) or _name(option) for option in wanted["anyOf"])))
    if "enum" in wanted:
        return " | ".join(map(str, wanted["enum"]))
    low, high = wanted.get("minimum"), wanted.get("maximum")
    above, below = wanted.get("exclusiveMinimum"), wanted.get("exclusiveMaximum")
    parts = []
    if low is not None and high is not None:
        parts.append(f"{_number(low)} to {_number(high)}")
    else:
        parts += [f"{_number(low)} or more"] if low is not None else []
        parts += [f"at most {_number(high)}"] if high is not None else []
    parts += [f"above {_number(above)}"] if above is not None else []
    parts += [f"below {_number(below)}"] if below is not None else []
    return ", ".join(parts)


def _name(wanted: Schema) -> str:
    return "none" if wanted.get("type") == "null" else ""


def _number(value: float) -> str:
    return f"{value:.10g}"


def kind_of(wanted: Schema) -> str:
    """The type in one word."""
    if "anyOf" in wanted:
        kinds = [kind_of(option) for option in wanted["anyOf"] if option.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in wanted:
        return "choice"
    names = {"integer": "int", "number": "float", "boolean": "bool", "string": "text", "array": "list"}
    return names.get(str(wanted.get("type", "")), str(wanted.get("type", "")))
