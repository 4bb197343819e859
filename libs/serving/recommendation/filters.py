"""Which items a request allows, by their features.

    {"category": {"in": ["book", "game"]}, "price": {">=": 5, "<": 20}, "brand": {"not_in": ["x"]},
     "genres": {"has": ["Comedy"], "has_not": ["Horror"]}, "year": {"missing": true}}

An item passes when every condition holds. Numbers know `<`, `<=`, `>`, `>=`, `in` and `not_in`; text and categories
know `in` and `not_in`, which compare the whole text, and `has`, `has_all` and `has_not`, which compare its parts
between bars (`Action|Comedy`): any, all or none of the values. All know `missing`. An item that lacks a feature passes
`not_in`, `has_not` and `"missing": true` alone.
"""

import hashlib
import json
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from libs.data.manifest import ItemFeature
from libs.registry.errors import nearest_names
from libs.serving.errors import InputProblem, RequestError
from libs.serving.recommendation.request import Filters
from libs.serving.recommendation.several import SEPARATOR, PartsOperator, SeveralValues

Mask = NDArray[np.bool_]

MOST_CONDITIONS = 64
MOST_VALUES = 1_000
MOST_CHARS = 1_000
MOST_FILTER_BYTES = 64 * 2**10
_CACHED_BYTES = 16 * 2**20
_ENTRY_BYTES = 256  # of the cache beside the bits: key, array and dictionary
_COMPARISONS = ("<", "<=", ">", ">=")
_SETS = ("in", "not_in")
_PARTS: tuple[PartsOperator, ...] = get_args(PartsOperator)


@dataclass(frozen=True, slots=True)
class Blocked:
    """Items that do not pass, a bit each: requests with one filter share 125 kB for a million items, not 1 MB each."""

    bits: NDArray[np.uint8]
    count: int

    def mask(self) -> Mask:
        """By item number, [I + 1]; padding is blocked."""
        return np.unpackbits(self.bits, count=self.count).view(np.bool_)


class _Parts(NamedTuple):
    """A condition on the parts of a text, told from the frame only when it is needed."""

    feature: str
    operator: PartsOperator
    values: list[str]


_Condition = pl.Expr | _Parts


class ItemFilters:
    """Compiles filters to masks, and remembers the latest as bits, up to 16 MB of them."""

    def __init__(self, frame: pl.DataFrame, features: list[ItemFeature]) -> None:
        """Filters on `frame`, whose rows are the items from number 1."""
        self._frame = frame
        self._several = SeveralValues(frame)
        self._types: dict[str, str] = {feature.name: feature.type for feature in features}
        self._cached: OrderedDict[bytes, NDArray[np.uint8]] = OrderedDict()
        self._most_cached = max(1, _CACHED_BYTES // (len(frame) // 8 + 1 + _ENTRY_BYTES))
        self._lock = threading.Lock()

    def blocked(self, filters: Filters) -> Blocked:
        """Which items do not pass.

        Raises:
            RequestError: a feature is unknown, a condition is none that its type has, or they are more than 64 KiB.
        """
        conditions = list(_conditions(filters, self._types))
        key = _digest(filters)
        with self._lock:
            bits = self._cached.get(key)
            if bits is not None:
                self._cached.move_to_end(key)
        if bits is None:
            bits = self._compile(conditions)
            self._remember(key, bits)
        return Blocked(bits, len(self._frame) + 1)

    def _compile(self, conditions: list[_Condition]) -> NDArray[np.uint8]:
        told = [self._several.passing(*one) if isinstance(one, _Parts) else one for one in conditions]
        passes = self._frame.select(pl.all_horizontal(told).fill_null(value=False).alias("passes"))["passes"]
        return np.packbits(np.concatenate([np.ones(1, np.bool_), ~passes.to_numpy()]))

    def _remember(self, key: bytes, bits: NDArray[np.uint8]) -> None:
        with self._lock:
            self._cached[key] = bits
            while len(self._cached) > self._most_cached:
                self._cached.popitem(last=False)


def _digest(filters: Filters) -> bytes:
    text = json.dumps(filters, sort_keys=True, separators=(",", ":")).encode()
    if len(text) > MOST_FILTER_BYTES:
        raise _problem("/filters", f"{len(text)} bytes as JSON; at most {MOST_FILTER_BYTES} are read.")
    return hashlib.sha256(text).digest()


def _conditions(filters: Filters, types: dict[str, str]) -> Iterator[_Condition]:
    count = 0
    for name, conditions in filters.items():
        pointer = f"/filters/{_escaped(name)}"
        if name not in types:
            raise _problem(pointer, _unknown("item feature", name, list(types)))
        if not conditions:
            raise _problem(pointer, f"no condition; say one of {', '.join(_operators(types[name]))}.")
        for operator, value in conditions.items():
            count += 1
            if count > MOST_CONDITIONS:
                raise _problem("/filters", f"more than {MOST_CONDITIONS} conditions.")
            yield _condition(f"{pointer}/{_escaped(operator)}", name, types[name], operator, value)
    if not count:
        raise _problem("/filters", "no condition; leave `filters` out to allow every item.")


def _condition(pointer: str, name: str, kind: str, operator: str, value: Any) -> _Condition:
    column = pl.col(name)
    if operator not in _operators(kind):
        raise _problem(pointer, _unknown(f"condition of a {kind}", operator, _operators(kind)))
    if operator == "missing":
        if not isinstance(value, bool):
            raise _problem(pointer, "expected true or false.")
        return column.is_null() if value else column.is_not_null()
    if operator in _SETS:
        among = column.is_in(_values(pointer, kind, value))
        return among if operator == "in" else ~among.fill_null(value=False)
    if operator in _PARTS:
        return _Parts(name, operator, _parts(pointer, kind, value))
    number = _value(pointer, kind, value)
    return {"<": column.lt, "<=": column.le, ">": column.gt, ">=": column.ge}[operator](number)


def _values(pointer: str, kind: str, values: Any) -> list[str | float]:
    if not isinstance(values, list | tuple):
        raise _problem(pointer, "expected a list.")
    if len(values) > MOST_VALUES:
        raise _problem(pointer, f"{len(values)} values; at most {MOST_VALUES} are read.")
    return [_value(f"{pointer}/{place}", kind, value) for place, value in enumerate(values)]


def _parts(pointer: str, kind: str, values: Any) -> list[str]:
    found = [str(value) for value in _values(pointer, kind, values)]
    for place, value in enumerate(found):
        if SEPARATOR in value:
            raise _problem(f"{pointer}/{place}", f"{SEPARATOR!r} stands between values; give each by itself.")
    return found


def _value(pointer: str, kind: str, value: Any) -> str | float:
    if kind == "number":
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
            raise _problem(pointer, "expected a finite number; the feature is one.")
        return float(value)
    if not isinstance(value, str) or len(value) > MOST_CHARS:
        raise _problem(pointer, f"expected text of at most {MOST_CHARS} characters; the feature is a {kind}.")
    return value


def _operators(kind: str) -> tuple[str, ...]:
    return (*_COMPARISONS, *_SETS, "missing") if kind == "number" else (*_SETS, *_PARTS, "missing")


def _unknown(what: str, name: str, known: list[str] | tuple[str, ...]) -> str:
    nearest = nearest_names(name[:64], known)
    hint = f"Did you mean {' or '.join(repr(one) for one in nearest)}?" if nearest else ""
    names = ", ".join(known) or "none"
    return f"no {what} is called {name[:64]!r}. {hint or f'There are: {names[:500]}.'}"


def _escaped(step: str) -> str:
    """A step of a JSON pointer (RFC 6901)."""
    return step[:64].replace("~", "~0").replace("/", "~1")


def _problem(pointer: str, message: str) -> RequestError:
    return RequestError(InputProblem(pointer, message))
