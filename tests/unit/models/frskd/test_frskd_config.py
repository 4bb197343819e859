"""The configuration: defaults, ranges, no torch."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from libs.models.frskd.config import FrskdConfig


def test_defaults_are_the_published_ones():
    config = FrskdConfig()
    assert (config.alpha, config.beta, config.temperature, config.width, config.depth) == (2.0, None, 4.0, 2, 2)


@pytest.mark.parametrize(
    "wrong",
    [{"beta": -1}, {"temperature": 0}, {"depth": 0}, {"variant": "wide"}, {"num_features": 1}, {"bta": 3}],
)
def test_wrong_values_are_refused_at_their_field(wrong):
    with pytest.raises(ValidationError) as caught:
        FrskdConfig.model_validate(wrong)
    assert caught.value.errors()[0]["loc"] == tuple(wrong)


def test_every_own_field_says_what_it_means():
    own = set(FrskdConfig.model_fields) - set(FrskdConfig.__mro__[1].model_fields)
    assert all(FrskdConfig.model_fields[name].description for name in own)


def test_importing_it_imports_no_torch():
    code = "import sys; import libs.models.frskd.config, libs.models.backbones.names; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
