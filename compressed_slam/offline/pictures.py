"""Pictures of trajectories for reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_SIDE, _MARGIN = 560, 40
_TRUTH, _GRID = (120, 120, 120), (230, 230, 230)  # BGR
_ESTIMATES = ((200, 90, 20), (40, 140, 240), (60, 150, 40))
_STEPS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 50.0, 100.0)  # metres of the grid
_LINES = 8


def draw_paths(truth: NDArray[Any], estimates: Mapping[str, NDArray[Any]]) -> NDArray[np.uint8]:
    """Draw the true positions (N, 3) grey and at most three estimates of them (M, 3), metres.

    All are seen along the axis in which the truth spreads least, on a grid that a label explains.

    Returns:
        (560, 560, 3) uint8 BGR.
    """
    centre = truth.mean(axis=0)
    # Rows of vt: the axes of the truth, widest first.
    _, _, axes = np.linalg.svd(truth - centre, full_matrices=False)
    flat = [(path - centre) @ axes[:2].T for path in (truth, *estimates.values())]
    every = np.concatenate(flat)
    low, extent = every.min(axis=0), max(float(np.ptp(every, axis=0).max()), 1e-3)
    scale = (_SIDE - 2 * _MARGIN) / extent
    canvas = np.full((_SIDE, _SIDE, 3), 255, np.uint8)
    step = next((size for size in _STEPS if extent / size <= _LINES), _STEPS[-1])
    for line in range(int(extent / step) + 1):
        at = _MARGIN + round(line * step * scale)
        cv2.line(canvas, (at, _MARGIN), (at, _SIDE - _MARGIN), _GRID, 1)
        cv2.line(canvas, (_MARGIN, at), (_SIDE - _MARGIN, at), _GRID, 1)
    colours = (_TRUTH, *_ESTIMATES[: len(estimates)])
    for path, colour in zip(flat, colours, strict=True):
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
    legend = list(zip(("truth", *estimates), colours, strict=True))
    rows = [*(16 + 18 * number for number in range(len(legend))), _SIDE - 12]
    for (text, colour), row in zip([*legend, (f"grid {step:g} m", _TRUTH)], rows, strict=True):
        cv2.putText(canvas, text, (8, row), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)
    return canvas
