"""Reading the ends alone against reading every position."""

from typing import Any

import numpy as np
import pytest
import torch

from libs.data.events.cooccurrence import UserItems, count_together
from libs.data.events.relations import RelationTables
from libs.models.hcrnn.model import HcrnnModel, TrainMode
from libs.models.hcrnn.network import HCRNN
from libs.models.rksa.config import Places
from libs.models.rksa.kernels import unit_rows
from libs.models.rksa.model import RksaModel, SasrecModel
from libs.models.rksa.network import RKSA, RelationSettings
from libs.models.sequences import ends
from libs.models.sequences.additive import take
from libs.models.sequences.recurrent import GRU4Rec

ITEMS, EVENTS, USERS = 20, 7, 3
SASREC = RelationSettings(relations=())


def hcrnn(train_mode: TrainMode = "causal", **settings: Any) -> HcrnnModel:
    return HcrnnModel(HCRNN(ITEMS, 6, 5, 4, **settings), train_mode=train_mode)


def sasrec(blocks: int, places: Places = "first") -> SasrecModel:
    return SasrecModel(RKSA(ITEMS, 3, 6, max_length=EVENTS + 2, blocks=blocks, places=places, settings=SASREC))


def rksa(blocks: int = 2, places: Places = "first", **settings: Any) -> RksaModel:
    """Counts and factors of a few random users; the second is never trained."""
    random = np.random.default_rng(0)
    sets = [np.unique(random.integers(1, ITEMS + 1, 9)) for _ in range(USERS)]
    owned = UserItems(np.cumsum([0, *map(len, sets)]), np.concatenate(sets).astype(np.int32))
    factors = unit_rows(torch.from_numpy(random.normal(size=(2, ITEMS + 1, 4)))) * 0.9
    tables = RelationTables(count_together(owned, ITEMS), factors.numpy(), np.array([1, 0, 1, 0]), owned)
    wanted = RelationSettings(rank=3, cooccurrence_rank=4, **settings)
    return RksaModel(RKSA(ITEMS, USERS, 6, max_length=EVENTS, blocks=blocks, places=places, settings=wanted), tables)


MODELS = {
    "gru4rec": lambda: GRU4Rec(ITEMS, 6, tied=False),
    "sasrec-1": lambda: sasrec(1),
    "sasrec-3": lambda: sasrec(3),
    "sasrec-2 from the last": lambda: sasrec(2, "last"),
    "hcrnn causal": hcrnn,
    "hcrnn prefix": lambda: hcrnn("prefix", version=2),
    "hcrnn single": lambda: hcrnn(version=1, attention="single"),
    "rksa-1": lambda: rksa(blocks=1),
    "rksa-2": rksa,
    "rksa-2 from the last": lambda: rksa(places="last"),
    "rksa dense": lambda: rksa(form="dense", skew=False),
    "rksa draws": lambda: rksa(samples=3),
    "rksa draws a sequence": lambda: rksa(samples=2, noise="sequence", mixture="fixed"),
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
    users = torch.randint(0, USERS + 1, (80,))
    everywhere = model.encode(items, lengths, users).features
    expected = take(everywhere, (lengths - 1).unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(model.ends()(items, lengths, users), expected)
