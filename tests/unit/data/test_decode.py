"""Pictures of every kind, to the pixel."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from libs.data.errors import PictureError
from libs.data.images.decode import decode, open_picture

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
GREY = RGB[..., 0]
LIMIT = 10_000


def encoded(image: Image.Image, format_: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format_, **options)
    return stream.getvalue()


def rgb(content: bytes) -> np.ndarray:
    return decode(content, max_pixels=LIMIT, channels=3)


@pytest.mark.parametrize(
    ("format_", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {"lossless": True}),
    ],
)
def test_lossless_formats_give_the_pixels_back(format_: str, options: dict) -> None:
    np.testing.assert_array_equal(rgb(encoded(Image.fromarray(RGB), format_, **options)), RGB)


def test_jpeg_and_gif() -> None:
    flat = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    assert np.abs(rgb(encoded(Image.fromarray(flat), "JPEG")).astype(int) - flat).max() <= 3
    np.testing.assert_array_equal(rgb(encoded(Image.fromarray(flat), "GIF")), flat)


def test_grey_as_colour_and_colour_as_grey() -> None:
    np.testing.assert_array_equal(rgb(encoded(Image.fromarray(GREY))), np.repeat(GREY[..., None], 3, -1))
    grey = decode(encoded(Image.fromarray(RGB)), max_pixels=LIMIT, channels=1)
    assert grey.shape == (6, 9, 1)
    assert np.abs(grey[..., 0] - RGB @ [0.299, 0.587, 0.114]).max() <= 1


def test_transparency_is_put_on_white() -> None:
    rgba = np.dstack([RGB, np.full((6, 9), 255, np.uint8)])
    rgba[0, 0, 3], rgba[0, 1, 3] = 0, 128
    seen = rgb(encoded(Image.fromarray(rgba)))
    np.testing.assert_array_equal(seen[0, 0], [255, 255, 255])
    assert np.abs(seen[0, 1] - (RGB[0, 1] * (128 / 255) + 255 * (127 / 255))).max() <= 1
    np.testing.assert_array_equal(seen[1:], RGB[1:])


def test_grey_with_transparency_stays_grey() -> None:
    image = Image.new("LA", (3, 2), (9, 0))
    opened = open_picture(encoded(image), max_pixels=LIMIT)
    assert opened.grey
    assert opened.picture.mode == "L"
    assert np.asarray(opened.picture).tolist() == [[255] * 3] * 2


def test_palette_with_a_transparent_colour() -> None:
    image = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8))
    image.putpalette([255, 0, 0, 0, 0, 255])
    seen = rgb(encoded(image, transparency=0))
    assert seen.tolist() == [[[255] * 3, [0, 0, 255]], [[0, 0, 255], [255] * 3]]


def test_a_bitmap_is_black_and_white() -> None:
    bits = GREY > 127
    np.testing.assert_array_equal(
        decode(encoded(Image.fromarray(bits)), max_pixels=LIMIT, channels=1)[..., 0], bits * np.uint8(255)
    )


@pytest.mark.parametrize("format_", ["PNG", "TIFF"])
def test_16_bits_keep_their_high_byte(format_: str) -> None:
    deep = (GREY.astype(np.uint16) << 8) | 0xAB
    seen = decode(encoded(Image.fromarray(deep), format_), max_pixels=LIMIT, channels=1)
    np.testing.assert_array_equal(seen[..., 0], GREY)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_32_bits_have_no_agreed_range(dtype: type) -> None:
    with pytest.raises(PictureError, match="no agreed range; save the picture with 8 or 16 bits"):
        rgb(encoded(Image.fromarray(GREY.astype(dtype)), "TIFF"))


def test_cmyk_becomes_rgb() -> None:
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    red = rgb(encoded(image, "JPEG", quality=95))[8, 8].astype(int)
    assert red[0] > 220
    assert red[1:].max() < 40


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    turned: dict[int, Callable[[np.ndarray], np.ndarray]] = {
        1: lambda p: p,
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        4: lambda p: p[::-1],
        5: lambda p: p.transpose(1, 0, 2),
        6: lambda p: np.rot90(p, -1),
        7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
        8: lambda p: np.rot90(p),
    }
    image = Image.fromarray(RGB)
    exif = image.getexif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(rgb(encoded(image, "PNG", exif=exif)), turned[orientation](RGB))


def test_a_broken_exif_block_does_not_cost_the_picture() -> None:
    content = encoded(Image.fromarray(RGB), "PNG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xffgarbage")
    np.testing.assert_array_equal(rgb(content), RGB)


def test_of_an_animation_the_first_frame_is_used() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "green")]
    opened = open_picture(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), max_pixels=LIMIT)
    assert opened.notes == ("of several frames only the first is used",)
    assert np.asarray(opened.picture)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_truncated_files_are_refused(format_: str, share: float) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    content = encoded(Image.fromarray(noise), format_)
    with pytest.raises(PictureError):
        rgb(content[: int(len(content) * share)])


def test_too_many_pixels_are_refused_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: ImageFile.ImageFile) -> None:
        raise AssertionError("decoded")

    content = encoded(Image.new("1", (200, 100)))
    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    with pytest.raises(PictureError, match=r"200 x 100 px is 20,000 pixels, more than the limit of 10,000"):
        rgb(content)


def test_100_megapixels_are_refused_before_decoding() -> None:
    with pytest.raises(PictureError, match=r"not decoded|before decoding"):
        decode(encoded(Image.new("1", (10_000, 10_000))), max_pixels=50_000_000, channels=1)


def test_a_limit_of_exactly_the_pixels_is_enough() -> None:
    assert decode(encoded(Image.fromarray(GREY)), max_pixels=54, channels=1).shape == (6, 9, 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"GIF89a", r"cannot be decoded|not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture of a known format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture of a known format"),
    ],
)
def test_what_is_no_picture_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(PictureError, match=message):
        rgb(content)


@settings(max_examples=60)
@given(st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"]), st.data())
def test_flipped_bytes_give_a_picture_or_a_picture_error(format_: str, data: st.DataObject) -> None:
    content = bytearray(encoded(Image.fromarray(RGB), format_))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        seen = rgb(bytes(content))
    except PictureError:
        return
    assert seen.dtype == np.uint8
    assert seen.shape[2] == 3
    assert seen.shape[0] * seen.shape[1] <= LIMIT
