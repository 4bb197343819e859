"""What a service has loaded stays as long as its process; the garbage collector need not look at it again."""

import gc


def keep_what_is_loaded() -> None:
    """Once the application is built: a full collection then walks through what requests made, not through the code."""
    gc.collect()
    gc.freeze()
