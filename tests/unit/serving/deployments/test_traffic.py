"""Who answers for whom: by the shares, always alike, and with no more moves than the shares ask for."""

from collections import Counter
from math import sqrt
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from libs.serving.deployments.traffic import Traffic

USERS = [f"u{number}" for number in range(2000)]
Shares = dict[str, float]
shares = st.dictionaries(st.sampled_from("abcd"), st.integers(1, 25).map(float), max_size=4)


def arms(percent: Shares, salt: str = "", deployment: int = 1) -> list[str]:
    """The arm of each user; empty: the deployment itself."""
    traffic = Traffic(UUID(int=deployment), salt, percent)
    return [traffic.arm_of(user) or "" for user in USERS]


def weight(percent: Shares, arm: str) -> float:
    return percent.get(arm, 0.0) if arm else 100 - sum(percent.values())


def is_about(count: int, percent: float) -> bool:
    """Within six standard deviations."""
    p = percent / 100
    return abs(count - len(USERS) * p) <= 6 * sqrt(len(USERS) * p * (1 - p)) + 1e-9


@settings(max_examples=25)
@given(shares)
def test_each_arm_gets_its_share(percent: Shares) -> None:
    found = Counter(arms(percent))
    assert found.keys() <= {"", *percent}
    assert all(is_about(found[arm], weight(percent, arm)) for arm in ("", *percent))


@settings(max_examples=25)
@given(shares, shares)
def test_whoever_moves_goes_to_what_grew_against_what_was(old: Shares, new: Shares) -> None:
    for before, after in zip(arms(old), arms(new), strict=True):
        if before != after:
            assert weight(new, after) * weight(old, before) >= weight(old, after) * weight(new, before)


def test_with_one_arm_exactly_as_many_move_as_the_share_changes() -> None:
    ten, thirty = arms({"new": 10}), arms({"new": 30})
    assert all(after == "new" for before, after in zip(ten, thirty, strict=True) if before == "new")
    assert is_about(sum(one != other for one, other in zip(ten, thirty, strict=True)), 20)


def test_an_arm_that_grows_takes_hardly_anybody_from_another() -> None:
    before, after = arms({"a": 10, "b": 10}), arms({"a": 20, "b": 10})
    assert is_about(sum(one != other for one, other in zip(before, after, strict=True)), 10.91)


def test_draws_are_kept_apart_by_deployment_and_by_salt_and_the_order_of_arms_means_nothing() -> None:
    one = arms({"a": 50})
    for other in (arms({"a": 50}, deployment=2), arms({"a": 50}, salt="again")):
        assert is_about(sum(mine == theirs for mine, theirs in zip(one, other, strict=True)), 50)
    assert arms({"a": 20, "b": 30}) == arms({"b": 30, "a": 20})


def test_all_and_nothing() -> None:
    assert set(arms({"new": 100})) == {"new"}
    assert set(arms({"a": 33.3, "b": 33.3, "c": 33.4})) == {"a", "b", "c"}
    assert set(arms({})) == {""}
