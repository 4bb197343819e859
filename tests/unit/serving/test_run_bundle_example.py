"""The example of running a bundle by hand says what the platform says."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from libs.data.preprocess import apply, decode
from libs.serving.probabilities import softmax
from tests.support.bundles import logits, make_bundle

EXAMPLE = Path(__file__).parents[3] / "examples" / "run_bundle_with_onnxruntime.py"


@pytest.mark.parametrize(("channels", "width", "height"), [(1, 8, 8), (3, 30, 20), (1, 20, 31)])
def test_the_example_gives_the_platforms_probabilities(tmp_path: Path, channels: int, width: int, height: int) -> None:
    bundle = make_bundle(tmp_path / "bundle", labels=("dark", "bright"), channels=channels, temperature=2.0)
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")

    said = subprocess.run(
        [sys.executable, EXAMPLE, tmp_path / "bundle", tmp_path / "picture.png"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip

    content = (tmp_path / "picture.png").read_bytes()
    row = apply(bundle.recipe, decode(content, max_pixels=10**6, channels=bundle.recipe.channels))[None]
    expected = dict(zip(bundle.labels, softmax(logits(bundle, row), 2.0)[0], strict=True))
    found = {label: float(probability) for probability, label in (line.split() for line in said.splitlines())}
    assert found == pytest.approx(expected, abs=2e-3)
