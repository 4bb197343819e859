"""What a recommendation costs over HTTP, beside the least it can cost: one ORT run, one product, one selection.

A recommender process with 100,000 items of 64 numbers (GRU4Rec and HCRNN with random weights, exported as training
does), histories of 20 events, k 20, seen items left out. All in one run:

- one client: raw (in this process) and a request take turns; wall p50 and its ratio.
- 8 clients at once: CPU of the recommender a request, over that of raw; wall p50 and p99.
- a session of 50 events: the 50th is appended and a recommendation asked for, in one request (`append`) and in two,
  from the model's state, and from a second deployment of the same model without one, which reads the 50 events anew.
  Beside it, in this process and without HTTP, Postgres and the cache: a step from the state, or the encoder over 50
  events, and then the scores.

CPU is of the recommender's process alone, its recorder included. Run:

    OMP_NUM_THREADS=1 python -m benchmarks.recommendation.serving_http --rounds 9 \\
        --out benchmarks/results/recommender_http.json

Small, to try it: `--items 2000 --rounds 1 --requests 20`.
"""

import argparse
import json
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.recommendation.generated import generate_event_data
from benchmarks.recommendation.serving import raw
from benchmarks.result_file import write_result
from benchmarks.serving_overhead import Asker
from libs.data.events.dataset import EventData
from libs.database.engine import make_engine, transaction
from libs.database.tables import DEFAULT_PROJECT_ID
from libs.models.gru4rec.config import Gru4recConfig
from libs.models.gru4rec.train import build_model as build_gru4rec
from libs.models.hcrnn.config import HcrnnConfig
from libs.models.hcrnn.export import servable as hcrnn_servable
from libs.models.hcrnn.train import build_model as build_hcrnn
from libs.models.sequences.export import ServableOf, export_next_item, features_alone
from libs.models.sequences.graphs import Servable
from libs.registry.artifacts import ArtifactStore
from libs.registry.deployments import create_deployment
from libs.registry.models import register_version
from libs.serving.bundle import Lineage
from libs.serving.folder import read_next_item_bundle
from libs.serving.recommendation.model import load
from libs.serving.recommendation.ranking import top_k
from libs.serving.repository import Identity, RunSettings
from libs.serving.session import open_session
from libs.settings import PlatformSettings
from services.local.valkey import LocalValkey
from tests.support.model_server import RunningServer, recommender
from tests.support.postgres import cloned_database, open_folder, postgres_server
from tests.support.serving import add_key
from tests.support.waiting import until

WIDTH, LENGTH, K, SESSION, CLIENTS = 64, 20, 20, 50, 8
GOALS = {"wall_p50_ratio": 1.5, "cpu_ratio_of_8": 1.0, "p99_over_p50_of_8": 4.0, "session_share": 0.5}


def export(folder: Path, data: EventData, method: str) -> Path:
    """A bundle with random weights; "hcrnn-no-state" is the same model without its step."""
    torch.manual_seed(0)
    model: Any
    servable_of: ServableOf
    if method == "gru4rec":
        model, servable_of = build_gru4rec(Gru4recConfig(width=WIDTH), data.manifest.items), features_alone
    else:
        model = build_hcrnn(HcrnnConfig(item_dim=WIDTH, hidden_dim=WIDTH), data.manifest.items)
        servable_of = hcrnn_servable if method == "hcrnn" else _without_step
    export_next_item(
        model,
        folder / method,
        data,
        architecture=method.partition("-")[0],
        max_length=200,
        exclude_seen=True,
        lineage=Lineage(method=method.partition("-")[0], seed=0, code_version="benchmark"),
        metrics={},
        servable_of=servable_of,
    )
    return folder / method


def _without_step(model: nn.Module) -> Servable:
    return replace(hcrnn_servable(model), step=None, state=())  # type: ignore[arg-type]


class Stack:
    """A database, a session cache, a key, deployed models and a recommender."""

    def __init__(self, stack: ExitStack, folder: Path, bundles: dict[str, Path]) -> None:
        url = stack.enter_context(cloned_database(stack.enter_context(postgres_server()).url))
        cache = stack.enter_context(LocalValkey(stack.enter_context(open_folder("octavo-valkey-"))))
        self.engine = make_engine(url)
        stack.callback(self.engine.dispose)
        self.key = add_key(self.engine, ["admin"])
        home = folder / "home"
        for name, bundle in bundles.items():
            self._deploy(ArtifactStore(PlatformSettings(home=home).artifact_root), name, bundle)
        self.server: RunningServer = stack.enter_context(recommender(url, home, sessions_url=cache.url))
        with self.server.client(self.key) as client:
            asked = [{"model": name, "items": ["i1"]} for name in bundles]
            for one in asked:
                until(
                    lambda one=one: client.post("/v1/recommendations", json=one).status_code == 200, "a model is served"
                )

    def _deploy(self, store: ArtifactStore, name: str, folder: Path) -> None:
        stored, bundle = store.put_folder(folder), read_next_item_bundle(folder)
        with transaction(self.engine) as session:
            register_version(session, project_id=DEFAULT_PROJECT_ID, model_name=name, bundle=bundle, folder=stored)
            create_deployment(session, DEFAULT_PROJECT_ID, name, name)

    def cpu_s(self) -> float:
        """CPU time of the recommender so far."""
        return time.clock_gettime((~self.server.process.pid << 3) | 2)


def one_client(stack: Stack, alone: Callable[[list[str]], object], histories: list[list[str]]) -> dict[str, float]:
    """Raw and HTTP, request by request, on one kept-alive connection."""
    connection = Session(stack)
    wall: dict[str, list[float]] = {"raw": [], "http": []}
    cpu: dict[str, list[float]] = {"raw": [], "http": []}
    for history in histories:
        began, cpu_began = time.perf_counter(), time.thread_time()
        alone(history)
        cpu["raw"].append(time.thread_time() - cpu_began)
        wall["raw"].append(time.perf_counter() - began)
        cpu_began, began = stack.cpu_s(), time.perf_counter()
        connection.recommend("gru4rec", {"events": [{"item_id": item} for item in history]})
        wall["http"].append(time.perf_counter() - began)
        cpu["http"].append(stack.cpu_s() - cpu_began)
    warm = slice(len(histories) // 10, None)
    found = {f"{name}_wall_p50_ms": 1e3 * statistics.median(values[warm]) for name, values in wall.items()}
    found |= {f"{name}_cpu_ms": 1e3 * statistics.fmean(values[warm]) for name, values in cpu.items()}
    return found


def eight_clients(stack: Stack, histories: list[list[str]]) -> dict[str, float]:
    """All requests, asked by 8 clients at once."""
    waits: list[list[float]] = [[] for _ in range(CLIENTS)]
    failures: list[Exception] = []

    def ask(number: int) -> None:
        connection = Session(stack)
        try:
            for history in histories[number::CLIENTS]:
                began = time.perf_counter()
                connection.recommend("gru4rec", {"events": [{"item_id": item} for item in history]})
                waits[number].append(time.perf_counter() - began)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
    cpu_began, began = stack.cpu_s(), time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    taken, cpu_s = time.perf_counter() - began, stack.cpu_s() - cpu_began
    every = [wait for some in waits for wait in some]
    return {
        "cpu_of_8_ms": 1e3 * cpu_s / len(every),
        "wall_of_8_p50_ms": 1e3 * float(np.quantile(every, 0.5)),
        "wall_of_8_p99_ms": 1e3 * float(np.quantile(every, 0.99)),
        "requests_per_s_of_8": len(every) / taken,
    }


class Session(Asker):
    """One kept-alive connection that asks for one thing after another."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(stack.server.url, stack.key, "", b"", {"Content-Type": "application/json"})

    def ask(self, path: str, body: Any) -> None:
        self._path, self._content = path, json.dumps(body).encode()
        self()

    def recommend(self, model: str, whose: dict[str, Any]) -> None:
        self.ask("/v1/recommendations", {"model": model, "k": K, **whose})

    def append_and_recommend(self, model: str, session_id: str, item: str) -> None:
        self.recommend(model, {"session_id": session_id, "append": [{"item_id": item}]})

    def append(self, session_id: str, *items: str) -> None:
        self.ask("/v1/events", [{"session_id": session_id, "item_id": item} for item in items])


def live_sessions(stack: Stack, random: np.random.Generator, items: int, count: int, prefix: str) -> dict[str, float]:
    """Append one event and recommend, in sessions that then have 50: with the model's state, and without one."""
    connection = Session(stack)
    ways = [(model, requests) for requests in ("one", "two") for model in ("hcrnn", "hcrnn-no-state")]
    spent: dict[tuple[str, str], list[tuple[float, float]]] = {way: [] for way in ways}
    for number in range(count):
        for (model, requests), times in spent.items():
            session_id = f"{prefix}-{model}-{requests}-{number}"
            history = [f"i{item}" for item in random.integers(1, items + 1, SESSION)]
            connection.append(session_id, *history[:-1])
            connection.recommend(model, {"session_id": session_id})  # now the cache has it, and the state
            cpu_began, began = stack.cpu_s(), time.perf_counter()
            if requests == "one":
                connection.append_and_recommend(model, session_id, history[-1])
            else:
                connection.append(session_id, history[-1])
                connection.recommend(model, {"session_id": session_id})
            times.append((time.perf_counter() - began, stack.cpu_s() - cpu_began))
    found = {}
    for (model, requests), times in spent.items():
        found[f"{model}_{requests}_wall_p50_ms"] = 1e3 * statistics.median(wall for wall, _ in times)
        found[f"{model}_{requests}_cpu_ms"] = 1e3 * statistics.median(cpu for _, cpu in times)
    return found


def in_this_process(
    bundles: dict[str, Path], random: np.random.Generator, count: int
) -> Callable[[], dict[str, float]]:
    """What the models alone take of a session's 50th event: by a step from its state, and reading all 50 anew."""
    model = load(bundles["hcrnn"], Identity("hcrnn", 1, "0" * 64), RunSettings())
    assert model.sessions is not None
    states = model.sessions

    def measured() -> dict[str, float]:
        times: dict[str, list[float]] = {"step": [], "anew": []}
        for _ in range(count):
            items = [int(item) for item in random.integers(1, model.bundle.items + 1, SESSION)]
            kept = states.to_bytes(states.replay(items[:-1]))
            began = time.thread_time()
            features = states.advance(states.from_bytes(kept), items[-1]).features
            assert features is not None
            top_k(model.vectors.products(features)[0], K)
            between = time.thread_time()
            top_k(model.vectors.products(model.encoder.features([items]))[0], K)
            times["anew"].append(time.thread_time() - between)
            times["step"].append(between - began)
        return {f"model_{name}_cpu_ms": 1e3 * statistics.median(values) for name, values in times.items()}

    return measured


def measure(options: argparse.Namespace) -> dict[str, Any]:
    random = np.random.default_rng(0)
    with ExitStack() as stack, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = generate_event_data(folder / "events", 5 * options.items, options.items)
        bundles = {method: export(folder, data, method) for method in ("gru4rec", "hcrnn", "hcrnn-no-state")}
        running = Stack(stack, folder, bundles)
        session = open_session(bundles["gru4rec"] / "model.onnx", "cpu", 1)
        table = np.load(bundles["gru4rec"] / "item_vectors.npy")
        numbers = {f"i{number}": number for number in range(1, options.items + 1)}

        def histories(count: int) -> list[list[str]]:
            return [[f"i{item}" for item in row] for row in random.integers(1, options.items + 1, (count, LENGTH))]

        alone = in_this_process(bundles, random, max(3, options.requests // 10))
        rounds: list[dict[str, float]] = []
        for number in range(options.rounds + 1):  # the first warms up
            found = one_client(
                running, lambda history: raw(session, table, numbers, history), histories(options.requests)
            )
            found |= eight_clients(running, histories(options.requests))
            found |= live_sessions(running, random, options.items, max(3, options.requests // 10), f"s{number}")
            rounds.append(found | alone())
    return summary(rounds[1:])


def summary(rounds: list[dict[str, float]]) -> dict[str, Any]:
    """Medians over rounds, and the medians of the ratios within them."""

    def median(value: Callable[[dict[str, float]], float]) -> float:
        return statistics.median(value(found) for found in rounds)

    return {
        **{name: median(lambda found, name=name: found[name]) for name in rounds[0]},
        "wall_p50_ratio": median(lambda found: found["http_wall_p50_ms"] / found["raw_wall_p50_ms"]),
        "cpu_ratio": median(lambda found: found["http_cpu_ms"] / found["raw_cpu_ms"]),
        "cpu_ratio_of_8": median(lambda found: found["cpu_of_8_ms"] / found["raw_cpu_ms"]),
        "p99_over_p50_of_8": median(lambda found: found["wall_of_8_p99_ms"] / found["wall_of_8_p50_ms"]),
        "session_share": median(lambda found: found["hcrnn_one_cpu_ms"] / found["hcrnn-no-state_one_cpu_ms"]),
        "session_share_of_two": median(lambda found: found["hcrnn_two_cpu_ms"] / found["hcrnn-no-state_two_cpu_ms"]),
        "one_of_two": median(lambda found: found["hcrnn_one_cpu_ms"] / found["hcrnn_two_cpu_ms"]),
        "model_session_share": median(lambda found: found["model_step_cpu_ms"] / found["model_anew_cpu_ms"]),
        "session_wall_share": median(
            lambda found: found["hcrnn_one_wall_p50_ms"] / found["hcrnn-no-state_one_wall_p50_ms"]
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--requests", type=int, default=200, help="of each kind in a round")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    result = {"items": options.items, "width": WIDTH, "history": LENGTH, "k": K, "rounds": options.rounds}
    result |= {"requests_a_round": options.requests, "cores": os.cpu_count(), "load": os.getloadavg()[0]}
    result |= {"goals": GOALS, **measure(options)}
    print(json.dumps(result, indent=2))
    for name, goal in GOALS.items():
        print(f"{name:20} {result[name]:6.2f}  goal <= {goal:4}  {'met' if result[name] <= goal else 'MISSED'}")
    write_result(result, options.out)


if __name__ == "__main__":
    main()
