"""Procedural surfaces and backdrops, and what a cheap camera does to a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SMALL = 1e-6


def random_colour(rng: np.random.Generator) -> NDArray[np.float32]:
    """A BGR colour in 0..1, greys and saturated colours alike."""
    grey = rng.uniform(0.05, 0.95)
    colour = grey + rng.uniform(0.0, 0.5) * rng.uniform(-1.0, 1.0, 3)
    return np.clip(colour, 0.02, 0.98).astype(np.float32)


def fractal_noise(rng: np.random.Generator, size: int, octaves: int = 5) -> NDArray[np.float32]:
    """Smooth noise over several scales, (size, size) in 0..1."""
    total = np.zeros((size, size), np.float32)
    roughness = rng.uniform(0.4, 0.9)
    for octave in range(octaves):
        cells = min(2 ** (octave + 1) + 1, size)
        grid = rng.random((cells, cells), dtype=np.float32)
        total += roughness**octave * cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
    low, high = float(total.min()), float(total.max())
    return (total - low) / (high - low + _SMALL)


def _blend(
    mask: NDArray[np.float32], one: NDArray[np.float32], other: NDArray[np.float32]
) -> NDArray[np.float32]:
    return mask[..., None] * one + (1 - mask[..., None]) * other


def surface(rng: np.random.Generator, size: int = 256) -> NDArray[np.float32]:
    """A texture for a floor, wall or object, (size, size, 3) BGR in 0..1."""
    one, other = random_colour(rng), random_colour(rng)
    kind = rng.integers(5)
    noise = fractal_noise(rng, size)
    if kind == 0:
        return np.broadcast_to(one, (size, size, 3)) * (0.8 + 0.2 * noise[..., None])
    if kind == 1:
        return _blend(noise, one, other)
    rows, columns = np.mgrid[0:size, 0:size].astype(np.float32)
    angle = rng.uniform(0, np.pi)
    along = rows * np.cos(angle) + columns * np.sin(angle)
    across = columns * np.cos(angle) - rows * np.sin(angle)
    period = rng.uniform(6, max(12, size / 2))
    if kind == 2:  # noqa: PLR2004 - wood grain
        wave = np.sin((along + noise * rng.uniform(10, 60)) / period * 2 * np.pi)
        return _blend((0.5 + 0.5 * wave).astype(np.float32), one, other)
    if kind == 3:  # noqa: PLR2004 - tiles
        checks = (np.floor(along / period) + np.floor(across / period)) % 2
        return _blend(checks.astype(np.float32), one, other) * (0.85 + 0.15 * noise[..., None])
    stripes = (np.floor(along / period) % 2).astype(np.float32)
    return _blend(stripes, one, other) * (0.85 + 0.15 * noise[..., None])


def backdrop(rng: np.random.Generator, width: int, height: int) -> NDArray[Any]:
    """A cluttered scene to stand behind an object, (height, width, 3) float32 BGR in 0..1."""
    side = max(width, height)
    picture: NDArray[Any] = np.ascontiguousarray(
        surface(rng, side)[:height, :width], dtype=np.float32
    )
    for _ in range(int(rng.integers(0, 14))):
        colour = tuple(float(c) for c in random_colour(rng))
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        reach = int(rng.integers(3, max(4, side // 3)))
        layer = picture.copy()
        kind = rng.integers(4)
        if kind == 0:
            axes = (reach, max(1, int(reach * rng.uniform(0.2, 1))))
            cv2.ellipse(layer, centre, axes, float(rng.uniform(0, 180)), 0, 360, colour, -1)
        elif kind == 1:
            corners = np.array(centre) + rng.integers(
                -reach, reach + 1, (int(rng.integers(3, 7)), 2)
            )
            cv2.fillPoly(layer, [corners.astype(np.int32)], colour)
        elif kind == 2:  # noqa: PLR2004 - limbs, cables, table legs: what an arm is mistaken for
            end = (int(rng.integers(width)), int(rng.integers(height)))
            cv2.line(layer, centre, end, colour, int(rng.integers(1, max(2, side // 14))))
        else:
            patch = surface(rng, max(8, reach))
            top, left = max(0, centre[1] - reach // 2), max(0, centre[0] - reach // 2)
            bottom, right = min(height, top + patch.shape[0]), min(width, left + patch.shape[1])
            layer[top:bottom, left:right] = patch[: bottom - top, : right - left]
        opacity = float(rng.uniform(0.5, 1.0))
        picture = cv2.addWeighted(layer, opacity, picture, 1 - opacity, 0)
    if rng.random() < 0.5:  # noqa: PLR2004
        picture = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.5, 4.0)))
    return picture


def photograph(rng: np.random.Generator, picture: NDArray[np.float32]) -> NDArray[Any]:
    """What a cheap camera makes of a (h, w, 3) BGR scene in 0..1: uint8 BGR.

    White balance, exposure, gamma, defocus, sensor noise and JPEG.
    """
    out = picture * rng.uniform(0.85, 1.15, 3).astype(np.float32) * float(rng.uniform(0.8, 1.3))
    out = np.clip(out, 0.0, 1.0) ** np.float32(rng.uniform(0.75, 1.25))
    out = cv2.GaussianBlur(out, (0, 0), float(rng.uniform(0.3, 1.1)))
    sigma = float(rng.uniform(0.0, 0.04))
    out += sigma * rng.standard_normal(out.shape, dtype=np.float32)
    eight_bit: NDArray[Any] = (np.clip(out, 0.0, 1.0) * 255).astype(np.uint8)
    if rng.random() < 0.5:  # noqa: PLR2004
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 96))]
        encoded = cv2.imencode(".jpg", eight_bit, quality)[1]
        decoded: NDArray[Any] = cv2.imdecode(encoded, cv2.IMREAD_COLOR)  # type: ignore[assignment]
        return decoded
    return eight_bit
