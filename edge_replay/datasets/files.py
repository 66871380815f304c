"""Single images of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from edge_runtime.errors import MessageError, SettingError
from edge_runtime.images import to_bgr

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_LARGEST = np.iinfo(np.uint16).max


@dataclass
class _File:
    """An image file, as the message that a camera driver would make of it."""

    format: str
    data: NDArray[np.uint8]


def read_bgr(path: Path) -> NDArray[np.uint8]:
    """Read a colour or grey image, decoded as a node decodes it, (H, W, 3) BGR.

    Raises:
        SettingError: it cannot be read.
    """
    try:
        return to_bgr(_File(path.suffix[1:], _bytes(path)))
    except MessageError as error:
        message = f"image '{path}' cannot be read: {error}"
        raise SettingError(message) from error


def read_depth_png(path: Path, units_per_metre: float) -> NDArray[np.float32]:
    """Read depth kept as 16-bit PNG, (H, W) metres; 0 and 65535 there become NaN.

    Raises:
        SettingError: it cannot be read.
    """
    data = _bytes(path)
    raw: NDArray[Any] | None = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if raw is None or raw.dtype != np.uint16 or raw.ndim != 2:  # noqa: PLR2004 - rows, columns
        message = f"depth image '{path}' cannot be read: a PNG with one channel of 16 bits is taken"
        raise SettingError(message)
    depth: NDArray[np.float32] = raw * np.float32(1 / units_per_metre)
    depth[(raw == 0) | (raw == _LARGEST)] = np.nan
    return depth


def read_depth_npy(path: Path) -> NDArray[np.float32]:
    """Read depth kept as an array of metres, (H, W); what is no distance becomes NaN.

    Raises:
        SettingError: it cannot be read.
    """
    try:
        depth: NDArray[np.float32] = np.load(path, allow_pickle=False).astype(np.float32)
    except (OSError, ValueError, AttributeError, EOFError) as error:
        message = f"depth '{path}' cannot be read ({error}): an .npy file with numbers is taken"
        raise SettingError(message) from error
    depth[~((depth > 0) & (depth < np.inf))] = np.nan
    return depth


def _bytes(path: Path) -> NDArray[np.uint8]:
    try:
        return np.fromfile(path, np.uint8)
    except OSError as error:
        message = f"image '{path}' cannot be read ({error.strerror}): download the data set anew"
        raise SettingError(message) from error
