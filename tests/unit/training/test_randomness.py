import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from libs.training.checkpoint import publish_checkpoint, read_checkpoint
from libs.training.randomness import (
    NotRepeatableError,
    derived_seed,
    prepare_randomness,
    random_state,
    repeatable_or_refused,
    restore_random_state,
    seed_everything,
)

CPU = torch.device("cpu")


def draws() -> tuple[float, ...]:
    return (random.random(), random.gauss(0, 1), np.random.normal(), float(torch.rand(())), float(torch.randn(3)[2]))


def test_every_generator_goes_on_where_it_was_through_a_file(tmp_path: Path) -> None:
    seed_everything(3)
    draws()  # leaves half a gauss pair in two generators
    saved = publish_checkpoint(tmp_path, 1, {"random": random_state(CPU)})
    expected = [draws() for _ in range(3)]
    seed_everything(99)
    restore_random_state(read_checkpoint(saved.path)["random"], CPU)
    assert [draws() for _ in range(3)] == expected


def test_a_run_may_go_on_on_another_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where there are fewer: only the generator of the GPU it computes on is kept."""
    generators = {0: torch.tensor([7], dtype=torch.uint8), 1: torch.tensor([9], dtype=torch.uint8)}
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: generators[device.index])
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: generators.update({device.index: state}))
    restore_random_state(random_state(torch.device("cuda", 1)), torch.device("cuda", 0))
    assert generators[0].item() == 9


def test_equal_seeds_draw_equally() -> None:
    prepare_randomness(4, deterministic=True)
    first = draws()
    prepare_randomness(4, deterministic=False)
    assert draws() == first
    seed_everything(5)
    assert draws() != first


def test_deterministic_mode_is_switched_on_and_off() -> None:
    prepare_randomness(0, deterministic=True)
    assert torch.are_deterministic_algorithms_enabled()
    prepare_randomness(0, deterministic=False)
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_kernel_that_is_not_repeatable_is_refused_with_the_setting_that_allows_it() -> None:
    prepare_randomness(0, deterministic=True)
    wanted = r"^put_ .*on this device\. Set `deterministic` to false"
    with pytest.raises(NotRepeatableError, match=wanted), repeatable_or_refused():
        torch.zeros(2).put_(torch.tensor([0]), torch.ones(1))
    with pytest.raises(RuntimeError, match="invalid for input of size"), repeatable_or_refused():
        torch.zeros(2).reshape(3)


@given(st.lists(st.integers(0, 2**31), min_size=1, max_size=4))
def test_derived_seeds_fit_torch_and_depend_on_order(parts: list[int]) -> None:
    seed = derived_seed(*parts)
    torch.Generator().manual_seed(seed)
    assert 0 <= seed < 2**63
    assert seed == derived_seed(*parts)
    if parts != parts[::-1]:
        assert seed != derived_seed(*parts[::-1])
