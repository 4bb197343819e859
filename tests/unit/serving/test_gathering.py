"""What is asked while something is computed is computed next, together."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from libs.serving.gathering import Gathering


class Gate:
    """Doubles numbers, and stands still until it is let go; refuses gatherings with a 13 in them."""

    def __init__(self) -> None:
        self.turns: list[list[int]] = []
        self.entered = threading.Semaphore(0)
        self.go = threading.Semaphore(0)

    def answer(self, asked: Sequence[int]) -> list[int]:
        self.turns.append(list(asked))
        self.entered.release()
        assert self.go.acquire(timeout=20)
        if 13 in asked:
            raise ValueError("no 13")
        return [2 * one for one in asked]

    async def begun(self) -> None:
        assert await asyncio.to_thread(self.entered.acquire, timeout=20)


def test_who_comes_meanwhile_is_answered_next_and_together() -> None:
    gate = Gate()

    async def scene() -> list[int]:
        gathering = Gathering(gate.answer, most=2)
        asked = [asyncio.create_task(gathering.ask(1))]
        await gate.begun()
        asked += [asyncio.create_task(gathering.ask(number)) for number in (2, 3, 4)]
        await asyncio.sleep(0)
        assert len(gathering) == 3
        asked[2].cancel()  # whoever gave up delays nobody
        for _ in range(3):
            gate.go.release()
        return [await one for one in (asked[0], asked[1], asked[3])]

    assert asyncio.run(scene()) == [2, 4, 8]
    assert gate.turns == [[1], [2, 3], [4]]


def test_a_failure_is_everybodys_of_its_turn_and_the_next_goes_on() -> None:
    gate = Gate()

    async def scene() -> None:
        gathering = Gathering(gate.answer)
        together = [asyncio.create_task(gathering.ask(number)) for number in (13, 1)]
        gate.go.release()
        gate.go.release()
        for one in together:
            with pytest.raises(ValueError, match="no 13"):
                await one
        assert await gathering.ask(4) == 8

    asyncio.run(scene())
    assert gate.turns == [[13, 1], [4]]
