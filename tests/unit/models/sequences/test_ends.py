"""Reading the ends alone against reading every position."""

import pytest
import torch

from libs.models.rksa.model import SasrecModel
from libs.models.rksa.network import RKSA, RelationSettings
from libs.models.sequences import ends
from libs.models.sequences.additive import take
from libs.models.sequences.recurrent import GRU4Rec

ITEMS, EVENTS = 20, 7
SASREC = RelationSettings(relations=())
MODELS = {
    "gru4rec": lambda: GRU4Rec(ITEMS, 6, tied=False),
    "sasrec-1": lambda: SasrecModel(RKSA(ITEMS, 3, 6, max_length=EVENTS, blocks=1, settings=SASREC)),
    "sasrec-3": lambda: SasrecModel(RKSA(ITEMS, 3, 6, max_length=EVENTS, blocks=3, settings=SASREC)),
}


@pytest.mark.parametrize("most_items", [ITEMS, 1 << 16], ids=["by event", "by item"])
@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_ends_are_those_of_the_encoder(name: str, most_items: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ends, "_MOST_ITEMS", most_items)
    torch.manual_seed(0)
    model = MODELS[name]().double().eval()
    for parameter in model.parameters():
        parameter.add_(torch.randn_like(parameter), alpha=0.3)  # no bias is zero
    lengths = torch.randint(1, EVENTS + 1, (80,))
    items = torch.randint(1, ITEMS + 1, (80, EVENTS)) * (torch.arange(EVENTS) < lengths.unsqueeze(1))
    everywhere = model.encode(items, lengths, torch.zeros_like(lengths)).features
    expected = take(everywhere, (lengths - 1).unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(model.ends()(items, lengths), expected)
