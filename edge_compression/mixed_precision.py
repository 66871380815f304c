"""Which tensors stay in float so that a quantised network is accurate enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_compression.quantisation import quantise
from edge_compression.tensor_errors import quantised_tensors
from edge_runtime.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from edge_compression.calibration import Calibration
    from edge_compression.quantisation import Flavour
    from edge_compression.results import TensorError


def protect(
    calibrations: Mapping[str, Calibration],
    flavour: Flavour,
    errors: Mapping[str, Sequence[TensorError]],
    over_limit: Callable[[Mapping[str, bytes]], str],
    *,
    keep_float: Mapping[str, Collection[str]],
) -> tuple[dict[str, bytes], list[tuple[str, str]]]:
    """Quantise, keeping the tensors with the worst errors in float until the limits are met.

    One, two, four, eight ... tensors are tried, then between the last two numbers by halving, so
    that a hundred tensors take at most fifteen evaluations. That the fewest are found rests on
    the metrics getting better with every tensor that is kept.

    Args:
        calibrations: of the float32 graphs, by model.
        flavour: to quantise for.
        errors: of the flavour's tensors, by model.
        over_limit: evaluates graphs by model; says which limits they miss, or nothing.
        keep_float: tensors that stay in float in any case, by model.

    Returns:
        The graphs by model, and the (model, tensor) pairs that are kept in float, those of
        `keep_float` first.

    Raises:
        EngineError: the limits are not met with all tensors in float.
        SettingError: `keep_float` names a tensor that a graph has not.
    """
    rows = [(name, row) for name, of in errors.items() for row in of]
    ranked = [(name, row.tensor) for name, row in sorted(rows, key=lambda each: each[1].sqnr_db)]
    kept = [(name, tensor) for name in calibrations for tensor in keep_float.get(name, ())]
    wanted = len(kept)

    def quantised(count: int) -> dict[str, bytes]:
        return {
            name: quantise(calibration, flavour, [t for of, t in kept[:count] if of == name])
            for name, calibration in calibrations.items()
        }

    def keep(count: int) -> dict[str, bytes]:
        """Quantise with that many tensors kept, or with all where there are fewer."""
        graphs = quantised(count)
        while len(kept) < count:
            left = {
                (name, tensor)
                for name, calibration in calibrations.items()
                for tensor in quantised_tensors(graphs[name], calibration)
            }
            if not left:
                break
            kept.append(next(each for each in [*ranked, *sorted(left)] if each in left))
            graphs = quantised(len(kept))
        return graphs

    too_few, count, reasons = wanted - 1, wanted, ""
    while True:
        graphs = keep(count)
        count = min(count, len(kept))
        if count == too_few:
            message = (
                f"with all tensors in float the {flavour} engine is over the limit: {reasons}; "
                "give wider quantise.limits, or tune for longer"
            )
            raise EngineError(message)
        reasons = over_limit(graphs)
        if not reasons:
            break
        too_few, count = count, wanted + max(1, 2 * (count - wanted))
    while count - too_few > 1:
        middle = (too_few + count) // 2
        tried = keep(middle)
        if over_limit(tried):
            too_few = middle
        else:
            graphs, count = tried, middle
    return graphs, kept[:count]
