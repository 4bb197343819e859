"""Which columns of a table are the user, the item, the time and the type of an event."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from libs.data.config import EventOptions
from libs.data.errors import DataError

Role = Literal["user", "item", "time", "type"]
ROLES: tuple[Role, ...] = get_args(Role)
_REQUIRED: tuple[Role, ...] = ("user", "item", "time")

USUAL_NAMES: Mapping[Role, Sequence[str]] = {
    "user": (
        *("user_id", "userid", "user", "uid", "customer_id", "customerid", "reviewerid", "reviewer_id"),
        *("visitor_id", "visitorid", "session_id", "sessionid"),
    ),
    "item": (
        *("item_id", "itemid", "item", "iid", "product_id", "productid", "parent_asin", "asin", "article_id"),
        *("movie_id", "movieid", "track_id", "trackid", "sku"),
    ),
    "time": (
        *("timestamp", "time", "ts", "datetime", "event_time", "created_at", "unixreviewtime", "unix_timestamp"),
        "date",
    ),
    "type": ("event_type", "eventtype", "event", "type", "action", "behavior", "behaviour"),
}
"""The first that a table has is taken; case, spaces and a type after a colon (`user_id:token`) do not matter."""


def assign_roles(names: Sequence[str], options: EventOptions) -> dict[Role, str]:
    """Role → name of the column, as far as there is one: as the options say, else by its usual names.

    What the options name is no other role's by its usual names: `item_column=event` leaves no type.

    Raises:
        DataError: the options name one column for two roles.
    """
    plain = {_plain(name): name for name in reversed(names)}
    wanted: dict[Role, str | None] = {
        "user": options.user_column,
        "item": options.item_column,
        "time": options.time_column,
        "type": options.type_column,
    }
    found: dict[Role, str] = {}
    for role, chosen in wanted.items():
        if chosen is not None and (chosen in names or _plain(chosen) in plain):
            found[role] = chosen if chosen in names else plain[_plain(chosen)]
    _check_apart(found)
    free = {name: column for name, column in plain.items() if column not in found.values()}
    for role in ROLES:
        usual = next((free[name] for name in USUAL_NAMES[role] if name in free), None)
        if wanted[role] is None and usual is not None:
            found[role] = usual
    return {role: found[role] for role in ROLES if role in found}


def _check_apart(roles: Mapping[Role, str]) -> None:
    for role, column in roles.items():
        if other := next((one for one in roles if one != role and roles[one] == column), None):
            raise DataError(
                f"The column {column!r} is named as {role}_column and as {other}_column; an event needs two columns."
            )


def missing_roles(roles: Mapping[Role, str]) -> list[Role]:
    """What a table of events needs and does not have."""
    return [role for role in _REQUIRED if role not in roles]


def is_item_table(roles: Mapping[Role, str]) -> bool:
    """Whether a table describes items: it names items and no users."""
    return "item" in roles and "user" not in roles


def _plain(name: str) -> str:
    without_type = name.strip().partition(":")[0]
    return re.sub(r"[\s-]+", "_", without_type).casefold()
