"""Threads that ask at the same time are computed together; limits, deadlines and failures reach the right one."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.serving.combiner import Combiner
from libs.serving.errors import DeadlineExceeded, Overloaded, ServingError
from tests.support.waiting import until


class Gate:
    """A model that doubles, and stands still until it is let go."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.entered = threading.Semaphore(0)
        self.go = threading.Semaphore(0)

    def run(self, rows: np.ndarray) -> np.ndarray:
        self.entered.release()
        assert self.go.acquire(timeout=20)
        self.sizes.append(len(rows))
        if np.isnan(rows).any():
            raise RuntimeError("it broke")
        return rows * 2


def row(value: float) -> np.ndarray:
    return np.array([[value]], np.float32)


class Asking:
    """Threads that ask a combiner behind a gate."""

    def __init__(self, pool: ThreadPoolExecutor, **options: float) -> None:
        self._pool = pool
        self.gate = Gate()
        self.combiner = Combiner(self.gate.run, **options)

    def ask(self, value: float, timeout_s: float = 20.0) -> Future[np.ndarray]:
        return self._pool.submit(self.combiner.compute, row(value), timeout_s)

    def waits(self, rows: int) -> None:
        until(lambda: self.combiner.waiting_rows == rows, f"{rows} wait", 20)

    def begin(self, value: float) -> Future[np.ndarray]:
        asked = self.ask(value)
        assert self.gate.entered.acquire(timeout=20)
        return asked

    def let(self, batches: int) -> None:
        for _ in range(batches):
            self.gate.go.release()


def test_who_comes_first_is_computed_alone_and_who_waits_together() -> None:
    with ThreadPoolExecutor(6) as pool:
        asking = Asking(pool, max_rows=3)
        asked = [asking.begin(0)]
        for count, value in enumerate((1, 2, 3, 4), start=1):
            asked.append(asking.ask(value))
            asking.waits(count)
        asking.let(3)
        assert [future.result(20).tolist() for future in asked] == [[0], [2], [4], [6], [8]]
        assert asking.gate.sizes == [1, 3, 1]
        asking.let(1)
        assert asking.ask(5).result(20).tolist() == [10], "the next one computes at once"


def test_too_many_are_told_to_come_back_and_who_waits_too_long_is_left_out() -> None:
    with ThreadPoolExecutor(4) as pool:
        asking = Asking(pool, queue_limit_rows=1)
        first = asking.begin(0)
        late = asking.ask(1, timeout_s=0.05)
        with pytest.raises(DeadlineExceeded, match="waited"):
            late.result(20)
        second = asking.ask(2)
        asking.waits(1)
        with pytest.raises(Overloaded, match="1 rows are waiting"):
            asking.combiner.compute(row(3))
        asking.let(2)
        assert (first.result(20).tolist(), second.result(20).tolist()) == ([0], [4])
        assert asking.gate.sizes == [1, 1]


def test_a_failure_reaches_its_batch_and_the_next_goes_on() -> None:
    with ThreadPoolExecutor(4) as pool:
        asking = Asking(pool, max_rows=1)
        wrong = asking.begin(np.nan)
        right = asking.ask(1)
        asking.let(2)
        with pytest.raises(ServingError, match="it broke"):
            wrong.result(20)
        assert right.result(20).tolist() == [2]


def test_a_lone_request_waits_for_company_when_told_to() -> None:
    with ThreadPoolExecutor(3) as pool:
        asking = Asking(pool, max_rows=3, max_delay_s=30.0)
        asked = [asking.ask(value) for value in (1, 2, 3)]
        asking.let(1)
        assert [future.result(20).tolist() for future in asked] == [[2], [4], [6]]
        assert asking.gate.sizes == [3]


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 5), st.integers(1, 40))
def test_everybody_gets_their_own(max_rows: int, count: int) -> None:
    combiner = Combiner(lambda rows: rows + 1, max_rows=max_rows)
    with ThreadPoolExecutor(6) as pool:
        answers = pool.map(lambda value: combiner.compute(row(value)).item(), range(count))
        assert list(answers) == [value + 1 for value in range(count)]
    assert combiner.waiting_rows == 0
