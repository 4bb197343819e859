"""Batches form by themselves; limits, deadlines and failures reach the right request."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.serving.batcher import Batcher
from libs.serving.errors import DeadlineExceeded, Overloaded, ServingError


class Gate:
    """A model that doubles, and stands still until it is let go."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.entered = threading.Semaphore(0)
        self.go = threading.Semaphore(0)

    def run(self, batch: np.ndarray) -> np.ndarray:
        self.entered.release()
        assert self.go.acquire(timeout=20)
        self.sizes.append(len(batch))
        if np.isnan(batch).any():
            raise RuntimeError("it broke")
        return batch * 2


@contextmanager
def batcher(run, **options) -> Iterator[Batcher]:
    made = Batcher(run, **options)
    yield made
    made.close()
    made.join(20)


def rows(*values: float) -> np.ndarray:
    return np.array(values, np.float32)[:, None]


def test_what_waits_together_is_computed_together() -> None:
    gate = Gate()
    with batcher(gate.run, max_rows=3) as queue:
        futures = [queue.submit(rows(0))]
        assert gate.entered.acquire(timeout=20)
        futures += [queue.submit(rows(value)) for value in (1, 2, 3, 4)]
        for _ in range(3):
            gate.go.release()
        answers = [future.result(20) for future in futures]
    assert gate.sizes == [1, 3, 1]
    assert [answer.output.tolist() for answer in answers] == [[[0]], [[2]], [[4]], [[6]], [[8]]]
    assert [answer.batch_rows for answer in answers] == [1, 3, 3, 3, 1]
    assert all(answer.queue_s >= 0 and answer.compute_s >= 0 for answer in answers)


def test_a_request_is_never_split_and_shapes_are_not_mixed() -> None:
    gate = Gate()
    with batcher(gate.run, max_rows=3) as queue:
        first = queue.submit(rows(0))
        assert gate.entered.acquire(timeout=20)
        two = queue.submit(rows(1, 2))
        also_two = queue.submit(rows(3, 4))
        wide = queue.submit(np.zeros((1, 5), np.float32))
        for _ in range(4):
            gate.go.release()
        assert also_two.result(20).output.tolist() == [[6], [8]]
        assert two.result(20).batch_rows == 2
        assert wide.result(20).output.shape == (1, 5)
        assert first.result(20).batch_rows == 1
    assert gate.sizes == [1, 2, 2, 1]


def test_a_lone_request_waits_for_company_only_when_told_to() -> None:
    with batcher(lambda batch: batch, max_rows=8, max_delay_s=30.0) as queue:
        lonely = queue.submit(rows(1))
        company = queue.submit(rows(*range(7)))
        assert lonely.result(20).batch_rows == company.result(20).batch_rows == 8


def test_a_full_queue_says_when_to_come_back() -> None:
    gate = Gate()
    with batcher(gate.run, max_rows=2, queue_limit_rows=3) as queue:
        futures = [queue.submit(rows(0))]
        assert gate.entered.acquire(timeout=20)
        futures += [queue.submit(rows(1, 2)), queue.submit(rows(3))]
        with pytest.raises(Overloaded, match="3 rows are waiting") as full:
            queue.submit(rows(4))
        assert full.value.retry_after_s >= 1
        for _ in range(3):
            gate.go.release()
        for future in futures:
            future.result(20)
        futures = [queue.submit(rows(5))]
        gate.go.release()
        assert futures[0].result(20).output.tolist() == [[10]]


def test_what_waited_too_long_is_not_computed() -> None:
    gate = Gate()
    with batcher(gate.run) as queue:
        first = queue.submit(rows(0))
        assert gate.entered.acquire(timeout=20)
        late = queue.submit(rows(1), timeout_s=0.0)
        given_up = queue.submit(rows(2))
        given_up.cancel()
        in_time = queue.submit(rows(3))
        gate.go.release()
        gate.go.release()
        with pytest.raises(DeadlineExceeded, match="waited"):
            late.result(20)
        assert in_time.result(20).batch_rows == 1
        first.result(20)
    assert gate.sizes == [1, 1]


def test_a_failing_model_fails_its_batch_and_goes_on() -> None:
    gate = Gate()
    gate.go.release()
    gate.go.release()
    with batcher(gate.run) as queue:
        with pytest.raises(ServingError, match="it broke"):
            queue.submit(rows(np.nan)).result(20)
        assert queue.submit(rows(1)).result(20).output.tolist() == [[2]]


def test_closing_computes_what_waits_and_refuses_the_rest() -> None:
    gate = Gate()
    with batcher(gate.run) as queue:
        first = queue.submit(rows(0))
        assert gate.entered.acquire(timeout=20)
        waiting = queue.submit(rows(1))
        queue.close()
        with pytest.raises(ServingError, match="unloaded"):
            queue.submit(rows(2))
        gate.go.release()
        gate.go.release()
        assert first.result(20).output.tolist() == [[0]]
        assert waiting.result(20).output.tolist() == [[2]]


@settings(max_examples=25)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=40))
def test_every_request_gets_its_own_rows(sizes: list[int]) -> None:
    with batcher(lambda batch: batch + 1, max_rows=4, queue_limit_rows=1000) as queue:
        sent = [np.full((size, 1), number, np.float32) for number, size in enumerate(sizes)]
        answers = [future.result(20) for future in [queue.submit(each) for each in sent]]
    for each, answer in zip(sent, answers, strict=True):
        assert np.array_equal(answer.output, each + 1)
        assert answer.batch_rows <= 4
