"""Prometheus's own checker."""

import os
import shutil
import subprocess


def promtool(*arguments: str, said: str = "") -> str:
    """What promtool has to say; it must find nothing wrong."""
    program = shutil.which(os.environ.get("OCTAVO_PROMTOOL", "promtool"))
    assert program, "promtool is part of Prometheus; .ci/run takes it from Debian's package"
    done = subprocess.run([program, *arguments], input=said, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
