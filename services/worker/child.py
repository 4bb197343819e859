"""The child process of one attempt: `python -m services.worker.child FOLDER`, or a rank of it under torchrun.

It has no credentials. It reads its order, runs the method, and tells its supervisor everything by a pipe; it ends when
the supervisor does.
"""

import ctypes
import faulthandler
import os
import selectors
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from libs.jobs.spec import config_class
from libs.jobs.tasks import TASKS
from libs.models.catalog import METHODS
from libs.training.run import Inputs, Outcome, Run, Stopped
from services.worker.attempt_folder import AttemptFolder
from services.worker.messages import AttemptOrder, Failed, Finished, Started, StoppedEarly
from services.worker.pipe_run import ChildLog, MessagePipe, Phases, PipeRun

_PR_SET_PDEATHSIG = 1
_ORPHANED = 113
"""Exit status of a child whose supervisor is gone."""


def main(path: Path) -> int:
    """Run the attempt in the folder `path`; the process's exit status."""
    faulthandler.enable()
    folder = AttemptFolder(path)
    end_with_supervisor(folder)
    order = folder.read_order()
    pipe = MessagePipe(folder.messages)
    log = ChildLog(pipe)
    log.write("child_started", method=order.method, device=order.device)
    phases = Phases(pipe, wanted=order.traced and is_main_rank())
    run = PipeRun(folder, order, pipe, phases)
    try:
        outcome = execute(order, run, pipe, phases)
    except Stopped as stopped:
        log.write("child_stopped", reason=stopped.reason)
        pipe.send(StoppedEarly(reason=stopped.reason))
    except BaseException as error:
        log.write("child_failed", "error", error=type(error).__name__, message=str(error))
        pipe.send(describe_failure(error))
        return 1
    else:
        log.write("child_finished")
        if is_main_rank():
            pipe.send(finished(outcome))
    return 0


def run_and_exit(path: Path) -> NoReturn:
    """Run the attempt and end the process at once: all is said, and taking torch down in order takes seconds."""
    status = main(path)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def execute(order: AttemptOrder, run: Run, pipe: MessagePipe, phases: Phases) -> Outcome:
    """Load the method, announce it, run it."""
    phases.enter("load")
    entry = load_entry(order.method)
    config = config_class(order.method).model_validate(order.config)
    if is_main_rank():
        pipe.send(Started(device=run.device))
    phases.enter("run")
    try:
        return entry(config, Inputs(datasets=order.datasets, models=order.models), run)
    finally:
        phases.enter("")


def load_entry(method: str) -> Callable[[Any, Inputs, Run], Outcome]:
    """Entry point of a training method or a platform task."""
    return METHODS[method].load() if method in METHODS else TASKS[method].load()


def is_main_rank() -> bool:
    """Whether this process speaks for the attempt."""
    return os.environ.get("RANK", "0") == "0"


def finished(outcome: Outcome) -> Finished:
    """The outcome as a message."""
    return Finished(
        metrics=dict(outcome.metrics),
        bundle=outcome.bundle,
        report=outcome.report,
        dataset=outcome.dataset,
        files=dict(outcome.files),
        details=dict(outcome.details),
    )


def describe_failure(error: BaseException) -> Failed:
    """What went wrong, and whether trying again can help."""
    return Failed(
        error=type(error).__name__,
        message=str(error)[:8000] or type(error).__name__,
        traceback="".join(traceback.format_exception(error))[-16_000:],
        user_error=bool(getattr(error, "user_error", False)) or isinstance(error, ValidationError),
        out_of_memory=is_out_of_memory(error),
        report=getattr(error, "report", None),
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Python's MemoryError, torch's OutOfMemoryError, and the RuntimeError of torch's CPU allocator."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def end_with_supervisor(folder: AttemptFolder) -> None:
    """Die when the parent dies (the kernel's promise, Linux) and when the supervisor does (the end of a pipe).

    The second covers what the first cannot: ranks whose parent is torchrun, and other systems.
    """
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(_ORPHANED)
    alive = os.open(folder.alive, os.O_RDONLY | os.O_NONBLOCK)
    threading.Thread(target=_watch, args=(alive,), name="octavo-alive", daemon=True).start()


def _watch(alive: int) -> None:
    """Wait for the end of the pipe, which has one writer: the supervisor."""
    with suppress(BlockingIOError):
        if not os.read(alive, 1):  # it was gone before we came, which no poll would tell
            os._exit(_ORPHANED)
    with selectors.DefaultSelector() as selector:
        selector.register(alive, selectors.EVENT_READ)
        selector.select()
    os._exit(_ORPHANED)


if __name__ == "__main__":
    run_and_exit(Path(sys.argv[1]))
