"""Pictures of trajectories for reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SIDE, _MARGIN = 560, 40
_TRUTH, _OURS, _GRID = (120, 120, 120), (200, 90, 20), (230, 230, 230)  # BGR
_STEPS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 50.0, 100.0)  # metres of the grid
_LINES = 8


def draw_paths(truth: NDArray[Any], estimate: NDArray[Any]) -> NDArray[np.uint8]:
    """Draw the true positions (N, 3) grey and the estimate's (M, 3), metres, in colour.

    Both are seen along the axis in which the truth spreads least, on a grid that a label explains.

    Returns:
        (560, 560, 3) uint8 BGR.
    """
    centre = truth.mean(axis=0)
    # Rows of vt: the axes of the truth, widest first.
    _, _, axes = np.linalg.svd(truth - centre, full_matrices=False)
    flat = [(path - centre) @ axes[:2].T for path in (truth, estimate)]
    both = np.concatenate(flat)
    low, extent = both.min(axis=0), max(float(np.ptp(both, axis=0).max()), 1e-3)
    scale = (_SIDE - 2 * _MARGIN) / extent
    canvas = np.full((_SIDE, _SIDE, 3), 255, np.uint8)
    step = next((size for size in _STEPS if extent / size <= _LINES), _STEPS[-1])
    for line in range(int(extent / step) + 1):
        at = _MARGIN + round(line * step * scale)
        cv2.line(canvas, (at, _MARGIN), (at, _SIDE - _MARGIN), _GRID, 1)
        cv2.line(canvas, (_MARGIN, at), (_SIDE - _MARGIN, at), _GRID, 1)
    for path, colour in zip(flat, (_TRUTH, _OURS), strict=True):
        pixels = np.rint((path - low) * scale + _MARGIN).astype(np.int32)
        cv2.polylines(
            canvas,
            [pixels[:, None]],
            isClosed=False,
            color=colour,
            thickness=2,
            lineType=cv2.LINE_AA,
        )
        cv2.circle(canvas, pixels[0].tolist(), 5, colour, -1, cv2.LINE_AA)
    for text, colour, row in (
        ("truth", _TRUTH, 16),
        ("estimate", _OURS, 34),
        (f"grid {step:g} m", _TRUTH, _SIDE - 12),
    ):
        cv2.putText(canvas, text, (8, row), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)
    return canvas
