"""Recommendations as a new user meets them, by the command line: events, a model, a deployment, answers."""

import csv
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from libs.client.client import Octavo
from services.local.demo_events import GENRES, walk
from tests.support.command_line import CommandLine
from tests.support.waiting import until

pytestmark = pytest.mark.e2e
TINY = [
    "--set",
    "epochs=4",
    "--set",
    "width=16",
    "--set",
    "max_length=20",
    "--set",
    "lr=0.02",
    "--set",
    "batch_size=32",
]
SESSION = ("crime-4", "crime-9", "thriller-1")


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`events.csv` of 120 walks through genres, and `items.csv`."""
    folder = tmp_path_factory.mktemp("films")
    chance = random.Random(0)
    with (folder / "events.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("user_id", "item_id", "timestamp"))
        rows.writerows((f"u{user}", film, at) for user in range(120) for at, film in enumerate(walk(chance)))
    with (folder / "items.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("item_id", "genre"))
        rows.writerows((f"{genre}-{number}", genre) for genre in GENRES for number in range(15))
        rows.writerow(("premiere", "drama"))
    return folder


@pytest.fixture(scope="module")
def served(octavo_command: CommandLine, tables: Path) -> CommandLine:
    """A stack in which the README's way was walked up to the deployment."""
    octavo = octavo_command
    made = octavo.called(
        "datasets", "create", "walks", "--events", tables / "events.csv", "--item-features", tables / "items.csv"
    )
    assert "walks@1 is ready" in made.out
    assert "120 users, 120 items, 2,400 events" in made.out
    job = octavo.called("jobs", "submit", "gru4rec", "--dataset", "walks", *TINY, "--follow")
    assert "model walks-gru4rec@1 is ready" in job.out
    deployed = octavo.called("deploy", "walks-gru4rec")
    assert "Ask it: octavo recommend walks-gru4rec --items ITEM,ITEM" in deployed.out
    return octavo


@pytest.fixture(scope="module")
def client(served: CommandLine) -> Iterator[Octavo]:
    with pytest.MonkeyPatch.context() as patched:
        for name, value in served.environment.items():
            patched.setenv(name, value)
        octavo = Octavo()
    with octavo:
        yield octavo


def test_a_session_never_seen_is_recommended_what_follows(served: CommandLine):
    asked = served.called("recommend", "walks-gru4rec", "--items", ",".join(SESSION), "--explain", "basic", "--json")
    answer = asked.json
    assert (answer["strategy"], answer["version"], len(answer["items"])) == ("model", 1, 10)
    recommended = [one["item_id"] for one in answer["items"]]
    assert not set(SESSION) & set(recommended)
    near = [film for film in recommended if film.startswith(("crime", "thriller", "science-fiction"))]
    assert len(near) >= 6  # of 120 films in 8 genres chance would give 4
    assert {why["item_id"] for one in answer["items"] for why in one["reasons"]} <= set(SESSION)


def test_a_session_is_asked_for_by_its_id_and_forgotten(client: Octavo):
    events = [{"event_id": f"e{at}", "session_id": "s1", "item_id": film} for at, film in enumerate(SESSION)]
    assert client.recommendations.tell(events) == {"accepted": 3, "duplicates": 0}
    assert client.recommendations.tell(events[:1]) == {"accepted": 0, "duplicates": 1}
    by_id = client.recommendations.recommend("walks-gru4rec", session_id="s1", k=5)
    raw = client.recommendations.recommend("walks-gru4rec", events=[{"item_id": film} for film in SESSION], k=5)
    assert by_id.strategy == raw.strategy == "model"
    assert [one.item_id for one in by_id.items] == [one.item_id for one in raw.items]


def test_filters_and_similar_items(served: CommandLine, client: Octavo):
    options = ("--items", ",".join(SESSION), "--filter", "genre=drama", "-k", "3", "--json")
    answer = served.called("recommend", "walks-gru4rec", *options).json
    assert [one["item_id"][:5] for one in answer["items"]] == ["drama"] * 3
    alike = client.recommendations.similar("walks-gru4rec", SESSION[0], k=5)
    assert (alike.strategy, len(alike.items)) == ("similar", 5)


def test_two_deployments_share_requests_and_are_compared(served: CommandLine, client: Octavo):
    served.called("deploy", "walks-gru4rec@1", "--name", "challenger")
    shared = served.called("traffic", "walks-gru4rec", "challenger=50")
    assert shared.out == "Requests of walks-gru4rec: walks-gru4rec 50 %, challenger 50 %\n"
    until(
        lambda: len({client.recommendations.recommend("walks-gru4rec", user_id=f"u{n}").arm for n in range(20)}) == 2,
        "both answer",
    )
    shown = served.called("traffic", "walks-gru4rec").out.splitlines()[2:]
    assert [line.split()[0] for line in shown] == ["walks-gru4rec", "challenger"]
    assert served.call("undeploy", "challenger").code == 4
    served.called("traffic", "walks-gru4rec", "--off")
    served.called("undeploy", "challenger")


def test_a_film_that_nobody_saw_is_answered_by_films_like_it(served: CommandLine):
    asked = served.called("recommend", "walks-gru4rec", "--items", "premiere", "--explain", "basic", "-k", "3")
    first, _, *rows, _ = asked.out.splitlines()
    assert first == "walks-gru4rec@1 · answered by: similar, 1 unknown item left out"
    assert [(row.split()[1][:5], row.endswith("premiere (alike in genre)")) for row in rows] == [("drama", True)] * 3
    assert "answered by: similar, by features" in served.called("similar", "walks-gru4rec", "premiere").out


def test_who_is_unknown_gets_what_is_popular_and_is_told_so(served: CommandLine):
    for options in (("--items", "nothing,known"), ("--items", ""), ("--user", "nobody")):
        assert "answered by: popular" in served.called("recommend", "walks-gru4rec", *options).out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("recommend", "walks-gru4re", "--items", "crime-4"), 5, "Did you mean 'walks-gru4rec'?"),
        (("recommend", "walks-gru4rec", "--items", "crime-4", "-k", "0"), 2, "-k"),
        (("recommend", "walks-gru4rec", "--items", "crime-4", "-k", "10000"), 2, "-k"),
        (("recommend", "walks-gru4rec", "--items", "crime-4", "--filter", "gender=drama"), 4, "'genre'"),
        (("predict", "walks-gru4rec", __file__), 5, "next-item"),
        (("jobs", "submit", "frskd", "-d", "walks"), 4, "holds events"),
        (("evaluate", "walks-gru4rec", "-d", "nothing"), 4, "nothing"),
    ],
)
def test_wrong_input_is_refused_with_what_to_do(served: CommandLine, arguments: tuple[str, ...], code: int, said: str):
    finished = served.call(*arguments)
    assert "Traceback" not in finished.err
    assert said in finished.err
    assert finished.code == code
