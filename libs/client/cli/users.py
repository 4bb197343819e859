"""What users did, and what became of recommendations: `octavo events`, `history`, `feedback`."""

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from libs.client.cli.output import AsJson, connect, console, print_json, print_table
from libs.client.cli.recommend import events_of, listed

if TYPE_CHECKING:
    from libs.client.errors import InvalidRequestError

User = Annotated[str | None, typer.Option(help="The user's id.")]
Session = Annotated[str | None, typer.Option(help="The session's id.")]
Line = tuple[int, dict[str, Any]]
_AT_ONCE = 1000


def events(
    file: Annotated[
        typer.FileText | None, typer.Argument(help="One JSON object a line; - reads standard input.", encoding="utf-8")
    ] = None,
    items: Annotated[str | None, typer.Option(help="Instead of a file: item ids, oldest first, as a,b,c.")] = None,
    user: User = None,
    session: Session = None,
    kind: Annotated[str, typer.Option("--type", help="What was done to the items.")] = "view",
    as_json: AsJson = False,
) -> None:
    """Tell what users did, so that recommendations for them and their sessions know it."""
    if (file is None) == (items is None):
        raise typer.BadParameter("Give a file or --items.")
    if (items is not None) == (user is None and session is None):
        raise typer.BadParameter("--items needs --user, --session or both; a file names them line by line.")
    told: Iterator[Line]
    if file is None:
        whose = {name: one for name, one in (("user_id", user), ("session_id", session)) if one is not None}
        told = enumerate(({**event, **whose, "type": kind} for event in events_of(listed(items or ""))), 1)
    else:
        told = _read(file)
    taken = _tell(told, file.name if file else "--items")
    if as_json:
        print_json(taken)
    else:
        console().print(f"{taken['accepted']} events stored, {taken['duplicates']} were there before")


def history(
    user: User = None,
    session: Session = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Newest events that are shown.")] = 20,
    erase: Annotated[bool, typer.Option("--erase", help="Delete all that is stored of them, for good.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --erase: do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what a user or a session did, newest first, or erase it with all that was recommended to them."""
    if (user is None) == (session is None):
        raise typer.BadParameter("Give --user or --session.")
    if erase and not yes:
        typer.confirm(f"Erase all that is stored of {user or session}?", abort=True, err=True)
    with connect() as octavo:
        if erase:
            octavo.recommendations.erase(user_id=user, session_id=session)
            found = []
        else:
            found = list(islice(octavo.recommendations.history(user_id=user, session_id=session), limit))
    if as_json:
        print_json({"erased": True} if erase else found)
    elif erase:
        console().print(f"Erased: {user or session}", markup=False)
    else:
        rows = ((one["timestamp"], one["type"], one["item_id"], one["user_id"], one["session_id"]) for one in found)
        print_table(("when", "type", "item", "user", "session"), rows, "Nothing is stored of them.")


def feedback(
    request_id: Annotated[str, typer.Argument(help="Of the answer; `octavo recommend` prints it.")],
    shown: Annotated[str | None, typer.Option(help="Items that were shown, as a,b,c.")] = None,
    clicked: Annotated[str | None, typer.Option(help="Items that were clicked; they were shown too.")] = None,
    bought: Annotated[str | None, typer.Option(help="Items that were bought, played …; they were shown too.")] = None,
    as_json: AsJson = False,
) -> None:
    """Tell what became of recommended items; `octavo traffic NAME` shows what it adds up to."""
    given = {"impressions": shown, "clicks": clicked, "conversions": bought}
    items = {kind: listed(text) for kind, text in given.items() if text is not None}
    if not any(items.values()):
        raise typer.BadParameter("Give --shown, --clicked or --bought.")
    with connect() as octavo:
        taken = octavo.recommendations.feedback(request_id, **items)
    if as_json:
        print_json(taken)
    else:
        console().print(f"{taken['recorded']} recorded, {taken['duplicates']} were known before")


def _read(file: typer.FileText) -> Iterator[Line]:
    """The events of a file with the numbers of their lines; empty lines are passed over."""
    from libs.client.errors import LocalFileError

    try:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, json.loads(line)
    except (OSError, ValueError) as error:
        raise LocalFileError(f"{file.name} is not one JSON object a line: {error}.") from None


def _tell(told: Iterator[Line], name: str) -> dict[str, int]:
    """Send events, some at a time.

    Raises:
        InvalidRequestError: one is wrong; those sent before it are stored.
    """
    from libs.client.errors import InvalidRequestError

    taken = {"accepted": 0, "duplicates": 0}
    with connect() as octavo:
        while part := list(islice(told, _AT_ONCE)):
            try:
                found = octavo.recommendations.tell([event for _, event in part])
            except InvalidRequestError as error:
                raise _placed(error, [number for number, _ in part], name, sum(taken.values())) from None
            taken = {kind: count + found[kind] for kind, count in taken.items()}
    return taken


def _placed(error: "InvalidRequestError", numbers: Sequence[int], name: str, before: int) -> "InvalidRequestError":
    """The error with the line of the file in place of the row of a request."""
    row, _, field = error.fields[0].pointer.strip("/").partition("/") if error.fields else ("", "", "")
    if not row.isdigit():
        return error
    place = f"{name}, line {numbers[int(row)]}" + (f", {field}" if field else "")
    stored = f" The {before} events sent before are stored." if before else ""
    return type(error)(error.status, error.code, f"{place}: {error.fields[0].message}{stored}", error.request_id)
