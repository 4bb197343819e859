"""From options and files to the request of a job."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import typer

from libs.client.cli import submission
from libs.client.cli.submission import Given
from libs.client.errors import LocalFileError, NotFoundError
from libs.client.records import Method
from libs.jobs.tasks import TASKS
from libs.models.catalog import METHODS
from services.gateway.methods.service import detail

OTHERS = {
    "distil": Method.of(
        {"name": "distil", "datasets": ["source", "target"], "models": ["teacher"], "optional_models": ["init"]}
    )
}


class Gateway:
    """Knows the methods' schemas, and some jobs."""

    def __init__(self, *jobs: tuple[str, str]) -> None:
        self._jobs = [SimpleNamespace(id=job_id, name=name) for job_id, name in jobs]
        self.methods = self.jobs = self

    def get(self, key: str) -> SimpleNamespace | Method:
        if key in METHODS or key in TASKS or key in OTHERS:
            return OTHERS.get(key) or Method.of(detail(key).model_dump())
        return next(job for job in self._jobs if job.id == key)

    def list(self, *, name: str | None = None, limit: int = 50):
        return (job for job in self._jobs if name is None or job.name == name)


def test_options_become_a_request_with_nothing_that_was_not_said():
    given = Given("frskd", dataset=["cats@2"], model=["init=dogs"], setting=["lr=0.05"], seed=3, device="cpu")
    assert submission.build(Gateway(), given, None) == {
        "method": "frskd",
        "datasets": {"train": "cats@2"},
        "models": {"init": "dogs"},
        "config": {"lr": 0.05},
        "seed": 3,
        "resources": {"device": "cpu"},
    }


def test_tasks_have_other_roles():
    spec = submission.build(Gateway(), Given("evaluate", dataset=["cats"], model=["dogs"]), None)
    assert spec == {"method": "evaluate", "datasets": {"data": "cats"}, "models": {"model": "dogs"}}


@pytest.mark.parametrize(
    ("method", "reads"),
    [
        ("frskd", {"datasets": {"train": "cats"}, "models": {"init": "dogs@2"}}),
        ("supervised", {"datasets": {"train": "cats"}, "models": {"init": "dogs@2"}}),
        ("predict", {"datasets": {"data": "cats"}, "models": {"model": "dogs@2"}}),
    ],
)
def test_a_bare_name_takes_the_only_role_of_the_method(method: str, reads: dict):
    spec = submission.build(Gateway(), Given(method, dataset=["cats"], model=["dogs@2"]), None)
    assert spec == {"method": method, **reads}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            Given("distil", model=["dogs"]),
            "distil has several roles for --model: write --model teacher=dogs or --model",
        ),
        (Given("distil", dataset=["cats"]), "--dataset source=cats or --dataset target=cats"),
        (Given("import-onnx", model=["dogs"]), "import-onnx takes no --model"),
        (Given("frskd", dataset=["cats", "dogs"]), "--dataset names train twice: cats and dogs"),
        (Given("frskd", model=["dogs", "init=cats"]), "--model names init twice"),
    ],
)
def test_a_name_without_a_clear_role_is_refused(given: Given, message: str):
    with pytest.raises(typer.BadParameter) as caught:
        submission.build(Gateway(), given, None)
    assert message in str(caught.value)


def test_options_win_over_the_file(tmp_path: Path):
    file = tmp_path / "job.yaml"
    file.write_text(
        "method: frskd\nname: null\ndatasets: {train: cats@1}\nconfig: {lr: 0.1, epochs: 3}\nseed: 1\ndigests: {a: b}"
    )
    spec = submission.build(Gateway(), Given(setting=["lr=0.2"], seed=0, dataset=["dogs"]), file)
    assert spec == {"method": "frskd", "datasets": {"train": "dogs"}, "config": {"lr": 0.2, "epochs": 3}, "seed": 0}


@pytest.mark.parametrize(
    ("content", "message"),
    [("- a\n- b", "holds no job request"), ("a: [", "neither YAML nor JSON"), ("x" * 2_000_000, "larger than 1 MB")],
)
def test_a_file_that_is_no_request_is_refused(tmp_path: Path, content: str, message: str):
    (tmp_path / "job.yaml").write_text(content)
    with pytest.raises(LocalFileError, match=message):
        submission.read_spec(tmp_path / "job.yaml")


def test_a_yaml_file_runs_nothing(tmp_path: Path):
    file = tmp_path / "job.yaml"
    file.write_text(f"!!python/object/apply:os.mkdir ['{tmp_path / 'made'}']")
    with pytest.raises(LocalFileError, match="neither YAML nor JSON"):
        submission.read_spec(file)
    assert not (tmp_path / "made").exists()


def test_without_a_method_it_says_so():
    with pytest.raises(typer.BadParameter, match="Name a method"):
        submission.build(Gateway(), Given(dataset=["cats"]), None)


def test_seeds_and_grid_multiply():
    specs = submission.vary(Gateway(), {"method": "frskd", "config": {"epochs": 2}}, "0,1", ["lr=0.1,0.2"])
    assert [(spec["seed"], spec["config"]["lr"]) for spec in specs] == [(0, 0.1), (1, 0.1), (0, 0.2), (1, 0.2)]
    assert all(spec["config"]["epochs"] == 2 for spec in specs)


JOBS = Gateway(
    ("aaaa1111-0000-0000-0000-000000000000", "cats-frskd"),
    ("aaaa2222-0000-0000-0000-000000000000", "cats-frskd"),
    ("bbbb0000-0000-0000-0000-000000000000", "dogs-frskd"),
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("bbbb0000-0000-0000-0000-000000000000", "bbbb0000"),
        ("bb", "bbbb0000"),
        ("aaaa2", "aaaa2222"),
        ("cats-frskd", "aaaa1111"),
        ("AAAA2", "aaaa2222"),
    ],
)
def test_a_job_is_found_by_id_beginning_or_name(text: str, found: str):
    assert submission.find_job(JOBS, text).id.startswith(found)


@pytest.mark.parametrize(("text", "message"), [("cc", "no job called 'cc'"), ("aaaa", "2 jobs whose ids begin")])
def test_a_job_that_is_not_clear_is_not_guessed(text: str, message: str):
    with pytest.raises(NotFoundError, match=message):
        submission.find_job(JOBS, text)


def test_names_from_the_platform_do_not_lead_out_of_the_folder(tmp_path: Path):
    assert submission.inside(tmp_path, "plots/a.png") == tmp_path.resolve() / "plots" / "a.png"
    with pytest.raises(LocalFileError, match="leads out of"):
        submission.inside(tmp_path, "../outside")
