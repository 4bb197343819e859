"""What a comparison is asked for. Imports no torch: the gateway serves the schema."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from libs.models.catalog import METHODS, Method, Task, method
from libs.models.estimate_config import EstimateConfig

MOST_SEEDS = 10
MOST_BASELINES = 8
USUAL: Mapping[Task, tuple[str, ...]] = {
    "image-classification": ("supervised",),
    "next-item": ("sasrec", "gru4rec", "narm", "bpr-mf"),
}
"""What a method of a task is compared with when nobody names a baseline, but for the method itself."""

Seed = Annotated[int, Field(ge=0, lt=2**31)]
BaselineName = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class Compare(BaseModel):
    """Train a method and its baselines on the same data with the same settings, once for each seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seeds: list[Seed] = Field(
        default=[0, 1, 2],
        min_length=2,
        max_length=MOST_SEEDS,
        description="Every run is made with each of them; with one alone there is no spread to compare with.",
    )
    baselines: list[BaselineName] | None = Field(
        default=None,
        min_length=1,
        max_length=MOST_BASELINES,
        description="Other methods of the same task, the method itself with a part switched off (`kd` of afd), or "
        "another method's variant (`gru4rec.untied`). Left out: supervised; for recommenders sasrec, gru4rec, narm and "
        "bpr-mf. Popularity and item-kNN, which learn nothing, are shown beside every recommender.",
    )

    @field_validator("seeds", "baselines")
    @classmethod
    def _each_once(cls, value: list[Any] | None) -> list[Any] | None:
        if value is not None and len(set(value)) != len(value):
            raise ValueError("name each once")
        return value


@dataclass(frozen=True, slots=True)
class Arm:
    """One thing that is compared: a method with its hyper-parameters, trained once for each seed."""

    name: str
    method: str
    config: BaseModel


class BaselineError(ValueError):
    """A baseline that cannot be compared with; `index` is its place in the list."""

    def __init__(self, index: int, message: str) -> None:
        self.index = index
        super().__init__(message)


class CompareConfig(EstimateConfig, Compare):
    """A method with its hyper-parameters, and its baselines. Data sets and models are those of the job."""

    @property
    def compared_with(self) -> list[str]:
        """The baselines that are named, or the usual ones of what the method does."""
        if self.baselines is not None:
            return self.baselines
        usual = USUAL[method(self.of).task]
        return [name for name in usual if name != self.of] or list(usual)

    def arms(self) -> list[Arm]:
        """The method itself, then each baseline.

        A baseline that is another method takes the settings that both have from a common ancestor: model, data,
        optimisation and length of the training. Its own hyper-parameters stay at their defaults, and so do those that
        make either method what it is (`Method.own_settings`).

        Raises:
            BaselineError: there is no such baseline, it does something else, or it cannot take the settings.
        """
        arms = [Arm(self.of, self.of, self.parsed())]
        for index, name in enumerate(self.compared_with):
            arm = self._baseline(index, name, arms[0].config)
            same = next((one.name for one in arms if (one.method, one.config) == (arm.method, arm.config)), None)
            if same is not None:
                raise BaselineError(index, f"{name} is {same} here, with the same settings: nothing to compare.")
            arms.append(arm)
        return arms

    def _baseline(self, index: int, name: str, config: BaseModel) -> Arm:
        mine = method(self.of)
        if name == self.of:
            raise BaselineError(index, f"{name} is what is compared; name something else to compare it with.")
        known = baselines_of(mine)
        if name not in known:
            raise BaselineError(index, _unknown(name, mine, list(known)))
        other, changes = known[name]
        own = frozenset() if other is mine else mine.own_settings | other.own_settings
        settings = {key: value for key, value in shared_settings(config, other.config).items() if key not in own}
        try:
            return Arm(name, other.name, other.config.model_validate({**settings, **changes}))
        except ValidationError as error:
            first = error.errors()[0]
            said = [*(str(step) for step in first["loc"]), first["msg"].removeprefix("Value error, ")]
            raise BaselineError(index, f"{name} cannot take these settings: {': '.join(said)}.") from None

    def runs(self) -> Mapping[str, tuple[Arm, int]]:
        """`afd/0` → arm and seed, in the order they are run: seed by seed.

        Raises:
            BaselineError: see `arms`.
        """
        arms = self.arms()
        return {run_name(arm.name, seed): (arm, seed) for seed in self.seeds for arm in arms}


def run_name(arm: str, seed: int) -> str:
    """What one training of a comparison is called: `afd/0`."""
    return f"{arm}/{seed}"


def shared_settings(config: BaseModel, other: type[BaseModel]) -> dict[str, Any]:
    """Values of the fields that a config and another class have from their nearest common ancestor."""
    ancestor = next(kind for kind in type(config).__mro__ if issubclass(other, kind) and issubclass(kind, BaseModel))
    return {name: getattr(config, name) for name in ancestor.model_fields}


def baselines_of(mine: Method) -> dict[str, tuple[Method, Mapping[str, Any]]]:
    """What a method may be compared with, by name: a method, and the settings that make it that variant."""
    own = {name: (mine, changes) for name, changes in mine.variants.items()}
    others = [one for one in METHODS.values() if (one.task, one.data) == (mine.task, mine.data) and one is not mine]
    variants = {f"{one.name}.{name}": (one, changes) for one in others for name, changes in one.variants.items()}
    return {**own, **{one.name: (one, {}) for one in others}, **variants}


def _unknown(name: str, mine: Method, known: list[str]) -> str:
    if name in METHODS:
        message = f"{name} does another task ({METHODS[name].task}) than {mine.name} ({mine.task})."
    else:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        message = f"There is no baseline {name!r}." + (f" Did you mean {' or '.join(near)}?" if near else "")
    return f"{message} Baselines of {mine.name}: {', '.join(sorted(known)) or 'none'}."
