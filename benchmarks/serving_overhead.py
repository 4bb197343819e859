"""CPU a request costs in the model server, beside raw ONNX Runtime and a bare FastAPI app, all in one run.

A small convolutional classifier of 3x32x32 pictures, one kept-alive connection, requests one after the other. CPU time
of the server's process alone (its syncer included), median of interleaved rounds. Then: how many requests a second 16
clients get with batching and without, from a convolutional and from a wide linear classifier. Run:

    python -m benchmarks.serving_overhead --rounds 9 --out benchmarks/results/serving_overhead.json
"""

import argparse
import http.client
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import httpx2
import numpy as np
import onnx
import onnxruntime
import psutil
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from benchmarks.result_file import write_result
from libs.database.engine import make_engine, transaction
from libs.database.tables import DEFAULT_PROJECT_ID
from libs.registry.artifacts import ArtifactStore
from libs.registry.deployments import DeploymentSettings, create_deployment
from libs.registry.models import register_version
from libs.serving.bundle import MODEL_FILE, write_bundle
from libs.serving.session import ModelSession
from libs.settings import PlatformSettings
from services.local.process import free_port
from tests.support.bundles import make_bundle
from tests.support.model_server import RunningServer, model_server
from tests.support.postgres import cloned_database, postgres_server
from tests.support.serving import add_key

CLASSES, SIDE = 10, 32
REQUESTS = 100
HEADER = "Inference-Header-Content-Length"


@dataclass(frozen=True)
class Way:
    """One way to ask for the same thing."""

    name: str
    pid: int
    ask: Callable[[], object]


def conv_graph(width: int, layers: int, side: int) -> onnx.ModelProto:
    """3x3 convolutions with ReLU, mean, linear."""
    generator = np.random.default_rng(0)
    nodes, weights, name, channels = [], [], "input", 3
    for layer in range(layers):
        kernel = generator.standard_normal((width, channels, 3, 3), dtype=np.float32) / (3 * channels**0.5)
        weights.append(numpy_helper.from_array(kernel, f"w{layer}"))
        nodes.append(helper.make_node("Conv", [name, f"w{layer}"], [f"c{layer}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"r{layer}"]))
        name, channels = f"r{layer}", width
    weights.append(numpy_helper.from_array(generator.standard_normal((CLASSES, width), dtype=np.float32), "head"))
    weights.append(numpy_helper.from_array(np.zeros(CLASSES, np.float32), "bias"))
    nodes += [
        helper.make_node("GlobalAveragePool", [name], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["means"]),
        helper.make_node("Gemm", ["means", "head", "bias"], ["logits"], transB=1),
    ]
    inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, side, side])]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", CLASSES])]
    graph = helper.make_graph(nodes, "conv", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def linear_graph(width: int, side: int) -> onnx.ModelProto:
    """Two wide linear layers: bound by reading weights, which a batch shares."""
    generator = np.random.default_rng(0)
    sizes = [3 * side * side, width, width, CLASSES]
    nodes, weights, name = [helper.make_node("Flatten", ["input"], ["flat"])], [], "flat"
    for layer, (before, after) in enumerate(pairwise(sizes)):
        matrix = generator.standard_normal((before, after), dtype=np.float32) / before**0.5
        weights.append(numpy_helper.from_array(matrix, f"w{layer}"))
        last = after == CLASSES
        nodes.append(helper.make_node("MatMul", [name, f"w{layer}"], ["logits" if last else f"m{layer}"]))
        if not last:
            nodes.append(helper.make_node("Relu", [f"m{layer}"], [f"r{layer}"]))
        name = f"r{layer}"
    inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, side, side])]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", CLASSES])]
    graph = helper.make_graph(nodes, "linear", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def serve_bare(port: int, model: str) -> None:
    """The least that answers binary v2 requests: no keys, no limits, no batching, no swap."""
    import uvicorn
    from fastapi import FastAPI, Request, Response

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    app = FastAPI()

    @app.get("/ready")
    async def ready() -> dict[str, bool]:
        return {"ready": True}

    @app.post("/infer")
    async def infer(request: Request) -> Response:
        body = await request.body()
        length = int(request.headers[HEADER])
        (tensor,) = json.loads(body[:length])["inputs"]
        rows = np.frombuffer(body, np.float32, offset=length).reshape(tensor["shape"])
        (logits,) = session.run(None, {"input": rows})
        return Response(json.dumps({"outputs": [{"name": "logits", "data": logits.ravel().tolist()}]}))

    uvicorn.run(app, port=port, log_level="warning", access_log=False)


@contextmanager
def bare_server(model: Path) -> Iterator[tuple[int, str]]:
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.serving_overhead", "--bare", str(port), str(model)])
    url = f"http://127.0.0.1:{port}"
    try:
        while not _answers(f"{url}/ready"):
            if process.poll() is not None:
                raise RuntimeError("the bare server ended")
        yield process.pid, url
    finally:
        process.terminate()
        process.wait(20)


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url).status_code == 200
    except httpx2.TransportError:
        return False


class Platform:
    """A database, a store, a key and two deployed models."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        server = stack.enter_context(postgres_server())
        self.url = stack.enter_context(cloned_database(server.url))
        self.home = folder / "home"
        self.engine = make_engine(self.url)
        stack.callback(self.engine.dispose)
        self.key = add_key(self.engine, ["admin"])
        self.small = self.add(folder / "small", conv_graph(16, 2, SIDE), SIDE, "small", DeploymentSettings())
        for kind, graph in (("conv", conv_graph(32, 4, SIDE)), ("linear", linear_graph(2048, SIDE))):
            for size in (16, 1):
                name = f"{kind}-{size}"
                self.add(folder / name, graph, SIDE, name, DeploymentSettings(max_batch_size=size))

    def add(self, folder: Path, graph: onnx.ModelProto, side: int, name: str, settings: DeploymentSettings) -> Path:
        labels = [str(label) for label in range(CLASSES)]
        bundle = make_bundle(folder, labels=labels, channels=3, size=side)
        onnx.save(graph, str(folder / MODEL_FILE))
        bundle = write_bundle(folder, bundle)
        stored = ArtifactStore(PlatformSettings(home=self.home).artifact_root).put_folder(folder)
        with transaction(self.engine) as session:
            register_version(session, project_id=DEFAULT_PROJECT_ID, model_name=name, bundle=bundle, folder=stored)
            create_deployment(session, DEFAULT_PROJECT_ID, name, name, settings)
        return folder / MODEL_FILE


def binary_request(rows: np.ndarray) -> tuple[bytes, dict[str, str]]:
    tensor = {
        "name": "input",
        "shape": list(rows.shape),
        "datatype": "FP32",
        "parameters": {"binary_data_size": rows.nbytes},
    }
    head = json.dumps({"inputs": [tensor]}).encode()
    return head + rows.tobytes(), {HEADER: str(len(head))}


def ways(server: RunningServer, key: str, bare: tuple[int, str], model: Path) -> list[Way]:
    rows = np.random.default_rng(0).random((1, 3, SIDE, SIDE), np.float32)
    session = ModelSession(model)
    body, headers = binary_request(rows)
    tensor = {"name": "input", "shape": list(rows.shape), "datatype": "FP32", "data": rows.ravel().tolist()}
    text = json.dumps({"inputs": [tensor]}).encode()
    png = io.BytesIO()
    Image.fromarray((rows[0].transpose(1, 2, 0) * 255).astype(np.uint8)).save(png, "PNG")
    pid = server.process.pid
    asked = [
        ("bare FastAPI, binary", bare[0], Asker(bare[1], "", "/infer", body, headers)),
        ("v2 infer, binary", pid, Asker(server.url, key, "/v2/models/small/infer", body, headers)),
        ("v2 infer, JSON", pid, Asker(server.url, key, "/v2/models/small/infer", text, {})),
        (
            "classify, PNG",
            pid,
            Asker(server.url, key, "/v1/classify/small", png.getvalue(), {"Content-Type": "image/png"}),
        ),
    ]
    raw = Way("raw ONNX Runtime", os.getpid(), lambda: session.run(rows))
    return [raw, *(Way(*one) for one in asked)]


class Asker:
    """One request, again and again, on one connection; the standard library's client is the cheapest."""

    def __init__(self, url: str, key: str, path: str, content: bytes, headers: dict[str, str]) -> None:
        self._connection = http.client.HTTPConnection(url.removeprefix("http://"))
        self._path, self._content = path, content
        self._headers = {**headers, "Authorization": f"Bearer {key}"}

    def __call__(self) -> None:
        try:
            self._connection.request("POST", self._path, self._content, self._headers)
        except (OSError, http.client.HTTPException):  # closed while the others had their turn
            self._connection.close()
            self._connection.request("POST", self._path, self._content, self._headers)
        answer = self._connection.getresponse()
        said = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{self._path}: {answer.status} {said[:200]!r}")


def cpu_ms(way: Way) -> tuple[float, float]:
    """CPU and wall milliseconds a request, over `REQUESTS` of them."""
    clock = (~way.pid << 3) | 2  # the process's CPU clock, as clock_getcpuclockid(3) makes it: nanoseconds, not ticks
    before, started = time.clock_gettime(clock), time.perf_counter()
    for _ in range(REQUESTS):
        way.ask()
    wall = time.perf_counter() - started
    return (time.clock_gettime(clock) - before) * 1e3 / REQUESTS, wall * 1e3 / REQUESTS


def throughput(url: str, key: str, name: str, seconds: float, clients: int = 16) -> float:
    """Requests a second that `clients` get together."""
    body, headers = binary_request(np.random.default_rng(0).random((1, 3, SIDE, SIDE), np.float32))
    stop, counts = threading.Event(), [0] * clients

    def ask(index: int) -> None:
        asker = Asker(url, key, f"/v2/models/{name}/infer", body, headers)
        while not stop.is_set():
            asker()
            counts[index] += 1

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(clients)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    stop.wait(seconds)
    stop.set()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - started)


def measure(rounds: int) -> dict[str, object]:
    with ExitStack() as stack, tempfile.TemporaryDirectory() as name:
        platform_ = Platform(stack, Path(name))
        server = stack.enter_context(model_server(platform_.url, platform_.home))
        bare = stack.enter_context(bare_server(platform_.small))
        found = ways(server, platform_.key, bare, platform_.small)
        times: dict[str, list[tuple[float, float]]] = {way.name: [] for way in found}
        for way in found:
            cpu_ms(way)  # warm up
        for _ in range(rounds):
            for way in found:
                times[way.name].append(cpu_ms(way))
        rates: dict[str, list[float]] = {f"{kind}-{size}": [] for kind in ("conv", "linear") for size in (16, 1)}
        for _ in range(max(3, rounds // 3)):
            for deployment, rate in rates.items():
                rate.append(throughput(server.url, platform_.key, deployment, 2.0))
        resident_mib = psutil.Process(server.process.pid).memory_info().rss / 2**20
    return {
        "requests": {
            way: {
                "cpu_median_ms": statistics.median(cpu for cpu, _ in values),
                "wall_median_ms": statistics.median(wall for _, wall in values),
            }
            for way, values in times.items()
        },
        "requests_per_s": {way: statistics.median(values) for way, values in rates.items()},
        "resident_mib": resident_mib,
    }


def print_table(result: dict[str, dict[str, dict[str, float]]]) -> None:
    requests = result["requests"]
    raw, bare = requests["raw ONNX Runtime"]["cpu_median_ms"], requests["bare FastAPI, binary"]["cpu_median_ms"]
    print(f"{'':24}{'CPU ms':>10}{'wall ms':>10}{'above raw':>12}{'/ bare':>10}")
    for way, figures in requests.items():
        cpu, wall = figures["cpu_median_ms"], figures["wall_median_ms"]
        print(f"{way:24}{cpu:10.3f}{wall:10.3f}{cpu - raw:12.3f}{cpu / bare:10.2f}")
    rates = result["requests_per_s"]
    print("\nrequests/s of 16 clients together")
    for kind in ("conv", "linear"):
        batched, single = rates[f"{kind}-16"], rates[f"{kind}-1"]
        print(f"{kind:8} up to 16 a batch {batched:7.0f}   one by one {single:7.0f}   {batched / single:5.2f} x")
    print(f"resident memory after that: {result['resident_mib']:.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--bare", nargs=2, metavar=("PORT", "MODEL"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.bare:
        serve_bare(int(arguments.bare[0]), arguments.bare[1])
        return
    result = measure(arguments.rounds)
    print_table(result)
    facts = {"rounds": arguments.rounds, "requests_a_round": REQUESTS, "onnxruntime": onnxruntime.__version__}
    facts |= {"python": platform.python_version(), "machine": platform.machine(), "cores": os.cpu_count()}
    write_result({**facts, **result}, arguments.out)


if __name__ == "__main__":
    main()
