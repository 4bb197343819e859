"""`octavo recommend` and `octavo similar`."""

import math
import re
import uuid
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from libs.client.cli.output import AsJson, connect, console, print_json, print_table

if TYPE_CHECKING:
    from libs.client.recommendations import Recommendation, RecommendedItem


class Explain(StrEnum):
    """How much is said about why."""

    NONE = "none"
    BASIC = "basic"
    FULL = "full"


class Fallback(StrEnum):
    """What answers where no item of the history that the model reads had events in training."""

    SIMILAR = "similar"
    POPULAR = "popular"
    ERROR = "error"


K = Annotated[int, typer.Option("-k", min=1, max=200, help="How many items.")]
Filter = Annotated[
    list[str] | None,
    typer.Option(
        "--filter",
        help='genre=comedy,drama · genre!=horror · price<=10 · shelf="17" for a category of digits · '
        "genres~comedy,drama: any of several joined by bars · genres!~horror: none of them.",
    ),
]


def recommend(
    deployment: Annotated[str, typer.Argument(help="A deployment of a model that recommends.")],
    items: Annotated[str | None, typer.Option(help="A history: item ids, oldest first, as a,b,c.")] = None,
    user: Annotated[str | None, typer.Option(help="A user whose events Octavo has.")] = None,
    session: Annotated[str | None, typer.Option(help="A session whose events Octavo has.")] = None,
    append: Annotated[
        str | None, typer.Option(help="With --session: items that it has just seen, as a,b,c; stored first.")
    ] = None,
    k: K = 10,
    filters: Filter = None,
    exclude: Annotated[str | None, typer.Option(help="Items to leave out, as a,b,c.")] = None,
    seen: Annotated[
        bool | None,
        typer.Option("--seen/--no-seen", help="Whether items of the history come too; else as it was made."),
    ] = None,
    diversity: Annotated[float, typer.Option(min=0, max=1, help="0 ranks by score alone, 1 by unlikeness.")] = 0.0,
    fallback: Annotated[
        Fallback,
        typer.Option(
            help="What answers when the model learnt of no item of the history: items like the newest, if known."
        ),
    ] = Fallback.SIMILAR,
    explain: Annotated[Explain, typer.Option(help="Say why.")] = Explain.NONE,
    as_json: AsJson = False,
) -> None:
    """The best next items after a history, or for a user or a session."""
    if sum(one is not None for one in (items, user, session)) != 1:
        raise typer.BadParameter("Give one of --items, --user and --session.")
    if append is not None and session is None:
        raise typer.BadParameter("--append needs --session.")
    history = listed(items) if items is not None else None
    wanted = parse_filters(filters or []) or None
    options: dict[str, Any] = {"append": events_of(listed(append))} if append is not None else {}
    if exclude is not None:
        options["exclude_items"] = listed(exclude)
    if seen is not None:
        options["exclude_seen"] = not seen
    if diversity:
        options["diversity"] = diversity
    if fallback is not Fallback.SIMILAR:
        options["fallback"] = fallback.value
    with connect() as octavo:
        answer = octavo.recommendations.recommend(
            deployment, history, user_id=user, session_id=session, k=k, filters=wanted, explain=explain.value, **options
        )
    _show(answer, deployment, as_json, why=explain is not Explain.NONE)


def similar(
    deployment: Annotated[str, typer.Argument(help="A deployment of a model that recommends.")],
    item: Annotated[str, typer.Argument(help="The item that others should be like.")],
    k: K = 10,
    filters: Filter = None,
    as_json: AsJson = False,
) -> None:
    """Items that a model holds for alike."""
    with connect() as octavo:
        answer = octavo.recommendations.similar(deployment, item, k=k, filters=parse_filters(filters or []) or None)
    _show(answer, deployment, as_json)


def _show(answer: "Recommendation", deployment: str, as_json: bool, *, why: bool = False) -> None:
    if as_json:
        print_json(answer.raw)
        return
    count = answer.unknown_items
    unknown = f", {count} unknown item{'s' if count > 1 else ''} left out" if count else ""
    by = f" · {answer.arm} in its place" if answer.arm not in (None, deployment) else ""
    told_by = f", by {answer.by}" if answer.by == "features" else ""
    said = f"{answer.model}@{answer.version} · answered by: {answer.strategy}{told_by}{unknown}{by}"
    console().print(said, markup=False)
    columns = ("rank", "item", "score", *(["because of"] if why else []))
    print_table(columns, (_row(one)[: len(columns)] for one in answer.items), "No item passes.")
    if told := answer.raw.get("explanation"):
        console().print(f"The model tells more, with --json: {', '.join(told['tensors'])}", markup=False)
    if answer.request_id:
        console().print(f"What becomes of it: octavo feedback {answer.request_id} --clicked ITEM", markup=False)


def listed(text: str) -> list[str]:
    """Ids written as a,b,c."""
    return [one.strip() for one in text.split(",") if one.strip()]


def events_of(items: list[str]) -> list[dict[str, str]]:
    """Events with names of their own: a request that is sent again after a lost answer adds none twice."""
    return [{"item_id": item, "event_id": uuid.uuid4().hex} for item in items]


def _row(item: "RecommendedItem") -> tuple[object, ...]:
    return item.rank, item.item_id, f"{item.score:.4g}", ", ".join(map(_why, item.reasons or ()))


def _why(reason: dict[str, Any]) -> str:
    if features := reason.get("features"):
        return f"{reason['item_id']} (alike in {', '.join(features)})"
    return f"{reason['item_id']} ({reason['users_together']} users had both)"


_LISTS = {"=": "in", "!=": "not_in", "~": "has", "!~": "has_not"}
_FILTER = re.compile(r"(?P<name>[^<>=!~]+?)\s*(?P<operator><=|>=|!=|=|<|>|!~|~)\s*(?P<value>.+)")


def parse_filters(texts: list[str]) -> dict[str, dict[str, Any]]:
    """Conditions as the API takes them: `price<=10` becomes `{"price": {"<=": 10.0}}`, several of a feature join.

    Raises:
        typer.BadParameter: one cannot be read.
    """
    filters: dict[str, dict[str, Any]] = {}
    for text in texts:
        found = _FILTER.fullmatch(text.strip())
        if found is None:
            raise typer.BadParameter(f"--filter {text!r}: write genre=comedy,drama or genres~comedy or price<=10.")
        operator = _LISTS.get(found["operator"], found["operator"])
        conditions, value = filters.setdefault(found["name"].strip(), {}), _value(operator, found["value"], text)
        if operator in _LISTS.values():
            conditions.setdefault(operator, []).extend(value)
        elif operator in conditions:
            raise typer.BadParameter(f"--filter {text!r}: there is another {operator} of this feature.")
        else:
            conditions[operator] = value
    return filters


def _value(operator: str, value: str, text: str) -> Any:
    if operator in _LISTS.values():
        read = _text if operator.startswith("has") else _number_or_text
        return [read(one.strip()) for one in value.split(",")]
    number = _number(value)
    if number is None:
        raise typer.BadParameter(f"--filter {text!r}: {value!r} is no number.")
    return number


def _number_or_text(value: str) -> float | str:
    """A number where it reads like one; text in double quotes stays text."""
    number = None if _text(value) != value else _number(value)
    return _text(value) if number is None else number


def _text(value: str) -> str:
    """A text as it is, without the double quotes around it."""
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
