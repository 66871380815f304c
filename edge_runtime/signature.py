"""Inputs and outputs of an engine: held against the manifest once, and inputs at every run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from edge_runtime.bundle import TensorSpec
    from edge_runtime.device_array import Tensor
    from edge_runtime.findings import Shape


def check_inputs(file: str, specs: Sequence[TensorSpec], inputs: Mapping[str, Tensor]) -> None:
    """Refuse inputs whose names, dtypes or shapes `file` does not take.

    Raises:
        EngineError: says what is taken, and what was given.

    """
    for spec in specs:
        if spec.name not in inputs or len(inputs) != len(specs):
            wanted = ", ".join(spec.name for spec in specs)
            msg = f"{file} takes the inputs {wanted}, not {', '.join(inputs)}"
            raise EngineError(msg)
        _check(file, spec, inputs[spec.name])


def check_input(file: str, specs: Sequence[TensorSpec], name: str, array: Tensor) -> None:
    """Refuse one input that `file` does not take; otherwise as `check_inputs`."""
    by_name = {spec.name: spec for spec in specs}
    if name not in by_name:
        msg = f"{file} takes the inputs {', '.join(by_name)}, not {name}"
        raise EngineError(msg)
    _check(file, by_name[name], array)


def check_kept(file: str, specs: Sequence[TensorSpec], keep: Collection[str]) -> None:
    """Refuse names of outputs to keep that are none.

    Raises:
        EngineError: says which outputs there are.

    """
    names = [spec.name for spec in specs]
    if unknown := [name for name in keep if name not in names]:
        msg = f"{file} has the outputs {', '.join(names)}, none to keep is {', '.join(unknown)}"
        raise EngineError(msg)


def zeros(
    file: str, specs: Sequence[TensorSpec], shapes: Mapping[str, Shape]
) -> dict[str, NDArray[Any]]:
    """Return inputs to try an engine on.

    Raises:
        EngineError: there is no memory for them, or a shape is none.

    """
    try:
        return {spec.name: np.zeros(shapes[spec.name], spec.dtype) for spec in specs}
    except (KeyError, MemoryError, ValueError) as error:
        msg = f"{file} cannot be tried out on {dict(shapes)}: {error}"
        raise EngineError(msg) from error


def largest_first(examples: Sequence[Mapping[str, Shape]]) -> list[Mapping[str, Shape]]:
    """Sort example shapes, so that what is allocated for one does for those that follow."""
    return sorted(examples, key=lambda shapes: -sum(math.prod(shape) for shape in shapes.values()))


def check_against_manifest(
    file: str, promised: Sequence[TensorSpec], found: Sequence[TensorSpec]
) -> None:
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


def shown_shapes(inputs: Mapping[str, Tensor]) -> str:
    """Return "name (1, 3, 4), ..." for a message."""
    return ", ".join(f"{name} {array.shape}" for name, array in inputs.items())


def _check(file: str, spec: TensorSpec, array: Tensor) -> None:
    if array.dtype != spec.dtype or not _fits(array.shape, spec.shape):
        msg = (
            f"{file}: input {spec.name!r} must be {_describe(spec)}, not {array.dtype} "
            f"{array.shape}"
        )
        raise EngineError(msg)


def _fits(shape: tuple[int, ...], wanted: tuple[int | str, ...]) -> bool:
    if len(shape) != len(wanted) or 0 in shape:
        return False
    for size, want in zip(shape, wanted, strict=True):
        if size != want and not isinstance(want, str):
            return False
    return True


def _agree(one: tuple[int | str, ...], other: tuple[int | str, ...]) -> bool:
    # A dimension may be free in one and fixed in the other; two fixed ones must be equal.
    return len(one) == len(other) and all(
        isinstance(a, str) or isinstance(b, str) or a == b for a, b in zip(one, other, strict=True)
    )


def _describe(spec: TensorSpec) -> str:
    return f"{spec.dtype} ({', '.join(map(str, spec.shape))})"
