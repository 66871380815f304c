"""Inputs and outputs of an engine: held against the manifest once, and inputs at every run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_runtime.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edge_runtime.bundle import TensorSpec


def check_inputs(
    file: str, specs: Sequence[TensorSpec], inputs: Mapping[str, NDArray[Any]]
) -> None:
    """Refuse inputs whose names, dtypes or shapes `file` does not take.

    Raises:
        EngineError: says what is taken, and what was given.

    """
    if set(inputs) != {spec.name for spec in specs}:
        wanted = ", ".join(spec.name for spec in specs)
        msg = f"{file} takes the inputs {wanted}, not {', '.join(inputs)}"
        raise EngineError(msg)
    for spec in specs:
        array = inputs[spec.name]
        if array.dtype != spec.dtype or not _fits(array.shape, spec.shape):
            msg = (
                f"{file}: input {spec.name!r} must be {_describe(spec)}, "
                f"not {array.dtype} {array.shape}"
            )
            raise EngineError(msg)


def check_promise(file: str, promised: Sequence[TensorSpec], found: Sequence[TensorSpec]) -> None:
    """Refuse an engine that lacks what the manifest promises.

    Raises:
        EngineError: says what `file` has, and what is promised.

    """
    by_name = {spec.name: spec for spec in found}
    for spec in promised:
        other = by_name.get(spec.name)
        if other is None or other.dtype != spec.dtype or not _agree(spec.shape, other.shape):
            has = ", ".join(f"{spec.name} {_describe(spec)}" for spec in found)
            msg = (
                f"{file} has {has}, but the manifest promises {spec.name} {_describe(spec)}: "
                "rebuild the bundle"
            )
            raise EngineError(msg)


def shown_shapes(inputs: Mapping[str, NDArray[Any]]) -> str:
    """Return "name (1, 3, 4), ..." for a message."""
    return ", ".join(f"{name} {array.shape}" for name, array in inputs.items())


def _fits(shape: tuple[int, ...], wanted: tuple[int | str, ...]) -> bool:
    return len(shape) == len(wanted) and all(
        size > 0 and (isinstance(want, str) or size == want)
        for size, want in zip(shape, wanted, strict=True)
    )


def _agree(one: tuple[int | str, ...], other: tuple[int | str, ...]) -> bool:
    # A dimension may be free in one and fixed in the other; two fixed ones must be equal.
    return len(one) == len(other) and all(
        isinstance(a, str) or isinstance(b, str) or a == b for a, b in zip(one, other, strict=True)
    )


def _describe(spec: TensorSpec) -> str:
    return f"{spec.dtype} ({', '.join(map(str, spec.shape))})"
