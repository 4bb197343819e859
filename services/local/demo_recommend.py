"""`make demo-recommend`: from nothing to recommendations for somebody never seen, with the time of each step.

Starts the stack (or uses the one that runs), takes MovieLens 100K, or says why not and makes a small data set, trains
HCRNN, serves it, asks it for a new session: by raw events, then by its id after its events were told; asks for items
like one, and stops what it started.
"""

import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from libs.client.cli.datasets import summary_of
from libs.client.cli.follow import follow
from libs.client.client import Octavo
from libs.client.recommendations import Recommendation
from services.local import commands
from services.local.demo_events import MOVIELENS, WALKS, Films, movielens, walks
from services.local.demo_run import Steps, console, deploy, run

SMALL: dict[str, Any] = {"item_dim": 32, "hidden_dim": 32, "topics": 10, "max_length": 20, "lr": 0.01}
SETTINGS = {
    MOVIELENS: {**SMALL, "epochs": 4},
    WALKS: {**SMALL, "epochs": 6, "batch_size": 64, "input_dropout": 0.0, "output_dropout": 0.1},
}
"""Small networks and few epochs, so that a first look takes a minute."""
_SHOWN = 5


def show_everything(octavo: Octavo, steps: Steps) -> None:
    """Data, training, deployment, recommendations."""
    films = take_films(octavo, steps)
    with steps.step("Training HCRNN"):
        name = films.version.dataset
        job = octavo.jobs.submit("hcrnn", datasets={"train": films.version.reference}, config=SETTINGS[name])
        result = follow(octavo, job.id).result or {}
        made = result["model"]
        console.print(f"model {made['name']}@{made['version']} is {made['status']}")
        show_figures(result["metrics"])
    with steps.step("Serving it"):
        served = deploy(octavo, made["name"], made["version"])
        console.print(f"{octavo.url}/v1/recommendations answers with version {served.loaded_version}")
    with steps.step("Asking for somebody it has never seen, by raw events"):
        events = session_events(films)
        answer = octavo.recommendations.recommend(served.name, events=events, k=_SHOWN, explain="basic")
        show_history(films)
        show_answer(answer, films)
    with steps.step("Telling the same events under a session id, and asking by it"):
        session_id = f"demo-{uuid4().hex[:8]}"
        told = octavo.recommendations.tell([{**event, "session_id": session_id} for event in events])
        console.print(f"{told['accepted']} events of session {session_id} are kept")
        show_answer(octavo.recommendations.recommend(served.name, session_id=session_id, k=_SHOWN), films)
    with steps.step("Asking for items like one"):
        console.print(f"like {films.titles[films.session[0]]}:", markup=False)
        show_answer(octavo.recommendations.similar(served.name, films.session[0], k=_SHOWN), films)


def take_films(octavo: Octavo, steps: Steps) -> Films:
    """Real events, or made-up ones that are said to be."""
    with steps.step("Having the platform fetch MovieLens 100K and validate it"):
        found = movielens(octavo, commands.local_settings().home)
        if isinstance(found, Films):
            return announced(found)
        console.print("MovieLens cannot be had here:", style="yellow")
        console.print(f"  {found.problems[0]}", markup=False, soft_wrap=True)
    title = f"Instead making {WALKS}, made-up people who walk through genres"
    with steps.step(title), tempfile.TemporaryDirectory() as folder:
        return announced(walks(octavo, Path(folder)))


def announced(films: Films) -> Films:
    """The same, after saying what it is."""
    console.print(f"{films.version.reference} is ready: {summary_of(films.version)}")
    return films


def session_events(films: Films) -> list[dict[str, Any]]:
    """The films of the new session as events of the last minutes."""
    now = datetime.now(UTC)
    count = len(films.session)
    return [
        {"item_id": film, "timestamp": (now - timedelta(minutes=count - place)).isoformat()}
        for place, film in enumerate(films.session)
    ]


def show_figures(metrics: dict[str, float]) -> None:
    """How good it is beside what needs no training."""
    console.print("NDCG@10 of the next item, over the full ranking (test split):")
    for title, prefix in (
        ("this model", ""),
        ("popularity", "baseline/popularity/"),
        ("item-kNN", "baseline/item-knn/"),
    ):
        if (value := metrics.get(f"{prefix}test/ndcg@10")) is not None:
            console.print(f"  {value:.3f}  {title}")


def show_history(films: Films) -> None:
    """The session that is asked for."""
    console.print(f"after {' · '.join(films.titles[film] for film in films.session)}:", markup=False)


def show_answer(answer: Recommendation, films: Films) -> None:
    """The items by their titles, each with what speaks for it."""
    for item in answer.items:
        why = " · ".join(
            f"{films.titles[one['item_id']]} ({one['users_together']} had both)" for one in item.reasons or ()
        )
        because = f"  because of {why}" if why else ""
        console.print(f"  {item.rank}. {films.titles[item.item_id]}{because}", markup=False, soft_wrap=True)
    console.print(f"  answered by: {answer.strategy}, {answer.model}@{answer.version}", style="dim", markup=False)


if __name__ == "__main__":
    sys.exit(run(show_everything))
