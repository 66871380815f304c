"""Names beside points, where they cover neither each other nor the points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.transforms import Bbox

from edge_report.svg import SERIES, plain_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_SIZE = 9  # points, as all lengths here
_MARKER = 5.0  # from its middle to its edge, with some air
_AIR = 8.0  # around a point, free of its own marker
_DISTANCES = (7.0, 15.0, 26.0, 40.0, 58.0, 80.0)
_LEADER = 10.0  # a name farther away is tied to its point with a line
_LINE = {
    "arrowstyle": "-",
    "color": SERIES[5],
    "linewidth": 0.7,
    "shrinkA": 1.0,
    "shrinkB": _MARKER,
}
_DIRECTIONS = (
    (1.0, 0.0),
    (0.7, 0.7),
    (0.7, -0.7),
    (-0.7, 0.7),
    (-0.7, -0.7),
    (-1.0, 0.0),
    (0.0, 1.0),
    (0.0, -1.0),
    (0.94, 0.34),
    (0.94, -0.34),
    (-0.94, 0.34),
    (-0.94, -0.34),
)
# What a place costs; a point of distance costs 1.
_COVERS = 1000.0
_OUTSIDE = 10_000.0  # where it would be cut off
_ON_LINE = 4.0  # for each sample of a line
_CROSSES = 30.0  # for each sample of the leader
_SAMPLES = 100  # of each piece of a line


@dataclass(frozen=True)
class Label:
    """A text for the point (x, y), in the units of the axes; `needed` ones are never left out."""

    text: str
    x: float
    y: float
    colour: str
    needed: bool = True


def place_labels(
    figure: Figure,
    axes: Axes,
    labels: Sequence[Label],
    lines: Sequence[Sequence[tuple[float, float]]] = (),
) -> None:
    """Write the labels where there is room; call it when all else is drawn.

    Args:
        figure: to be drawn on.
        axes: its chart, with its final limits and scales.
        labels: one for each point.
        lines: corners of each, to be kept free where possible.
    """
    plain_text(figure)
    figure.draw_without_rendering()  # which gives the axes their place
    unit = figure.dpi / 72  # pixels in a point
    anchors = [axes.transData.transform((label.x, label.y)) / unit for label in labels]
    bounds = axes.get_window_extent()
    inside = Bbox(bounds.get_points() / unit)
    taken = [
        Bbox.from_extents(x - _MARKER, y - _MARKER, x + _MARKER, y + _MARKER) for x, y in anchors
    ]
    samples = _samples(axes, lines) / unit
    for label, anchor in sorted(
        zip(labels, anchors, strict=True), key=lambda pair: not pair[0].needed
    ):
        width, height = _size(axes, label.text, unit)
        costs = {}
        for distance in _DISTANCES:
            for right, up in _DIRECTIONS:
                offset = (distance * right, distance * up)
                box = _box(anchor + offset, right, up, width, height)
                leader = anchor + np.outer(np.arange(_AIR, distance, 3.0), (right, up))
                crossed = sum(other.count_contains(leader) for other in taken)
                costs[offset] = distance + _CROSSES * crossed
                costs[offset] += _cost(box, inside, taken, samples)
        offset = min(costs, key=costs.__getitem__)
        if costs[offset] >= _COVERS and not label.needed:
            continue
        right, up = offset
        taken.append(_box(anchor + offset, right, up, width, height))
        _write(axes, label, offset)


def _write(axes: Axes, label: Label, offset: tuple[float, float]) -> None:
    right, up = offset
    text = axes.annotate(
        label.text,
        (label.x, label.y),
        offset,
        textcoords="offset points",
        ha="left" if right > 0 else "right" if right < 0 else "center",
        va="bottom" if up > 0 else "top" if up < 0 else "center",
        color=label.colour,
        fontsize=_SIZE,
        parse_math=False,
    )
    text.set_in_layout(False)  # the axes stay where room was looked for
    if np.hypot(right, up) > _LEADER:
        # Without a text of its own, which would shorten it.
        leader = axes.annotate(
            "", (label.x, label.y), offset, textcoords="offset points", arrowprops=_LINE
        )
        leader.set_in_layout(False)


def _size(axes: Axes, text: str, unit: float) -> tuple[float, float]:
    probe = axes.text(0, 0, text, fontsize=_SIZE, parse_math=False)
    extent = probe.get_window_extent()
    probe.remove()
    return extent.width / unit, extent.height / unit


def _box(at: NDArray[np.float64], right: float, up: float, width: float, height: float) -> Bbox:
    left = at[0] - width * (0.0 if right > 0 else 1.0 if right < 0 else 0.5)
    bottom = at[1] - height * (0.0 if up > 0 else 1.0 if up < 0 else 0.5)
    return Bbox.from_bounds(left, bottom, width, height)


def _cost(box: Bbox, inside: Bbox, taken: Sequence[Bbox], samples: NDArray[np.float64]) -> float:
    covered = sum(box.overlaps(other) for other in taken)
    outside = not (inside.contains(box.x0, box.y0) and inside.contains(box.x1, box.y1))
    on_line = box.count_contains(samples) if len(samples) else 0
    return _COVERS * covered + _OUTSIDE * outside + _ON_LINE * on_line


def _samples(axes: Axes, lines: Sequence[Sequence[tuple[float, float]]]) -> NDArray[np.float64]:
    """Return points along the lines, (n, 2), in pixels."""
    found = [np.empty((0, 2))]
    for line in lines:
        corners = axes.transData.transform(line)
        at = np.linspace(0, len(corners) - 1, _SAMPLES * len(corners))
        index = np.arange(len(corners))
        found.append(np.stack([np.interp(at, index, side) for side in corners.T], axis=1))
    return np.concatenate(found)
