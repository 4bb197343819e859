"""Notice when a network made for large pictures meets small ones."""

from torch import Tensor, nn

from libs.training.tap_search import NoFeatureMapsError, find_taps

SMALL_PICTURE_PX = 64
COARSE_STEM_STRIDE = 4


def stem_warning(classifier: nn.Module, example: Tensor) -> str | None:
    """What to say when a network made for large pictures meets small ones, or None.

    Args:
        example: a picture like those of the training, [1, C, H, W].
    """
    height, width = example.shape[2:]
    if max(height, width) > SMALL_PICTURE_PX:
        return None
    try:
        finest = find_taps(classifier, example)[0].size
    except NoFeatureMapsError:
        finest = (1, 1)
    stride = max(height / finest[0], width / finest[1])
    if stride < COARSE_STEM_STRIDE:
        return None
    return (
        f"the network shrinks pictures of {height}x{width} by {stride:.0f} before its first stage, a stem for large "
        "pictures; a network for small ones (resnet18, wrn-16-2 ...) or a larger image_size usually does much better"
    )
