"""How much faster a bundle's engines are than the published widths in float32, in the same graph.

    python benchmarks/slam_engines.py [BUNDLE] [--edges 8] [--rounds 20]

The networks of the published widths are exported anew, with weights as they come: time does not
depend on their values. All engines run in turns on one thread, and what is counted is the time of
the processor, so that other work on the machine matters little. A frame is what a bundle's manifest
says: so many runs of each model.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compressed_slam.network import DroidNet
from compressed_slam.offline.exporting import export_models
from compressed_slam.widths import DroidConfig
from edge_compression.export import arrays, export
from edge_runtime.bundle import load_bundle
from edge_runtime.onnx_engine import OnnxEngine
from edge_runtime.share import shipped_bundle

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_compression.protocol import Arrays

FLAVOURS = ("fp32.onnx", "cpu.onnx")


def inputs_of(shapes: Mapping[str, tuple[int, ...]], edges: int) -> Arrays:
    """Return noise for a model of these example shapes, with `edges` edges of one source."""
    rng = np.random.default_rng(0)
    if "image" in shapes:
        return {"image": rng.integers(256, size=shapes["image"], dtype=np.uint8)}
    maps = {name: shape for name, shape in shapes.items() if name != "means"}
    return {
        **{
            name: np.tanh(rng.normal(size=(edges, *shape[1:]))).astype(np.float32)
            for name, shape in maps.items()
        },
        "means": np.full((1, edges), 1 / edges, np.float32),
    }


def main() -> None:
    """Time all engines in turns, and print a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", type=Path, nargs="?")
    parser.add_argument("--edges", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    bundle = load_bundle(arguments.bundle or shipped_bundle("slam"), "slam")
    published = export_models(DroidNet(DroidConfig()).eval())
    engines, inputs, calls = {}, {}, {}
    for name, model in published.items():
        shipped = bundle.manifest.models[name]
        calls[name] = shipped.calls
        engines[name, "published, fp32.onnx"] = OnnxEngine.from_file(export(model), threads=1)
        shapes = {key: value.shape for key, value in arrays(model.examples[0]).items()}
        inputs[name, "published, fp32.onnx"] = inputs_of(shapes, arguments.edges)
        for flavour in FLAVOURS:
            file = bundle.path / shipped.flavours[flavour]
            engines[name, flavour] = OnnxEngine.from_file(file, threads=1)
            inputs[name, flavour] = inputs_of(shipped.examples[0], arguments.edges)
    took: dict[tuple[str, str], list[float]] = {key: [] for key in engines}
    for _ in range(arguments.rounds + 1):
        for key, engine in engines.items():
            start = time.process_time()
            engine.run(inputs[key])
            took[key].append(1e3 * (time.process_time() - start))
    medians = {key: float(np.median(times[1:])) for key, times in took.items()}
    _print("engines", *(f"{name} [ms]" for name in calls), "frame [ms]", "speed")
    _print(*["---"] * (len(calls) + 3))
    frames: dict[str, float] = {}
    for kind in dict.fromkeys(kind for _, kind in engines):
        frames[kind] = sum(calls[name] * medians[name, kind] for name in calls)
        speed = frames["published, fp32.onnx"] / frames[kind]
        each = (f"{medians[name, kind]:.1f}" for name in calls)
        _print(kind, *each, f"{frames[kind]:.0f}", f"x {speed:.1f}")


def _print(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
