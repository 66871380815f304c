"""Whether an engine computes, on this device, what its own graph says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.errors import EngineError, SettingError
from edge_runtime.onnx_engine import OnnxEngine

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_compression.protocol import Arrays
    from edge_runtime.bundle import Bundle
    from edge_runtime.engine import Engine
    from edge_runtime.findings import Shape

# What has to be told apart is rounding from kernels that compute something else. fp32: TensorRT
# multiplies with the 11 bits of TF32. fp16: sums of so many bits. int8: sums in another order or
# precision fall on the other side of a rounding now and then, by one step of 127; that was .1 of
# the output at worst. ONNX Runtime's optimised run of an eight-bit graph with FP16 scales, which
# rounds the biases to steps of a product of such scales, was off by .5.
_TOLERANCE = {"fp32": 0.01, "fp16": 0.05, "int8": 0.25}
_BLOCK = 16


def samples(bundle: Bundle, name: str) -> list[Arrays]:
    """Return inputs of a model's example shapes: noise, and large even patches.

    The first is of the size on which the model was measured.

    Raises:
        SettingError: the bundle does not say these sizes.
    """
    model = bundle.manifest.models[name]
    examples = model.examples or [{}]
    missing = [spec.name for spec in model.inputs if any(spec.name not in e for e in examples)]
    if missing:
        message = (
            f"bundle {bundle.path} does not say how large its input {missing[0]!r} is (it was made "
            "by an older version): make it again with `compress run`"
        )
        raise SettingError(message)
    rng = np.random.default_rng(0)
    return [
        {
            spec.name: _patches(rng, example[spec.name], block).astype(spec.dtype)
            for spec in model.inputs
        }
        for example in examples
        for block in (1, _BLOCK)
    ]


def run_unoptimised(graph: Path, inputs: Sequence[Arrays]) -> list[Arrays]:
    """Compute a graph node by node on the processor, eight-bit numbers as the floats they mean.

    Raises:
        EngineError: ONNX Runtime cannot.
    """
    engine = OnnxEngine.from_file(graph, disable_optimisations=True)
    return [engine.run(sample) for sample in inputs]


def difference(engine: Engine, inputs: Sequence[Arrays], expected: Sequence[Arrays]) -> float:
    """Return the root mean square of an engine's error, as a share of that of the output.

    Of several inputs and outputs the worst counts.

    Raises:
        EngineError: it is more than the engine's precision explains, or is no number.
    """
    errors = [
        _relative(found[name], exact)
        for found, outputs in zip(map(engine.run, inputs), expected, strict=True)
        for name, exact in outputs.items()
    ]
    worst = float(np.max(errors))  # NaN if one is
    about = engine.describe()
    allowed = _TOLERANCE[about["precision"]]
    if not worst <= allowed:
        message = (
            f"{about['file']} is off by {worst:.2g} of the output from what its graph says, "
            f"{about['precision']} explains {allowed:g}: it is not used on this device"
        )
        raise EngineError(message)
    return worst


def _patches(rng: np.random.Generator, shape: Shape, block: int) -> NDArray[np.float64]:
    """Return numbers from 0 to 1 that are equal in blocks of so many along every axis."""
    coarse = rng.random([-(-size // block) for size in shape])
    return coarse[np.ix_(*(np.arange(size) // block for size in shape))]


def _relative(found: NDArray[Any], expected: NDArray[Any]) -> float:
    exact = expected.astype(np.float64)
    scale = max(float(np.square(exact).mean()), np.finfo(np.float64).tiny)
    return float(np.sqrt(np.square(found - exact).mean() / scale))
