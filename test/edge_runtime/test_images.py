from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from edge_runtime.errors import MessageError
from edge_runtime.images import to_bgr, to_depth, to_image_message

RANDOM = np.random.default_rng(7)
HEIGHT, WIDTH = 12, 16


def image_message(
    encoding: str, pixels: np.ndarray[Any, Any], *, pad: int = 0, big: bool = False
) -> SimpleNamespace:
    """Lay out (H, W, C) pixels as a message, rows `pad` bytes apart, in either byte order."""
    height, width = pixels.shape[:2]
    ordered = pixels.astype(pixels.dtype.newbyteorder(">" if big else "<"))
    rows = ordered.reshape(height, -1).view(np.uint8)
    padded = np.pad(rows, ((0, 0), (0, pad)), constant_values=171)
    return SimpleNamespace(
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=int(big),
        step=padded.shape[1],
        data=padded.tobytes(),
    )


def smooth() -> np.ndarray[Any, Any]:
    """A picture whose channels differ and change slowly, so that colours survive sub-sampling."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([40 + 2 * columns, 120 + rows, 220 - 3 * columns], axis=-1).astype(np.uint8)


def packed_yuv(bgr: np.ndarray[Any, Any], *, luma_first: bool) -> np.ndarray[Any, Any]:
    """ITU-R BT.601, studio range, written down from its definition."""
    blue, green, red = (bgr[..., channel].astype(float) for channel in range(3))
    luma = 16 + (65.481 * red + 128.553 * green + 24.966 * blue) / 255
    u = 128 + (-37.797 * red - 74.203 * green + 112.0 * blue) / 255
    v = 128 + (112.0 * red - 93.786 * green - 18.214 * blue) / 255
    colour = np.where(np.arange(bgr.shape[1]) % 2 == 0, u, np.roll(v, 1, axis=1))
    pair = (luma, colour) if luma_first else (colour, luma)
    return np.stack(pair, axis=-1).round().astype(np.uint8)


def mosaic(bgr: np.ndarray[Any, Any], pattern: str) -> np.ndarray[Any, Any]:
    """What a sensor with this colour filter (the names of a 2x2 block, row by row) sees."""
    raw = np.zeros(bgr.shape[:2], np.uint8)
    for place, name in enumerate(pattern):
        row, column = divmod(place, 2)
        raw[row::2, column::2] = bgr[row::2, column::2, "bgr".index(name)]
    return raw[..., None]


def as_16_bit(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    low = RANDOM.integers(0, 256, pixels.shape)
    return (pixels.astype(np.uint16) * 256 + low).astype(np.uint16)


def sample(encoding: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], int]:
    """Return pixels in an encoding, the BGR picture that they show, and the error allowed."""
    name = encoding.removesuffix("16").removesuffix("8")
    wide = encoding.endswith("16")
    bgr = RANDOM.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    tolerance = 0
    if name.startswith("bayer_"):
        bgr, tolerance = smooth(), 4
        pixels = mosaic(bgr, name.removeprefix("bayer_"))
    elif name in {"uyvy", "yuv422", "yuyv", "yuv422_yuy2"}:
        bgr, tolerance = smooth(), 6
        pixels = packed_yuv(bgr, luma_first=name in {"yuyv", "yuv422_yuy2"})
    elif name in {"mono", "8UC1"}:
        pixels = bgr[..., :1]
        bgr = np.repeat(pixels, 3, axis=-1)
    else:
        order = {"8UC3": "bgr", "8UC4": "bgra"}.get(encoding, name)
        channels = {"a": RANDOM.integers(0, 256, (HEIGHT, WIDTH), np.uint8)}
        channels |= {letter: bgr[..., i] for i, letter in enumerate("bgr")}
        pixels = np.stack([channels[letter] for letter in order], axis=-1)
    return (as_16_bit(pixels) if wide else pixels), bgr, tolerance


COLOUR = [
    "bgr8",
    "rgb8",
    "bgra8",
    "rgba8",
    "mono8",
    "mono16",
    "bgr16",
    "rgb16",
    "bgra16",
    "rgba16",
    "8UC1",
    "8UC3",
    "8UC4",
    "uyvy",
    "yuv422",
    "yuyv",
    "yuv422_yuy2",
    "bayer_rggb8",
    "bayer_bggr8",
    "bayer_gbrg8",
    "bayer_grbg8",
    "bayer_rggb16",
    "bayer_bggr16",
    "bayer_gbrg16",
    "bayer_grbg16",
]


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("pad", [0, 1, 32])
@pytest.mark.parametrize("encoding", COLOUR)
def test_every_colour_encoding_shows_the_same_picture(
    encoding: str, pad: int, *, big: bool
) -> None:
    pixels, expected, tolerance = sample(encoding)
    bgr = to_bgr(image_message(encoding, pixels, pad=pad, big=big))
    assert bgr.dtype == np.uint8
    assert bgr.shape == (HEIGHT, WIDTH, 3)
    # At the border a Bayer pattern has no neighbours to interpolate between.
    inner = np.s_[2:-2, 2:-2]
    error = np.abs(bgr.astype(int) - expected)[inner if tolerance else ...]
    assert error.max() <= tolerance


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("pad", [0, 2, 7])
def test_depth_is_metres_and_nan_where_unseen(pad: int, *, big: bool) -> None:
    millimetres = np.array([[0, 1, 1500], [65535, 256, 2]], np.uint16)[..., None]
    depth = to_depth(image_message("16UC1", millimetres, pad=pad, big=big))
    expected = np.array([[np.nan, 0.001, 1.5], [65.535, 0.256, 0.002]], np.float32)
    np.testing.assert_allclose(depth, expected, rtol=1e-6)
    metres = np.array([[0, np.nan, 1.5], [np.inf, -np.inf, -1.0]], np.float32)[..., None]
    depth = to_depth(image_message("32FC1", metres, pad=pad, big=big))
    assert depth.dtype == np.float32
    np.testing.assert_array_equal(np.isfinite(depth), [[False, False, True], [False] * 3])
    assert depth[0, 2] == 1.5


def test_bgr8_is_not_copied() -> None:
    pixels = RANDOM.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    for pad in (0, 5):
        message = image_message("bgr8", pixels, pad=pad)
        message.data = bytearray(message.data)
        view = to_bgr(message)
        message.data[0] = 255 - message.data[0]
        assert view[0, 0, 0] == message.data[0]


def good(layout: str = "bgr8", **changes: object) -> SimpleNamespace:
    pixels, *_ = sample(layout)
    message = image_message(layout, pixels)
    vars(message).update(changes)
    return message


@pytest.mark.parametrize(
    ("message", "kind", "words"),
    [
        (good(height=0), "size", ["16x0", "at least 1"]),
        (good(width=0, step=0), "size", ["0x12", "at least 1"]),
        (good(step=47), "step", ["47", "48"]),
        (good(step=0), "step", ["step 0", "48"]),
        (good(step=4800), "data", ["576 bytes", "52848"]),
        (good(data=good().data[:-1]), "data", ["575 bytes", "576"]),
        (good(data=b""), "data", ["0 bytes"]),
        (good("yuyv", width=15), "size", ["odd"]),
        (good(encoding="bgr9"), "encoding", ["'bgr9'", "bgr8", "bayer_rggb8"]),
        (good(encoding=""), "encoding", ["''", "bgr8"]),
        (good("mono16", encoding="16UC1"), "encoding", ["'16UC1'", "colour"]),
        (good(encoding="32FC1", step=64, data=bytes(768)), "encoding", ["'32FC1'", "colour"]),
    ],
)
def test_what_is_wrong_with_a_colour_image_is_said_in_one_line(
    message: SimpleNamespace, kind: str, words: list[str]
) -> None:
    with pytest.raises(MessageError) as caught:
        to_bgr(message)
    assert caught.value.kind == kind
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_colour_where_depth_is_expected_is_refused() -> None:
    for message in (good(), good("mono16"), SimpleNamespace(format="jpeg", data=b"")):
        with pytest.raises(MessageError, match="depth"):
            to_depth(message)


def test_compressed_images_decode_and_damaged_ones_are_refused() -> None:
    bgr = cv2.resize(smooth(), (64, 48))
    png = cv2.imencode(".png", bgr)[1].tobytes()
    jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    message = SimpleNamespace(format="bgr8; png compressed bgr8", data=png)
    np.testing.assert_array_equal(to_bgr(message), bgr)
    message = SimpleNamespace(format="bgr8; jpeg compressed bgr8", data=jpeg)
    assert np.abs(to_bgr(message).astype(int) - bgr).max() < 8
    for data in (b"", b"no picture", jpeg[: len(jpeg) // 2], png[:20]):
        with pytest.raises(MessageError, match="cannot be decoded"):
            to_bgr(SimpleNamespace(format="jpeg", data=data))
    with pytest.raises(MessageError, match="is depth"):
        to_bgr(SimpleNamespace(format="16UC1; compressedDepth png", data=png))


@pytest.mark.ros
@pytest.mark.parametrize(
    ("encoding", "shape", "dtype"),
    [("bgr8", (5, 7, 3), "u1"), ("mono8", (5, 7), "u1"), ("16UC1", (5, 7), "u2")],
)
def test_messages_made_here_are_read_back(
    encoding: str, shape: tuple[int, ...], dtype: str
) -> None:
    from std_msgs.msg import Header

    image = np.asfortranarray(RANDOM.integers(1, 255, shape).astype(dtype))
    header = Header(frame_id="camera")
    message = to_image_message(image, header, encoding)
    assert message.header.frame_id == "camera"
    assert (message.is_bigendian, sys.byteorder) == (0, "little")
    if encoding == "16UC1":
        np.testing.assert_allclose(to_depth(message), image * 0.001, rtol=1e-6)
    else:
        expected = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=-1)
        np.testing.assert_array_equal(to_bgr(message), expected)
