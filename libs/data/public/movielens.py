"""MovieLens as tables that can be uploaded: the events, and what is known about the films."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from libs.data.public.formats import members

_FIRST_GENRE = 5
_LATIN = "iso-8859-1"


def movielens_100k(files: Sequence[Path]) -> dict[str, str]:
    """`u.data` (tabs: user, film, rating, time) and `u.item` (bars: id, title, dates, address, a flag a genre).

    The ratings are left out: that somebody rated a film is the event.

    Raises:
        PublicDatasetError: it is another archive.
    """
    with members(files[0], ("u.data", "u.item", "u.genre")) as (data, films, genres):
        names = [line.partition("|")[0] for line in genres.read_text(_LATIN).splitlines() if line.strip()]
        events = [row.split("\t") for row in data.read_text("ascii").splitlines()]
        rows = [row.split("|") for row in films.read_text(_LATIN).splitlines()]
    return {
        "events.csv": _table(
            ("user_id", "item_id", "timestamp"), [(user, film, time) for user, film, _, time in events]
        ),
        "items.csv": _table(("item_id", "title", "release_date", "genres"), [_film(row, names) for row in rows]),
    }


def _film(row: list[str], names: list[str]) -> tuple[str, ...]:
    flags = row[_FIRST_GENRE : _FIRST_GENRE + len(names)]
    genres = "|".join(name for name, flag in zip(names, flags, strict=True) if flag == "1")
    return row[0], row[1], row[2], genres


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([header, *rows])
    return text.getvalue()
