"""Which published settings go with a data set."""

from __future__ import annotations

_OWN = {"euroc", "eth3d"}  # layouts with settings of their own, of the same name


def preset_of_layout(layout: str | None) -> str:
    """Name the preset for a layout, a key of `edge_replay.datasets.layouts.LAYOUTS`."""
    return layout if layout in _OWN else "tum"
