"""Forms made of JSON Schemas: nested objects, choices of several things, lists; there and back."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from libs.web.problems import validation_problem
from services.gateway.dashboard import schema_fields
from services.gateway.dashboard.forms import FormData
from services.gateway.dashboard.schema_fields import Typed, about, by_field, every, fields_of, json_of, typed_values


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Training(Strict):
    """How it is trained."""

    model: str
    epochs: int = Field(default=5, ge=1)
    tags: list[str] = []


class Trained(Strict):
    """A teacher is trained first."""

    train: Training


class Tuned(Strict):
    """A model that is there goes on."""

    init: str = Field(description="Which one.")
    finetune: bool = False


class Square(Strict):
    kind: Literal["square"] = "square"
    side: float


class Circle(Strict):
    kind: Literal["circle"] = "circle"
    radius: float
    inner: Training | None = None


class Tree(Strict):
    """Goes in circles."""

    left: "Tree | None" = None
    value: int = 0


class Example(Strict):
    """A configuration with everything."""

    teacher: Trained | Tuned | Annotated[str, Field(max_length=20)] | None = Field(default=None, description="Of whom.")
    shape: Annotated[Square | Circle, Field(discriminator="kind")] = Square(side=1)
    first: Trained | None = None
    window: int | Literal["auto"] = "auto"
    names: list[str] = []
    table: dict[str, float] = {}
    pairs: list[Training] = []
    tree: Tree = Tree()
    rate: float | None = Field(default=None, gt=0)


SCHEMA: dict[str, Any] = Example.model_json_schema()
FIELDS = fields_of(SCHEMA, Typed(), "config/")


def of_texts(texts: dict[str, str]) -> FormData:
    return FormData(list(texts.items()))


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"teacher": {"train": {"model": "resnet18", "epochs": 9, "tags": ["a", "b, c"]}}},
        {"teacher": {"init": "cats@3", "finetune": True}},
        {"teacher": "cats@production"},
        {"shape": {"kind": "circle", "radius": 2.5, "inner": {"model": "small"}}},
        {"shape": {"kind": "square", "side": 3.0}},
        {"first": {"train": {"model": "x"}}},
        {"window": 7},
        {"names": ["one", "two"], "table": {"a": 0.5}, "rate": 0.1},
        {"pairs": [{"model": "a"}, {"model": "b", "epochs": 2}]},
        {"tree": {"left": {"value": 3, "left": {"value": 4}}}},
    ],
)
def test_what_a_form_shows_of_a_value_is_read_back_as_the_value(value: dict[str, Any]):
    whole = Example.model_validate(value).model_dump(mode="json")
    texts = typed_values(SCHEMA, whole, "config/")
    read = json_of(FIELDS, of_texts(texts))
    assert Example.model_validate(read.get("config", {})) == Example.model_validate(value)


def test_a_choice_counts_only_what_was_chosen():
    typed = {"config/teacher": "2", "config/teacher#1/train/model": "left over", "config/teacher#2/init": "cats"}
    assert json_of(FIELDS, of_texts(typed)) == {"config": {"teacher": {"init": "cats"}}}
    assert json_of(FIELDS, of_texts({"config/teacher": "1"})) == {"config": {"teacher": {"train": {}}}}
    assert json_of(FIELDS, of_texts({"config/shape": "2"})) == {"config": {"shape": {"kind": "circle"}}}
    assert json_of(FIELDS, of_texts({"config/teacher": "7"})) == {}


def test_the_things_that_a_value_may_be_have_names():
    teacher, shape, first = (
        next(one for one in FIELDS if one.name == f"config/{n}") for n in ("teacher", "shape", "first")
    )
    assert [variant.title for variant in teacher.variants] == ["train", "init", "a text"]
    assert [variant.title for variant in shape.variants] == ["square", "circle"]
    assert [variant.title for variant in first.variants] == ["train"]
    left = next(one for one in FIELDS if one.name == "config/tree/left")
    assert [variant.title for variant in left.variants] == ["as follows"]  # and not the name of a class
    assert teacher.variants[0].help == "A teacher is trained first."
    assert [one.label for one in teacher.variants[0].fields] == ["train: model", "train: epochs", "train: tags"]


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ({"teacher": {"train": {"model": "m", "epochs": 0}}}, "config/teacher#1/train/epochs"),
        ({"teacher": {"train": {}}}, "config/teacher#1/train/model"),
        ({"teacher": {"init": 7}}, "config/teacher#2/init"),
        ({"shape": {"kind": "circle", "radius": "wide"}}, "config/shape#2/radius"),
        ({"first": {"train": {"model": "m", "epochs": 0}}}, "config/first#1/train/epochs"),
    ],
)
def test_a_problem_stands_beside_the_field_of_what_was_chosen(value: dict[str, Any], name: str):
    with pytest.raises(ValidationError) as refused:
        Example.model_validate(value)
    errors = validation_problem(refused.value, ("config",)).errors
    union = name.partition("#")[0]
    typed = Typed({union: name.partition("#")[2][0]}, by_field(errors))
    fields = fields_of(SCHEMA, typed, "config/")
    wrong = [one.name for one in every(fields) if one.errors and one.kind != "union"]
    assert wrong == [name]
    assert name in {found.name for found, _ in (about(error, fields) for error in errors) if found}


def test_what_fits_no_field_stays_a_text_that_validation_names():
    typed = {"config/table": "{", "config/window": "wide", "config/rate": "much", "config/names": '["a", "b'}
    read = json_of(FIELDS, of_texts(typed))["config"]
    assert read == {"table": "{", "window": "wide", "rate": "much", "names": '["a", "b'}
    endless = "[" * 100_000
    typed = {"config/table": endless, "config/names": endless}
    assert json_of(FIELDS, of_texts(typed))["config"] == {"table": endless, "names": endless}


def test_a_schema_that_goes_in_circles_ends():
    depth = max(one.name.count("/") for one in all_fields(FIELDS))
    assert depth <= schema_fields._DEEPEST + 2


def all_fields(fields: Any) -> list[schema_fields.Field]:
    return [inner for one in fields for v in one.variants for inner in all_fields(v.fields)] + list(fields)
