"""How good the flow of pairs is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from compressed_slam.encoder import STRIDE
from edge_compression.protocol import Metric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from compressed_slam.training.clips import Flow

    Floats = NDArray[np.floating[Any]]

FLOW = {
    "within_1px": Metric("share of the visible samples whose flow is off by less than a pixel"),
    "median_error": Metric(
        "median error of the flow where the other picture shows the same", "px", "lower"
    ),
    "trusted": Metric("share of the visible samples with a weight of a half or more"),
    "trusted_within_1px": Metric("within_1px of those"),
    "hidden_weight": Metric(
        "mean weight of samples that the other picture does not show", better="lower"
    ),
    "rooms_within_1px": Metric("within_1px in rendered rooms"),
    "rooms_median_error": Metric("median_error in rendered rooms", "px", "lower"),
    "recorded_within_1px": Metric("within_1px in recorded sequences"),
    "recorded_median_error": Metric("median_error in recorded sequences", "px", "lower"),
}

_TRUST = 0.5


class FlowErrors:
    """Collects the errors of pairs of several kinds; every visible sample counts alike."""

    def __init__(self) -> None:
        self._found: dict[str, list[_Errors]] = {}

    def add(self, kind: str, flow: Floats, weight: Floats, truth: Flow) -> None:
        """Take one pair in: flow (2, h, w) in cells, and weight (2, h, w)."""
        error = STRIDE * np.linalg.norm(flow.transpose(1, 2, 0) - truth.cells, axis=-1)
        mean = weight.mean(axis=0)
        hidden = mean[truth.known & ~truth.visible]
        found = _Errors(error[truth.visible], mean[truth.visible], hidden)
        self._found.setdefault(kind, []).append(found)

    def metrics(self) -> dict[str, float]:
        """Return what `FLOW` says; NaN where nothing was collected."""
        every = _joined([each for found in self._found.values() for each in found])
        trusted = every.weights >= _TRUST
        metrics = {
            **_accuracy(every.errors),
            "trusted": _mean(trusted),
            "trusted_within_1px": _mean(every.errors[trusted] < 1),
            "hidden_weight": _mean(every.hidden),
        }
        for kind, found in self._found.items():
            own = _accuracy(_joined(found).errors)
            metrics |= {f"{kind}_{name}": value for name, value in own.items()}
        return metrics


class _Errors(NamedTuple):
    """Attributes: `errors` (M,) pixels and `weights` (M,) of visible samples; `hidden` weights."""

    errors: Floats
    weights: Floats
    hidden: Floats


def _joined(parts: Sequence[_Errors]) -> _Errors:
    nothing = _Errors(*[np.zeros(0)] * 3)
    return _Errors(*(np.concatenate(arrays) for arrays in zip(nothing, *parts, strict=True)))


def _accuracy(errors: Floats) -> dict[str, float]:
    median = float(np.median(errors)) if len(errors) else np.nan
    return {"within_1px": _mean(errors < 1), "median_error": median}


def _mean(values: Floats | NDArray[np.bool_]) -> float:
    return float(values.mean()) if len(values) else np.nan
