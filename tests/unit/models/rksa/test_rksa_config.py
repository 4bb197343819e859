import subprocess
import sys

import pytest
from pydantic import ValidationError

from libs.models.rksa.config import RksaConfig, SasrecConfig


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"relations": ("item", "item")}, "repeat"),
        ({"relations": ("cooccurrence",), "kernel_loss": 0.1}, "kernel_loss"),
        ({"relations": (), "latent_divergence": 0.1}, "latent_divergence"),
        ({"form": "dense", "most_neighbours": 10}, "most_neighbours"),
        ({"form": "dense", "samples": 8}, "samples"),
        ({"form": "dense", "max_length": 201}, "max_length"),
        ({"relations": ("colour",)}, "cooccurrence"),
        ({"kernels": 1}, "Extra inputs"),
        ({"samples": 10_000}, "256"),
    ],
)
def test_what_does_not_go_together_is_refused(fields, message):
    with pytest.raises(ValidationError, match=message):
        RksaConfig(**fields)


def test_relations_have_one_order_whatever_they_are_named_in():
    assert RksaConfig(relations=["user", "cooccurrence"]).relations == ("cooccurrence", "user")


def test_every_field_says_where_its_default_comes_from():
    for config in (RksaConfig, SasrecConfig):
        for name in set(config.model_fields) - set(config.__mro__[1].model_fields):
            description = config.model_fields[name].description or ""
            assert any(source in description for source in ("[ours]", "[SASRec]", "[paper]", "ours")), name


def test_the_schema_needs_no_torch():
    program = "import sys, libs.models.rksa.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0
