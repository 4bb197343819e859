"""What is asked of an event loop at the same time is answered together, in one change of thread.

The first is answered at once. Who comes while that is computed is answered next, all in one go: the busier, the larger
the gatherings, and nobody waits for company.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Generic, TypeVar

from starlette.concurrency import run_in_threadpool

AskedT = TypeVar("AskedT")
AnswerT = TypeVar("AnswerT")


class Gathering(Generic[AskedT, AnswerT]):
    """`answer`, which answers several at once in a worker thread, for coroutines of one event loop.

    Args:
        answer: one answer for each of up to `most`, in their order; what it raises is raised to all of them.
    """

    def __init__(self, answer: Callable[[Sequence[AskedT]], Sequence[AnswerT]], most: int = 32) -> None:
        self._answer = answer
        self._most = most
        self._waiting: deque[tuple[AskedT, asyncio.Future[AnswerT]]] = deque()
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """How many wait for their turn."""
        return len(self._waiting)

    async def ask(self, asked: AskedT) -> AnswerT:
        """The answer to one."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[AnswerT] = loop.create_future()
        self._waiting.append((asked, future))
        if self._task is None:  # begins in the next turn of the loop: what is read in this one comes along
            self._task = loop.create_task(self._answer_all(), context=Context())
        return await future

    async def _answer_all(self) -> None:
        while self._waiting:
            turn = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
            try:
                answers = await run_in_threadpool(self._answer, [asked for asked, _ in turn])
            except Exception as error:
                for _, future in turn:
                    if not future.done():
                        future.set_exception(error)
            else:
                for (_, future), answer in zip(turn, answers, strict=True):
                    if not future.done():  # whoever asked may have given up
                        future.set_result(answer)
        self._task = None
