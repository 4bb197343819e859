"""An inference service leaves the cores to its requests."""

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import uvicorn
from threadpoolctl import threadpool_info

from services.recommender.app import make_app
from services.recommender.settings import recommender_settings

uvicorn.run = lambda *_, **__: print([one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"])

from libs.serving.deployments.server import serve

serve("recommender", make_app, recommender_settings)
"""


def test_blas_has_one_thread_whatever_the_environment_asks(tmp_path: Path):
    nowhere = "postgresql://octavo@127.0.0.1:1/octavo"
    environment = {"OPENBLAS_NUM_THREADS": "4", "OCTAVO_DATABASE_URL": nowhere, "OCTAVO_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[1]"
