"""A rigid transform as seven numbers in a text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Iterable

_NUMBERS = 7
# As much as rounding to three decimals leaves.
_TOLERANCE = 0.01


def parse_pose(text: str) -> tuple[float, ...] | None:
    """Read "x y z qx qy qz qw", with spaces or commas between; None for an empty text.

    Returns:
        Metres and a quaternion of length 1.

    Raises:
        SettingError: not seven finite numbers, or a quaternion that is no rotation.
    """
    words = text.replace(",", " ").split()
    if not words:
        return None
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = []
    length = math.hypot(*values[3:])
    if len(values) != _NUMBERS or not all(map(math.isfinite, values)):
        wrong = "seven finite numbers x y z qx qy qz qw"
    elif abs(length - 1) > _TOLERANCE:
        wrong = f"a quaternion of length 1 at the end, not of {length:.3g}"
    else:
        return (*values[:3], *(value / length for value in values[3:]))
    message = f"camera pose {text!r}: it must be {wrong}, or empty"
    raise SettingError(message)


def format_pose(numbers: Iterable[float]) -> str:
    """Write x y z qx qy qz qw as `parse_pose` reads them."""
    # 0 added to a negative zero is a positive one.
    return " ".join(f"{number + 0.0:.9f}" for number in numbers)
