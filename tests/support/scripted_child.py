"""`services.worker.child` in which `supervised` and `frskd` are the scripted method, and `compare` looks at its models.

With `OCTAVO_TEST_CHECKPOINTS=torch` in the environment its checkpoints are the product's own, else plain JSON. With
`OCTAVO_TEST_PUBLISHED` fashion-mnist's publisher is said to have published the small files in that folder.
"""

import dataclasses
import hashlib
import os
import sys
from pathlib import Path

from libs.jobs.tasks import TASKS
from libs.models.catalog import METHODS
from services.worker.child import run_and_exit
from tests.support import json_checkpoint

for name in ("supervised", "frskd"):
    METHODS[name] = dataclasses.replace(METHODS[name], entry="tests.support.scripted_method:train")
TASKS["compare"] = dataclasses.replace(TASKS["compare"], entry="tests.support.scripted_method:gather")
if os.environ.get("OCTAVO_TEST_CHECKPOINTS") != "torch":
    sys.modules["libs.training.checkpoint"] = json_checkpoint

if published := os.environ.get("OCTAVO_TEST_PUBLISHED"):
    from libs.data.public.catalog import CATALOG

    fashion = CATALOG["fashion-mnist"]
    digests = [hashlib.sha256((Path(published) / file.name).read_bytes()).hexdigest() for file in fashion.files]
    files = tuple(
        dataclasses.replace(file, checksum=f"sha256:{digest}")
        for file, digest in zip(fashion.files, digests, strict=True)
    )
    CATALOG[fashion.name] = dataclasses.replace(fashion, files=files)  # type: ignore[index]

if __name__ == "__main__":
    run_and_exit(Path(sys.argv[1]))
