"""Which tensors stay in float so that a quantised network is accurate enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_compression.quantisation import quantise
from edge_compression.tensor_errors import quantised_tensors
from edge_runtime.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from edge_compression.calibration import Calibration
    from edge_compression.quantisation import Flavour
    from edge_compression.results import TensorError


def protect(
    calibration: Calibration,
    flavour: Flavour,
    errors: Sequence[TensorError],
    accuracy: Callable[[bytes], float],
    floor: float,
    *,
    keep_float: Collection[str] = (),
) -> tuple[bytes, list[str]]:
    """Quantise, keeping the tensors with the worst errors in float until `floor` is met.

    One, two, four, eight ... tensors are tried, then between the last two numbers by halving, so
    that a hundred tensors take at most fifteen evaluations. That the fewest are found rests on
    accuracy rising with every tensor that is kept.

    Args:
        calibration: of the float32 graph.
        flavour: to quantise for.
        errors: of the flavour's tensors.
        accuracy: evaluates a graph; higher is better.
        floor: least accuracy.
        keep_float: tensors that stay in float in any case.

    Returns:
        The graph, and the tensors that are kept in float, those of `keep_float` first.

    Raises:
        EngineError: the floor is not met with all tensors in float.
        SettingError: `keep_float` names a tensor that the graph has not.
    """
    ranked = [row.tensor for row in sorted(errors, key=lambda row: row.sqnr_db)]
    kept = [*keep_float]
    wanted = len(kept)

    def keep(count: int) -> bytes:
        """Quantise with that many tensors kept, or with all where there are fewer."""
        graph = quantise(calibration, flavour, kept[:count])
        while len(kept) < count:
            left = quantised_tensors(graph, calibration)
            if not left:
                break
            kept.append(next(name for name in [*ranked, *sorted(left)] if name in left))
            graph = quantise(calibration, flavour, kept)
        return graph

    too_few, count, reached = wanted - 1, wanted, 0.0
    while True:
        graph = keep(count)
        count = min(count, len(kept))
        if count == too_few:
            message = (
                f"with all tensors in float the {flavour} engine reaches {reached:.4f}, less than "
                f"{floor:.4f}: allow a larger quantise.max_drop, or tune for longer"
            )
            raise EngineError(message)
        reached = accuracy(graph)
        if reached >= floor:
            break
        too_few, count = count, wanted + max(1, 2 * (count - wanted))
    while count - too_few > 1:
        middle = (too_few + count) // 2
        tried = keep(middle)
        if accuracy(tried) >= floor:
            graph, count = tried, middle
        else:
            too_few = middle
    return graph, kept[:count]
