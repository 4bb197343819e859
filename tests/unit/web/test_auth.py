from dataclasses import replace
from uuid import uuid4

import pytest

from libs.web.auth import Caller, NewKey, Scope, StoredKey, identify, make_key
from libs.web.problems import UnauthorizedError


class Keys:
    """Keys in memory."""

    def __init__(self, key: NewKey) -> None:
        caller = Caller(uuid4(), uuid4(), frozenset({Scope.JOBS_READ}))
        self.stored = {key.prefix: StoredKey(caller, key.digest, revoked=False, use_is_noted=False)}
        self.asked: list[str] = []
        self.used: list[object] = []

    def knows(self, key: str) -> bool:
        return False

    def find(self, prefix: str) -> StoredKey | None:
        self.asked.append(prefix)
        return self.stored.get(prefix)

    def note_use(self, key_id: object) -> None:
        self.used.append(key_id)


@pytest.fixture
def key() -> NewKey:
    return make_key()


@pytest.fixture
def keys(key: NewKey) -> Keys:
    return Keys(key)


def test_a_key_finds_its_caller_and_its_use_is_noted(key: NewKey, keys: Keys) -> None:
    caller = identify(key.text, keys)
    assert caller == keys.stored[key.prefix].caller
    assert keys.used == [caller.key_id]


def test_a_use_that_is_noted_is_not_written_again(key: NewKey, keys: Keys) -> None:
    keys.stored[key.prefix] = replace(keys.stored[key.prefix], use_is_noted=True)
    identify(key.text, keys)
    assert keys.used == []


def test_only_the_digest_is_kept(key: NewKey) -> None:
    assert key.text.split("_")[2] not in f"{key.prefix} {key.digest}"


@pytest.mark.parametrize("change", ["secret", "prefix", "scheme", "longer"])
def test_a_wrong_key_is_refused(key: NewKey, keys: Keys, change: str) -> None:
    scheme, prefix, secret = key.text.split("_")
    wrong = {
        "secret": f"{scheme}_{prefix}_{secret[:-1]}{'0' if secret[-1] != '0' else '1'}",
        "prefix": f"{scheme}_0000000000_{secret}",
        "scheme": f"xyz_{prefix}_{secret}",
        "longer": key.text + "x" * 300,
    }[change]
    with pytest.raises(UnauthorizedError):
        identify(wrong, keys)
    assert keys.used == []


def test_a_revoked_key_is_refused_like_an_unknown_one(key: NewKey, keys: Keys) -> None:
    keys.stored[key.prefix] = replace(keys.stored[key.prefix], revoked=True)
    with pytest.raises(UnauthorizedError) as revoked:
        identify(key.text, keys)
    with pytest.raises(UnauthorizedError) as unknown:
        identify(make_key().text, keys)
    assert revoked.value.detail == unknown.value.detail


@pytest.mark.parametrize("text", ["", "oct", "oct_a", "oct_a_b_c", "_" * 50, "oct__"])
def test_malformed_keys_are_refused(keys: Keys, text: str) -> None:
    with pytest.raises(UnauthorizedError):
        identify(text, keys)


def test_admin_may_do_everything() -> None:
    admin = Caller(uuid4(), uuid4(), frozenset({Scope.ADMIN}))
    assert all(admin.may(scope) for scope in Scope)
    assert not Caller(uuid4(), uuid4(), frozenset({Scope.JOBS_READ})).may(Scope.JOBS_WRITE)


def test_keys_differ() -> None:
    assert len({make_key().text for _ in range(100)}) == 100
