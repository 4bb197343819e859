"""Events for a first look at recommendations: MovieLens where it can be had, else walks through genres made here."""

import csv
import io
import random
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from libs.client.client import Octavo
from libs.client.errors import InvalidDatasetError
from libs.client.records import DatasetVersion
from libs.data.public import pull

MOVIELENS = "movielens-100k"
WALKS = "genre-walks"
GENRES = ("comedy", "romance", "drama", "crime", "thriller", "science-fiction", "adventure", "animation")
_FILMS_A_GENRE = 15
_USERS = 600
_EVENTS_A_USER = 20
_STAYS = (3, 6)
_START_S, _APART_S = 1_700_000_000, 60


@dataclass(frozen=True, slots=True)
class Films:
    """A data set of events on films.

    Attributes:
        version: of the data set; ready.
        titles: of the films, by id.
        session: films of somebody who is in no event, oldest first.
    """

    version: DatasetVersion
    titles: dict[str, str]
    session: tuple[str, ...]


def movielens(octavo: Octavo, home: Path) -> Films | InvalidDatasetError:
    """MovieLens 100K, fetched by the platform; the error when neither its address nor OCTAVO_MIRROR gives it."""
    try:
        version = octavo.datasets.wait_ready(octavo.datasets.pull(MOVIELENS))
    except InvalidDatasetError as error:
        return error
    with zipfile.ZipFile(pull(MOVIELENS, home / "public")) as tables, tables.open("items.csv") as file:
        titles = {row["item_id"]: row["title"] for row in csv.DictReader(io.TextIOWrapper(file, "utf-8"))}
    return Films(version, titles, ("50", "172", "181", "174"))


def walks(octavo: Octavo, folder: Path) -> Films:
    """Made-up people who walk through genres in one order, some films of each: what comes next can be learned."""
    titles = {f"{genre}-{number}": f"{genre} no. {number}" for genre in GENRES for number in range(_FILMS_A_GENRE)}
    events, items = folder / "events.csv", folder / "items.csv"
    _write(events, ("user_id", "item_id", "timestamp"), _events())
    _write(items, ("item_id", "title", "genre"), ((film, titles[film], film.rpartition("-")[0]) for film in titles))
    version = octavo.datasets.wait_ready(octavo.datasets.upload(WALKS, events, items, options={"kind": "events"}))
    return Films(version, titles, ("crime-4", "crime-9", "thriller-1", "thriller-7"))


def _events() -> Iterator[tuple[str, str, int]]:
    chance = random.Random(0)  # noqa: S311
    for user in range(_USERS):
        for place, film in enumerate(walk(chance)):
            yield f"user-{user}", film, _START_S + user * 3600 + place * _APART_S


def walk(chance: random.Random) -> list[str]:
    """Films of one person: a few of a genre, then of the next; none twice."""
    films: list[str] = []
    genre = chance.randrange(len(GENRES))
    while len(films) < _EVENTS_A_USER:
        stay = chance.randint(*_STAYS)
        films += [f"{GENRES[genre]}-{number}" for number in chance.sample(range(_FILMS_A_GENRE), stay)]
        genre = (genre + 1) % len(GENRES)
    return films[:_EVENTS_A_USER]


def _write(file: Path, header: tuple[str, ...], rows: Iterator[tuple[str | int, ...]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened)
        writer.writerow(header)
        writer.writerows(rows)
