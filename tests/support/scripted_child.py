"""`services.worker.child` in which `supervised` is the scripted method.

With `OCTAVO_TEST_CHECKPOINTS=torch` in the environment its checkpoints are the product's own, else plain JSON.
"""

import dataclasses
import os
import sys
from pathlib import Path

from libs.models.catalog import METHODS
from services.worker.child import run_and_exit
from tests.support import json_checkpoint

METHODS["supervised"] = dataclasses.replace(METHODS["supervised"], entry="tests.support.scripted_method:train")
if os.environ.get("OCTAVO_TEST_CHECKPOINTS") != "torch":
    sys.modules["libs.training.checkpoint"] = json_checkpoint

if __name__ == "__main__":
    run_and_exit(Path(sys.argv[1]))
