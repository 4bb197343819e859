"""Helper processes that start fast and inherit no locks, threads or CUDA context."""

import multiprocessing
import os
import sys
import threading
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext

_OWN_PACKAGES = ("libs", "services")
_SLOW_MODULES = ("torchvision.transforms.v2",)


def forkserver() -> ForkServerContext:
    """The forkserver start method; the server imports once what this process has loaded.

    Else every helper process would import it again, torch included, when it runs the main module. The first call
    decides: modules loaded after the server has started are imported by each process.
    """
    context = multiprocessing.get_context("forkserver")
    main = getattr(sys.modules["__main__"], "__spec__", None)
    own = [name for name in sys.modules if name.partition(".")[0] in _OWN_PACKAGES]
    slow = [name for name in _SLOW_MODULES if name in sys.modules]
    context.set_forkserver_preload([name for name in own + slow if main is None or name != main.name])
    return context


def exit_with_parent() -> None:
    """Make this helper process end when the process it works for does, killed or not.

    The parent of a helper process is the fork server, which lives as long as its helpers do: without this, both stay.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_watch, args=(parent.sentinel,), name="octavo-parent", daemon=True).start()


def _watch(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
