from __future__ import annotations

import os
import resource
import struct
import sys
import zlib
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from edge_runtime.codec_messages import codec_messages
from edge_runtime.errors import MessageError
from edge_runtime.images import image_kind, to_bgr, to_depth, to_image_message

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
@pytest.mark.parametrize("encoding", ["16UC1", "mono16"])
def test_depth_is_metres_and_nan_where_unseen(pad: int, encoding: str, *, big: bool) -> None:
    millimetres = np.array([[0, 1, 1500], [65535, 256, 2]], np.uint16)[..., None]
    depth = to_depth(image_message(encoding, millimetres, pad=pad, big=big))
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
    for message in (good(), good("mono8"), SimpleNamespace(format="jpeg", data=b"")):
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


def compressed(form: str, pixels: np.ndarray[Any, Any], codec: str = ".png") -> SimpleNamespace:
    return SimpleNamespace(format=form, data=cv2.imencode(codec, pixels)[1].tobytes())


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize(
    ("form", "channels", "tolerance"),
    [
        ("png", "bgr", 0),
        ("rgb{}; png compressed bgr{}", "bgr", 0),
        ("bgr{}; png compressed bgr{}", "bgr", 0),
        ("rgba{}; png compressed bgra{}", "bgra", 0),
        # Without "compressed bgr" the codec was given RGB where it takes BGR.
        ("rgb{}; png compressed rgb{}", "rgb", 0),
        ("bgr{}; png compressed ", "rgb", 0),
        ("bgra{}; png compressed rgba{}", "rgba", 0),
        ("bayer_rggb{}; png compressed ", "rggb", 4),
        ("bayer_gbrg{}; png compressed ", "gbrg", 4),
    ],
)
def test_the_format_is_read_as_image_transport_does(
    form: str, channels: str, tolerance: int, *, wide: bool
) -> None:
    bgr = smooth()
    planes = {letter: bgr[..., index] for index, letter in enumerate("bgr")}
    planes["a"] = np.full(bgr.shape[:2], 9, np.uint8)
    if form.startswith("bayer"):
        pixels = mosaic(bgr, channels)
    else:
        # As the codec takes them: what stands first goes where it keeps blue.
        pixels = np.stack([planes[letter] for letter in channels], axis=-1)
    bits = 16 if wide else 8
    message = compressed(form.format(bits, bits), as_16_bit(pixels) if wide else pixels)
    error = np.abs(to_bgr(message).astype(int) - bgr)[np.s_[2:-2, 2:-2] if tolerance else ...]
    assert error.max() <= tolerance


def test_grey_made_of_a_bayer_pattern_is_no_pattern() -> None:
    grey = smooth()[..., 0]
    message = compressed("bayer_rggb8; jpeg compressed mono8", grey, ".jpg")
    np.testing.assert_array_equal(to_bgr(message), to_bgr(compressed("jpeg", grey, ".jpg")))


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_fewer_bits_in_16_are_scaled_by_what_is_there(bits: int) -> None:
    grey = np.linspace(0, 2**bits - 1, 256).astype(np.uint16).reshape(16, 16)
    expected = (grey >> (bits - 8)).astype(np.uint8)
    for message in (
        image_message("mono16", grey[..., None], pad=3, big=True),
        compressed("mono16; png compressed ", grey),
    ):
        np.testing.assert_array_equal(to_bgr(message)[..., 1], expected)


def inverse_depth(metres: np.ndarray[Any, Any], farthest: float = 10.0) -> tuple[bytes, np.ndarray]:
    """Quantise as compressed_depth_image_transport does: its header, and 16-bit pixels."""
    scale = 100.0 * 101.0
    shift = 1.0 - scale / farthest
    near = metres < farthest
    stored = np.where(near, scale / np.where(near, metres, 1.0) + shift, 0).astype(np.uint16)
    return struct.pack("<iff", 0, scale, shift), stored


def rvl(pixels: np.ndarray[Any, Any]) -> bytes:
    """Code depth, written down from the description of Wilson 2017."""
    nibbles: list[int] = []

    def put(value: int) -> None:
        while value > 7:
            nibbles.append(value & 7 | 8)
            value >>= 3
        nibbles.append(value)

    flat, place, last = pixels.ravel().astype(int), 0, 0
    while place < flat.size:
        zeros = next((k for k, v in enumerate(flat[place:]) if v), flat.size - place)
        place += zeros
        others = next((k for k, v in enumerate(flat[place:]) if not v), flat.size - place)
        put(zeros)
        put(others)
        for value in flat[place : place + others]:
            difference, last = value - last, value
            put(2 * difference if difference >= 0 else -2 * difference - 1)
        place += others
    nibbles += [0] * (-len(nibbles) % 8)
    text = "".join(f"{nibble:x}" for nibble in nibbles)
    words = [int(text[k : k + 8], 16) for k in range(0, len(text), 8)]
    return struct.pack(f"<II{len(words)}I", *pixels.shape[::-1], *words)


def test_compressed_depth_is_depth() -> None:
    millimetres = RANDOM.integers(300, 9000, (HEIGHT, WIDTH)).astype(np.uint16)
    millimetres[:3] = millimetres[5, 4:9] = millimetres[-1, -1] = 0
    expected = np.where(millimetres, millimetres / 1000, np.nan)
    header, stored = inverse_depth(np.where(millimetres, expected, 99.0))
    png = [cv2.imencode(".png", pixels)[1].tobytes() for pixels in (millimetres, stored)]
    for form, data, tolerance in [
        ("16UC1; png compressed ", png[0], 1e-6),
        ("png", png[0], 1e-6),
        ("16UC1; compressedDepth png", bytes(12) + png[0], 1e-6),
        ("16UC1; compressedDepth", bytes(12) + png[0], 1e-6),
        ("16UC1; compressedDepth rvl", bytes(12) + rvl(millimetres), 1e-6),
        ("32FC1; compressedDepth png", header + png[1], 0.02),
        ("32FC1; compressedDepth rvl", header + rvl(stored), 0.02),
    ]:
        message = SimpleNamespace(format=form, data=data)
        assert image_kind(message) == "depth"
        np.testing.assert_allclose(to_depth(message), expected, rtol=tolerance)
        if form != "png":  # which does not say what it is
            with pytest.raises(MessageError, match="is depth"):
                to_bgr(message)
        for damaged in (data[:30], data[: len(data) // 2], data[:8], b""):
            with pytest.raises(MessageError):
                to_depth(SimpleNamespace(format=form, data=damaged))


def test_what_no_input_takes_is_said_without_decoding_it() -> None:
    for message, words in [
        (compressed("16UC1; jpeg compressed ", smooth()[..., 0], ".jpg"), "depth in a codec"),
        (SimpleNamespace(format="bgr8; tiff compressed ", data=b"II*\0"), "JPEG, PNG"),
        (SimpleNamespace(format="h264", data=b"\0\0\0\1"), "JPEG, PNG"),
        (good(encoding="32FC3"), "'32FC3'"),
    ]:
        for read in (image_kind, to_bgr, to_depth):
            with pytest.raises(MessageError, match=words):
                read(message)
    # Whatever the format says, it is the data that is decoded.
    gif = b"GIF89a" + struct.pack("<HHBBB", 30000, 30000, 0, 0, 0)
    with pytest.raises(MessageError, match="cannot be decoded"):
        to_bgr(SimpleNamespace(format="jpeg", data=gif))


def resized_header(data: bytes, place: int, layout: str, side: int) -> bytes:
    return data[:place] + struct.pack(layout, side, side) + data[place + struct.calcsize(layout) :]


def test_the_declared_size_is_read_before_anything_is_decoded() -> None:
    png = compressed("png", smooth()).data
    ihdr = resized_header(png[:29], 16, ">II", 65535)
    huge_png = ihdr + struct.pack(">I", zlib.crc32(ihdr[12:])) + png[33:]
    jpeg = compressed("jpeg", smooth(), ".jpg").data
    huge_jpeg = resized_header(jpeg, jpeg.index(b"\xff\xc0") + 5, ">HH", 16000)
    huge_rvl = bytes(12) + struct.pack("<II", 65535, 65535) + bytes(64)
    for form, data, read in [
        ("png", huge_png, to_bgr),
        ("jpeg", huge_jpeg, to_bgr),
        ("16UC1; compressedDepth png", bytes(12) + huge_png, to_depth),
        ("16UC1; compressedDepth rvl", huge_rvl, to_depth),
    ]:
        with pytest.raises(MessageError, match="max_megapixels") as caught:
            read(SimpleNamespace(format=form, data=data))
        assert caught.value.kind == "size"
    message = SimpleNamespace(format="png", data=png)
    assert to_bgr(message, HEIGHT * WIDTH).shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(MessageError, match="16x12"):
        to_bgr(message, HEIGHT * WIDTH - 1)


def test_a_png_takes_no_room_for_what_is_not_there() -> None:
    png = compressed("png", smooth()).data
    # The lengths of the chunks behind the header and at the end: OpenCV would make 4 GB for one.
    huge = b"\xff\xff\xff\xf0"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for data in (png[:33] + huge + png[37:], png[:-12] + huge + png[-8:]):
        with pytest.raises(MessageError, match="cut off or damaged"):
            to_bgr(SimpleNamespace(format="png", data=data))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


@pytest.mark.parametrize("progressive", [0, 1])
def test_a_jpeg_that_is_cut_inside_is_refused_and_codecs_print_nothing(
    capfd: pytest.CaptureFixture[str], progressive: int
) -> None:
    picture = cv2.resize(RANDOM.integers(0, 256, (30, 40, 3), np.uint8), (160, 120))
    jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive])[1].tobytes()
    for kept in (0.3, 0.5, 0.9):
        cut = jpeg[: int(len(jpeg) * kept)]
        for data in (cut, cut + jpeg[-2:]):
            with pytest.raises(MessageError, match="cannot be decoded"):
                to_bgr(SimpleNamespace(format="jpeg", data=data))
    # Some cameras add bytes before the end.
    whole = SimpleNamespace(format="jpeg", data=jpeg[:-2] + b"\0\0\0" + jpeg[-2:])
    assert to_bgr(whole).shape == picture.shape
    png = compressed("png", picture).data
    for data in (png[: len(png) // 2], png[:-20] + png[-12:], png[:-12]):
        with pytest.raises(MessageError, match="cannot be decoded"):
            to_bgr(SimpleNamespace(format="png", data=data))
    assert capfd.readouterr().err == ""


def test_what_others_print_meanwhile_is_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    with codec_messages() as said:
        os.write(2, b"libpng warning: iCCP: too short\n[INFO] [arm_pose]: active\n")
    assert said == ["libpng warning: iCCP: too short"]
    assert capfd.readouterr().err == "[INFO] [arm_pose]: active\n"


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
