"""From options and files to the request of a job."""

from pathlib import Path

import pytest
import typer

from libs.client.cli import submission
from libs.client.cli.submission import Given
from libs.client.errors import LocalFileError
from libs.client.records import Method
from services.gateway.methods.service import detail

OTHERS = {
    "distil": Method.of(
        {"name": "distil", "datasets": ["source", "target"], "models": ["teacher"], "optional_models": ["init"]}
    )
}


class Gateway:
    """Knows the methods' schemas."""

    def __init__(self) -> None:
        self.methods = self

    def get(self, key: str) -> Method:
        return OTHERS.get(key) or Method.of(detail(key).model_dump())


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


def test_what_stands_beside_a_model_is_named_by_its_role():
    given = Given("evaluate", dataset=["cats"], model=["dogs", "gru4rec=wolves@2"])
    assert submission.build(Gateway(), given, None) == {
        "method": "evaluate",
        "datasets": {"data": "cats"},
        "models": {"model": "dogs", "gru4rec": "wolves@2"},
    }


@pytest.mark.parametrize(
    ("method", "reads"),
    [
        ("frskd", {"datasets": {"train": "cats"}, "models": {"init": "dogs@2"}}),
        ("supervised", {"datasets": {"train": "cats"}, "models": {"init": "dogs@2"}}),
        ("predict", {"datasets": {"data": "cats"}, "models": {"model": "dogs@2"}}),
        ("hcrnn", {"datasets": {"train": "cats"}, "models": {"init": "dogs@2"}}),
        ("evaluate", {"datasets": {"data": "cats"}, "models": {"model": "dogs@2"}}),
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


def test_a_broken_file_is_told_by_its_place_alone(tmp_path: Path):
    (tmp_path / "b.yaml").write_text("method: frskd\nconfig: {lr: 0.1\nseed: 1\n")
    with pytest.raises(LocalFileError, match=r"b\.yaml is neither YAML nor JSON \(line 3, column 5\): ") as caught:
        submission.read_spec(tmp_path / "b.yaml")
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path):
    with pytest.raises(LocalFileError, match=r"r\.html cannot be written: No such file"):
        submission.write(tmp_path / "nowhere" / "r.html", b"")


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


def test_names_from_the_platform_do_not_lead_out_of_the_folder(tmp_path: Path):
    assert submission.inside(tmp_path, "plots/a.png") == tmp_path.resolve() / "plots" / "a.png"
    with pytest.raises(LocalFileError, match="leads out of"):
        submission.inside(tmp_path, "../outside")
