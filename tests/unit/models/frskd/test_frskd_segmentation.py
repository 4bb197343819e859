"""The segmentation pyramid layer."""

import torch

from libs.models.frskd.segmentation import SegmentationBiFPNLayer


def test_top_down_only_stops_before_the_bottom_up_pass():
    torch.manual_seed(0)
    features = [torch.rand(2, 4, s, s) for s in (8, 4, 4, 2)]
    whole = SegmentationBiFPNLayer(4, 4).eval()
    part = SegmentationBiFPNLayer(4, 4, top_down_only=True).eval()
    part.load_state_dict({k: v for k, v in whole.state_dict().items() if k.startswith("up.")})
    assert torch.equal(part(features)[0], whole(features)[0])
    assert [f.shape for f in part(features)] == [f.shape for f in features]
    assert not torch.equal(part(features)[3], whole(features)[3])


def test_odd_sizes_keep_their_shapes():
    features = [torch.rand(2, 3, h, w) for h, w in ((9, 7), (5, 4), (3, 2), (1, 1))]
    assert [f.shape for f in SegmentationBiFPNLayer(3, 4)(features)] == [f.shape for f in features]
