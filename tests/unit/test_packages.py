"""Each image holds the packages that its services import; what pyproject.toml asks for besides has a reason here."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OF_IMAGES = {
    "gateway": ("services.gateway", "services.worker.relay", "libs.client"),
    "inference": ("services.model_server", "services.recommender"),
    "worker": ("services.worker", "libs.data", "libs.models", "libs.training", "libs.serving.evaluate"),
}
"""Methods and tasks are loaded by name, so the worker's are named here."""
NOT_IMPORTED = {
    "fastapi-offline": "its files are served",
    "packaging": "Celery's transport over Redis imports it, and nobody asks for it",
    "tzdata": "zoneinfo reads it, where the system has none",
    "onnx": "torch's exporter imports it",
    "onnxscript": "the same",
}
NOT_THERE = {
    "gateway": {
        "numpy": "a data set's format names what only a worker runs",
        "scikit-learn": "the same",
        "safetensors": "`octavo convert`, on the user's machine",
        "torch": "the same",
    },
    "worker": {"scikit-learn": "the digits of demo and tests, of which scikit-learn has the only copy"},
}


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """Of all our modules; what a function imports is in it too."""
    return grimp.build_graph("libs", "services", include_external_packages=True, cache_dir=None)


@pytest.mark.parametrize("image", OF_IMAGES)
def test_nothing_is_asked_for_that_its_services_do_not_import(image: str, graph: grimp.ImportGraph):
    shared = [] if image == "worker" else PROJECT["dependencies"]  # a worker serves nothing, and its image is large
    asked = {_name(one) for one in (*shared, *PROJECT["optional-dependencies"][image])}
    assert asked - _imported(graph, image) <= NOT_IMPORTED.keys()


@pytest.mark.parametrize("image", OF_IMAGES)
def test_what_its_services_import_is_pinned(image: str, graph: grimp.ImportGraph):
    files = (image, "torch") if image == "worker" else (image,)
    assert _imported(graph, image) - _pinned(*files) == NOT_THERE.get(image, {}).keys()


@pytest.mark.parametrize(
    ("image", "program"),
    [
        (
            "gateway",
            "import services.gateway.app, services.gateway.prepare, services.worker.relay\n"
            "services.worker.relay.make_app('redis://nowhere').connection_for_write().get_transport_cls()",
        ),
        ("inference", "import services.model_server.app, services.recommender.app, faiss"),
    ],
)
def test_what_is_pinned_is_enough_to_start(image: str, program: str):
    """Also for what the packages import of each other, which not all of them ask for."""
    pinned = _pinned(image) | {"octavo"}
    others = [name for name, brought in packages_distributions().items() if not pinned & set(map(_name, brought))]
    hidden = f"import sys\nsys.modules |= dict.fromkeys({others})\n"
    done = subprocess.run([sys.executable, "-c", hidden + program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _pinned(*files: str) -> set[str]:
    lines = "".join((ROOT / f"requirements/{file}.txt").read_text() for file in files).splitlines()
    return {_name(line) for line in lines if "==" in line}


def _imported(graph: grimp.ImportGraph, image: str) -> set[str]:
    """Distributions; not what comes with an extra of its own, `traces` or `s3`, and is imported when that is there."""
    known = packages_distributions()
    return {_name(known[module][0]) for module in _outside(graph, OF_IMAGES[image]) - {"opentelemetry", "botocore"}}


def _outside(graph: grimp.ImportGraph, roots: tuple[str, ...]) -> set[str]:
    """The packages of others that are imported by the modules under `roots`, and by all that these import of ours."""
    left = {module for root in roots for module in (root, *graph.find_descendants(root))}
    seen: set[str] = set()
    while left:
        module = left.pop()
        seen.add(module)
        if not graph.is_module_squashed(module):
            left |= graph.find_modules_directly_imported_by(module) - seen
    return {module for module in seen if graph.is_module_squashed(module)} - sys.stdlib_module_names


def _name(requirement: str) -> str:
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")
