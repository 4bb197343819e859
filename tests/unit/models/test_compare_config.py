"""What a comparison runs: the arms that a request names, and the settings they share."""

import pytest

from libs.models.catalog import METHODS
from libs.models.compare_config import USUAL, BaselineError, CompareConfig
from libs.models.rksa.config import RksaConfig
from libs.serving.comparison.task import COMPARES


def test_every_task_of_the_catalog_can_be_compared() -> None:
    tasks = {method.task for method in METHODS.values()}
    assert tasks == USUAL.keys() == COMPARES.keys()


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        ("afd", ["afd", "supervised"]),
        ("rksa", ["rksa", "sasrec", "gru4rec", "narm", "bpr-mf"]),
        ("gru4rec", ["gru4rec", "sasrec", "narm", "bpr-mf"]),
    ],
)
def test_the_usual_baselines_of_a_method(of: str, expected: list[str]) -> None:
    assert [arm.name for arm in CompareConfig(of=of).arms()] == expected


def test_sasrec_has_all_that_it_shares_with_rksa_and_others_what_every_recommender_has() -> None:
    config = CompareConfig(
        of="rksa", config={"epochs": 3, "width": 16, "objective": "bce"}, baselines=["sasrec", "narm"]
    )
    mine, sasrec, narm = config.arms()
    assert isinstance(mine.config, RksaConfig)
    assert (sasrec.config.epochs, sasrec.config.width, sasrec.config.objective) == (3, 16, "bce")  # type: ignore[attr-defined]
    assert (narm.config.epochs, narm.config.width, narm.config.objective) == (3, 64, "bce")  # type: ignore[attr-defined]


def test_what_makes_a_method_what_it_is_is_neither_passed_on_nor_set() -> None:
    of_bpr = CompareConfig(of="bpr-mf", config={"negatives": 5, "lr": 0.02}, baselines=["gru4rec"]).arms()[1].config
    assert (of_bpr.objective, of_bpr.negatives, of_bpr.lr) == ("softmax", 1, 0.02)  # type: ignore[attr-defined]
    bpr = CompareConfig(of="gru4rec", config={"objective": "bce"}, baselines=["bpr-mf"]).arms()[1].config
    assert bpr.objective == "bpr"  # type: ignore[attr-defined]


def test_variants_of_the_method_and_of_others() -> None:
    config = CompareConfig(of="rksa", config={"width": 8}, baselines=["no-skew", "user-alone", "gru4rec.untied"])
    _, plain, alone, untied = config.arms()
    assert (plain.method, plain.config.skew, plain.config.width) == ("rksa", False, 8)  # type: ignore[attr-defined]
    assert alone.config.relations == ("user",)  # type: ignore[attr-defined]
    assert (untied.method, untied.config.tied) == ("gru4rec", False)  # type: ignore[attr-defined]


def test_what_comes_to_the_same_is_not_compared() -> None:
    with pytest.raises(BaselineError, match=r"untied is gru4rec here, with the same settings") as caught:
        CompareConfig(of="gru4rec", config={"tied": False}, baselines=["narm", "untied"]).arms()
    assert caught.value.index == 1


@pytest.mark.parametrize("method", METHODS)
def test_every_variant_is_another_setting_of_its_method(method: str) -> None:
    usual = METHODS[method].config()
    for name in METHODS[method].variants:
        config = CompareConfig(of=method, baselines=[name]).arms()[1].config
        assert config != usual
        assert type(config) is type(usual)


@pytest.mark.parametrize(
    ("of", "baseline", "message"),
    [
        ("rksa", "supervised", "does another task"),
        ("rksa", "gru4rec.tied", "Did you mean gru4rec.untied"),
        ("rksa", "rksa", "is what is compared"),
        ("rksa", "untied", "There is no baseline 'untied'"),
    ],
)
def test_a_baseline_that_there_is_none_of(of: str, baseline: str, message: str) -> None:
    with pytest.raises(BaselineError, match=message):
        CompareConfig(of=of, baselines=[baseline]).arms()
