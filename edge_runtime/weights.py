"""What keeps stored weights from being a network's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NOT_FINITE = "NaN or infinite"
_LISTED = 6


def weight_faults(expected: Mapping[str, Any], stored: Mapping[str, Any]) -> str:
    """Name the weights that do not fit, by what is wrong with them.

    Args:
        expected: tensors of the shapes and the kind of number that are asked for, by name.
        stored: a state_dict, or what was read in its place.

    Returns:
        The first few names of each fault that there is: "missing", "unexpected", "mis-shaped" or,
        last, `NOT_FINITE`. Empty if all fit.
    """
    common = [key for key in expected if key in stored]
    fitting = {key for key in common if _described(stored[key]) == _described(expected[key])}
    faults = {
        "missing": [key for key in expected if key not in stored],
        "unexpected": [str(key) for key in stored if key not in expected],
        "mis-shaped": [
            f"{key} {_described(stored[key])} instead of {_described(expected[key])}"
            for key in common
            if key not in fitting
        ],
        NOT_FINITE: [
            key for key in common if key in fitting and not bool(stored[key].isfinite().all())
        ],
    }
    return "; ".join(f"{fault}: {_some(keys)}" for fault, keys in faults.items() if keys)


def _described(value: object) -> str:
    if not hasattr(value, "is_floating_point"):
        return type(value).__name__
    shape = str(tuple(value.shape))  # type: ignore[attr-defined]
    return shape if value.is_floating_point() else f"{shape} of whole numbers"


def _some(items: Sequence[str]) -> str:
    rest = f" and {len(items) - _LISTED} more" if len(items) > _LISTED else ""
    return ", ".join(items[:_LISTED]) + rest
