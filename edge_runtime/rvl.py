"""RVL, the lossless code for 16-bit depth (Wilson 2017, Fast Lossless Depth Image Compression)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NIBBLE_SHIFTS = np.arange(28, -1, -4, dtype=np.uint32)
# A value is at most a count of pixels: nine nibbles of three bits.
_LONGEST = 9


def decode_rvl(code: NDArray[np.uint8], pixels: int) -> NDArray[np.uint16]:
    """Return (pixels,) uint16.

    The code is a row of numbers: how many zeros follow, how many other values follow, and these as
    differences from the last one. Each is cut into groups of three bits, lowest first, and a
    nibble's top bit says that another follows.

    Raises:
        ValueError: the code ends early, or holds more pixels.

    """
    values = _numbers(code)
    is_difference = np.zeros(len(values), bool)
    runs = []
    place = done = 0
    while done < pixels:
        if place + 1 >= len(values):
            message = f"it ends after {done} of {pixels} pixels"
            raise ValueError(message)
        zeros, others = int(values[place]), int(values[place + 1])
        runs += [zeros, others]
        is_difference[place + 2 : place + 2 + others] = True
        place += 2 + others
        done += zeros + others
    if done > pixels or place > len(values):
        message = f"its runs do not fill {pixels} pixels"
        raise ValueError(message)
    seen = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    coded = values[is_difference]
    depth = np.zeros(pixels, np.uint16)
    depth[seen] = np.cumsum((coded >> 1) ^ -(coded & 1)).astype(np.uint16)
    return depth


def _numbers(code: NDArray[np.uint8]) -> NDArray[np.int64]:
    words = code[: code.size // 4 * 4].view("<u4")
    nibbles = (words[:, None] >> _NIBBLE_SHIFTS & 15).ravel().astype(np.int64)
    ends = np.flatnonzero(nibbles < 8)  # noqa: PLR2004 - the top bit is not set
    if not ends.size:
        return np.zeros(0, np.int64)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > _LONGEST:
        message = "a number in it is too long"
        raise ValueError(message)
    nibbles = nibbles[: ends[-1] + 1]
    group = np.arange(len(nibbles)) - np.repeat(starts, lengths)
    return np.add.reduceat((nibbles & 7) << 3 * group, starts)
