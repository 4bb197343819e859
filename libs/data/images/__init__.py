"""Image data sets."""

from libs.data.images.reader import ImageData, ImageSplit, open_images

__all__ = ["ImageData", "ImageSplit", "open_images"]
