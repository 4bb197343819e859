"""`--set`, `--grid` and `--seeds` against the JSON Schemas of the real methods."""

import pytest
import typer

from libs.client.cli.parameters import describe_range, kind_of, parse_age, parse_grid, parse_seeds, parse_settings
from libs.models.catalog import METHODS

SCHEMA = METHODS["frskd"].config.model_json_schema()


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("lr=0.05", "lr", 0.05),
        ("lr=1e-3", "lr", 1e-3),
        ("epochs=20", "epochs", 20),
        ("mix=cutmix", "mix", "cutmix"),
        ("model=timm/resnet10t", "model", "timm/resnet10t"),
        ("sla=true", "sla", True),
        ("sla=False", "sla", False),
        ("beta=none", "beta", None),
        ("beta=100", "beta", 100),
        ("milestones=[0.3, 0.6]", "milestones", [0.3, 0.6]),
        (' taps=["layer1","layer2"]', "taps", ["layer1", "layer2"]),
    ],
)
def test_values_get_the_types_of_the_schema_and_the_method_takes_them(text, name, value):
    parsed = parse_settings([text], SCHEMA)
    assert parsed == {name: value}
    assert type(parsed[name]) is type(value)
    METHODS["frskd"].config.model_validate(parsed)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr", "not of the form name=value"),
        ("learning_rate=1", "no hyper-parameter 'learning_rate'"),
        ("epoch=3", "Did you mean epochs"),
        ("epochs=three", "epochs=three: want a whole number"),
        ("epochs=2.5", "want a whole number"),
        ("epochs=0", "epochs=0: want 1 to 10000"),
        ("lr=0", "want at most 100, above 0"),
        ("mix=blend", "want one of none, mixup, cutmix"),
        ("beta=-1", "want 0 to 1000000; or none"),
        ("sla=yes", "want true or false"),
        ("milestones=0.5", r"want a list such as \[0\.5, 0\.75\]"),
    ],
)
def test_wrong_settings_say_what_is_wanted(text, message):
    with pytest.raises(typer.BadParameter, match=message):
        parse_settings([text], SCHEMA)


def test_a_grid_is_every_combination():
    grid = parse_grid(["lr=0.1,0.05", "milestones=[0.3,0.6],[0.5]"], SCHEMA)
    assert grid == [
        {"lr": 0.1, "milestones": [0.3, 0.6]},
        {"lr": 0.1, "milestones": [0.5]},
        {"lr": 0.05, "milestones": [0.3, 0.6]},
        {"lr": 0.05, "milestones": [0.5]},
    ]
    assert parse_grid([], SCHEMA) == [{}]


def test_seeds_are_lists_and_ranges():
    assert parse_seeds("0,1,5-7") == [0, 1, 5, 6, 7]
    assert parse_seeds(None) == []
    for wrong in ("a", "3-1", "0-100000", ""):
        with pytest.raises(typer.BadParameter):
            parse_seeds(wrong)


@pytest.mark.parametrize("method", METHODS)
def test_every_hyper_parameter_can_be_described(method):
    for name, wanted in METHODS[method].config.model_json_schema()["properties"].items():
        assert kind_of(wanted), name
        assert isinstance(describe_range(wanted), str)


def test_ranges_are_short():
    properties = SCHEMA["properties"]
    assert describe_range(properties["alpha"]) == "0 to 1000"
    assert describe_range(properties["temperature"]) == "at most 100, above 0"
    assert describe_range(properties["variant"]) == "channel | constant"
    assert describe_range(properties["beta"]) == "0 to 1000000 or none"


def test_an_age_has_a_unit():
    assert [parse_age(text) for text in ("12h", "30d", "2w", "0d")] == [43_200.0, 2_592_000.0, 1_209_600.0, 0.0]
    for wrong in ("", "d", "30", "-1d", "1.5d", "30 d", "1y"):
        with pytest.raises(typer.BadParameter, match="not an age"):
            parse_age(wrong)
