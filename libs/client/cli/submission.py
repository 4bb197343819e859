"""From options and files to the request of a job."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from libs.client.cli import parameters
from libs.client.errors import LocalFileError

if TYPE_CHECKING:
    from libs.client.client import Octavo
    from libs.client.records import Method

_FILE_LIMIT_BYTES = 1 << 20
_USUAL = "usual"
"""In place of names of baselines: those that the gateway chooses by what the method does."""
_PINNED = ("dataset_digests", "model_digests", "digests")


@dataclass(frozen=True, slots=True)
class GivenTeacher:
    """The options of `jobs submit` about the teacher: a model's name, the network of one to be trained first, or the
    model that is tuned first; and settings of that training."""

    name: str | None = None
    train: str | None = None
    tune: str | None = None
    setting: Sequence[str] = ()

    def request(self, octavo: "Octavo") -> str | dict[str, Any] | None:
        """What stands under `teacher` in a job request."""
        given = [option for option, value in self._options() if value is not None]
        if len(given) > 1:
            raise typer.BadParameter(f"Give one of {' and '.join(given)}.")
        if self.setting and self.train is None and self.tune is None:
            raise typer.BadParameter("--teacher-set goes with --train-teacher or --tune-teacher.")
        if self.train is None and self.tune is None:
            return self.name
        schema = octavo.methods.get("supervised").config_schema or {}
        fields = {**schema.get("properties", {}), "dataset": {"type": "string"}, "seed": {"type": "integer"}}
        settings = parameters.parse_settings(self.setting, {**schema, "properties": fields})
        if self.train is not None:
            return {"train": {"model": self.train, **settings}}
        return {"init": self.tune, "finetune": settings}

    def _options(self) -> list[tuple[str, str | None]]:
        return [("--teacher", self.name), ("--train-teacher", self.train), ("--tune-teacher", self.tune)]


@dataclass(frozen=True, slots=True)
class Given:
    """The options of `jobs submit`."""

    method: str | None = None
    dataset: Sequence[str] = ()
    model: Sequence[str] = ()
    setting: Sequence[str] = ()
    seed: int | None = None
    name: str | None = None
    device: str | None = None
    gpus: int | None = None
    timeout_s: float | None = None
    priority: int | None = None
    teacher: "GivenTeacher" = field(default_factory=lambda: GivenTeacher())
    baselines: str | None = None


def build(octavo: "Octavo", given: Given, file: Path | None) -> dict[str, Any]:
    """The request: what stands in `file`, and what was given over it."""
    return build_on(octavo, given, read_spec(file) if file is not None else {})


def build_on(octavo: "Octavo", given: Given, base: dict[str, Any]) -> dict[str, Any]:
    """The request: `base`, and what was given over it."""
    if given.method is None and "method" not in base:
        raise typer.BadParameter("Name a method, as in `octavo jobs submit frskd`, or give --file.")
    return merge(octavo, base, given)


def merge(octavo: "Octavo", base: dict[str, Any], given: Given) -> dict[str, Any]:
    """`base` with what was given over it."""
    spec = {key: value for key, value in base.items() if key not in _PINNED}
    spec["method"] = given.method or spec["method"]
    method = octavo.methods.get(spec["method"])
    # A bare name is what is needed, or what a training starts from; what stands beside a model is always named by role.
    beside = method.beside or ()
    model_roles = [*(method.models or ()), *(role for role in method.optional_models or () if role not in beside)]
    dataset_roles = method.datasets or method.optional_datasets or ()
    spec["datasets"] = {**spec.get("datasets", {}), **_by_role(given.dataset, method, "dataset", dataset_roles)}
    spec["models"] = {**spec.get("models", {}), **_by_role(given.model, method, "model", model_roles)}
    if given.setting:
        settings = parameters.parse_settings(given.setting, method.config_schema or {})
        spec["config"] = {**spec.get("config", {}), **settings}
    if (teacher := given.teacher.request(octavo)) is not None:
        spec["teacher"] = teacher
        spec["models"].pop("teacher", None)
    if given.baselines is not None:
        named = None if given.baselines == _USUAL else _names(given.baselines)
        spec["compare"] = {**spec.get("compare", {}), "baselines": named}
    simple = {"seed": given.seed, "name": given.name, "timeout_s": given.timeout_s, "priority": given.priority}
    spec |= {key: value for key, value in simple.items() if value is not None}
    resources = {"device": given.device, "gpus": given.gpus}
    wanted = {key: value for key, value in resources.items() if value is not None}
    if wanted:
        spec["resources"] = {**spec.get("resources", {}), **wanted}
    return {key: value for key, value in spec.items() if not _says_nothing(key, value)}


def _says_nothing(key: str, value: Any) -> bool:
    """`compare: {}` asks for a comparison; an empty `teacher` is for the gateway to refuse."""
    return value is None or (value == {} and key in ("datasets", "models", "config", "resources"))


def _names(text: str) -> list[str]:
    """`supervised,kd` → its parts."""
    return [name.strip() for name in text.split(",") if name.strip()]


def _by_role(texts: Sequence[str], method: "Method", option: str, roles: Sequence[str]) -> dict[str, str]:
    """`["cats", "source=dogs"]` → `{"train": "cats", "source": "dogs"}` where `train` is the method's one role."""
    chosen: dict[str, str] = {}
    for text in texts:
        role, equals, name = text.partition("=")
        if not equals:
            role, name = _only_role(method, option, roles, text), text
        if role in chosen:
            raise typer.BadParameter(f"--{option} names {role} twice: {chosen[role]} and {name}.")
        chosen[role] = name
    return chosen


def _only_role(method: "Method", option: str, roles: Sequence[str], name: str) -> str:
    if not roles:
        raise typer.BadParameter(f"{method.name} takes no --{option}.")
    if len(roles) > 1:
        shown = " or ".join(f"--{option} {role}={name}" for role in roles)
        raise typer.BadParameter(f"{method.name} has several roles for --{option}: write {shown}.")
    return roles[0]


def read_spec(file: Path) -> dict[str, Any]:
    """A request from a YAML or JSON file.

    Raises:
        LocalFileError: it cannot be read, or is no request.
    """
    import yaml

    try:
        if file.stat().st_size > _FILE_LIMIT_BYTES:
            raise LocalFileError(f"{file} is larger than 1 MB; that is no job request.")
        found = yaml.safe_load(file.read_text())
    except OSError as error:
        raise LocalFileError(f"{file} cannot be read: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise LocalFileError(f"{file} is neither YAML nor JSON{_where(error)}.") from None
    if not isinstance(found, dict):
        raise LocalFileError(f"{file} holds no job request; `octavo jobs export JOB` shows what one looks like.")
    return found


def _where(error: Exception) -> str:
    """Line, column and what is wrong there, in one line."""
    mark = getattr(error, "problem_mark", None)
    place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else ""
    problem = getattr(error, "problem", None)
    return f"{place}: {problem}" if problem else place


def compare(spec: dict[str, Any], seeds: str | None) -> dict[str, Any]:
    """A request of a comparison, with the seeds that were given."""
    chosen = parameters.parse_seeds(seeds)
    return {**spec, "compare": {**spec["compare"], **({"seeds": chosen} if chosen else {})}}


def vary(octavo: "Octavo", spec: dict[str, Any], seeds: str | None, grid: Sequence[str]) -> list[dict[str, Any]]:
    """One request for every seed and every combination of the grid."""
    schema = (octavo.methods.get(spec["method"]).config_schema or {}) if grid else {}
    combinations = parameters.parse_grid(grid, schema)
    chosen = parameters.parse_seeds(seeds) or [int(spec.get("seed", 0))]
    return [
        {**spec, "seed": seed, "config": {**spec.get("config", {}), **combination}}
        for combination in combinations
        for seed in chosen
    ]


def inside(folder: Path, name: str) -> Path:
    """`folder/name`, refused when the name leads elsewhere.

    Raises:
        LocalFileError: it does.
    """
    target = (folder / name).resolve()
    if not target.is_relative_to(folder.resolve()):
        raise LocalFileError(f"The file name {name!r} leads out of {folder}; it was not written.")
    return target


def write(target: Path, content: bytes) -> None:
    """Write a file.

    Raises:
        LocalFileError: it cannot be written.
    """
    try:
        target.write_bytes(content)
    except OSError as error:
        raise LocalFileError(f"{target} cannot be written: {error.strerror or error}.") from None
