"""What keeps stored weights from being a network's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NOT_FINITE = "NaN or infinite"
_LISTED = 6


def weight_faults(
    expected: Mapping[str, tuple[int, ...]], stored: Mapping[str, Any]
) -> dict[str, str]:
    """List the weights that do not fit, by what is wrong with them.

    Args:
        expected: shapes by name.
        stored: a state_dict, or what was read in its place.

    Returns:
        The first few names of each fault that there is: "missing", "unexpected", "mis-shaped" or
        `NOT_FINITE`.
    """
    common = [key for key in expected if key in stored]
    shaped = {key for key in common if _shape(stored[key]) == expected[key]}
    faults = {
        "missing": [key for key in expected if key not in stored],
        "unexpected": [str(key) for key in stored if key not in expected],
        "mis-shaped": [
            f"{key} {_shape(stored[key])} instead of {expected[key]}"
            for key in common
            if key not in shaped
        ],
        NOT_FINITE: [
            key
            for key in common
            if key in shaped
            and stored[key].is_floating_point()
            and not bool(stored[key].isfinite().all())
        ],
    }
    return {fault: _some(keys) for fault, keys in faults.items() if keys}


def _shape(value: object) -> tuple[int, ...] | str:
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else tuple(shape)


def _some(items: Sequence[str]) -> str:
    rest = f" and {len(items) - _LISTED} more" if len(items) > _LISTED else ""
    return ", ".join(items[:_LISTED]) + rest
