"""How much faster a bundle's engines are than the published widths in float32.

    python benchmarks/slam_engines.py [BUNDLE ...] [--edges 8] [--rounds 20]

The networks of the published widths are exported anew, with weights as they come: time does not
depend on their values. "published" is the published graph, which computes the context's share of
the recurrent unit and the damping in every step; "published widths" has them where the bundle's
graphs have them. All engines run in turns on one thread, and what is counted is the time of the
processor, so that other work on the machine matters little. A frame is what a bundle's manifest
says: so many runs of each model.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from compressed_slam.network import DroidNet
from compressed_slam.offline.exporting import export_models
from compressed_slam.update_operator import source_means
from compressed_slam.widths import DroidConfig
from edge_compression import measure
from edge_compression.export import export
from edge_compression.protocol import ExportModel
from edge_runtime.bundle import TensorSpec, load_bundle
from edge_runtime.onnx_engine import OnnxEngine
from edge_runtime.share import shipped_bundle

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from edge_compression.protocol import Arrays

PICTURE = (240, 320)
MAPS = (30, 40)
FLAVOURS = ("fp32.onnx", "cpu.onnx")


class PublishedContext(nn.Module):
    """cnet as it was published."""

    def __init__(self, droid: DroidNet) -> None:
        super().__init__()
        self.droid = droid

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Map images to net and inp."""
        return self.droid.context(image)


class PublishedStep(nn.Module):
    """The update operator as it was published, but for `upmask`, which tracking does not read."""

    def __init__(self, droid: DroidNet) -> None:
        super().__init__()
        self.operator = droid.update

    def forward(
        self, net: Tensor, inp: Tensor, corr: Tensor, motion: Tensor, means: Tensor
    ) -> tuple[Tensor, ...]:
        """Map to the first four of an `Update`."""
        found = self.operator.match(net, inp, corr, motion)
        return *found, self.operator.agg.damping(found[0], means)


@dataclass
class Kind:
    """Networks that are timed: engines by model, and runs of each for a frame."""

    engines: dict[str, OnnxEngine]
    calls: Mapping[str, float]
    macs: float


def published_models(droid: DroidNet) -> dict[str, ExportModel]:
    """Return the published graphs, called as often as ours."""
    ours = export_models(droid)
    config = droid.config()

    def maps(name: str, channels: int) -> TensorSpec:
        return TensorSpec(name=name, shape=("edges", channels, *"hw"), dtype="float32")

    image = TensorSpec(name="image", shape=("edges", 3, *"HW"), dtype="uint8")
    state, inp = maps("net", config.hidden), maps("inp", config.context)
    step = [state, inp, maps("corr", 196), maps("motion", 4)]
    means = TensorSpec(name="means", shape=("sources", "edges"), dtype="float32")
    made = [maps("next_net", config.hidden), maps("delta", 2), maps("weight", 2)]
    eta = TensorSpec(name="eta", shape=("sources", *"hw"), dtype="float32")

    def model(
        name: str, network: nn.Module, ins: list[TensorSpec], outs: list[TensorSpec]
    ) -> ExportModel:
        example = {key: torch.from_numpy(each) for key, each in noise(ins, 8).items()}
        return ExportModel(network, ins, outs, [example], ours[name].calls)

    return {
        "fnet": ours["fnet"],
        "cnet": model("cnet", PublishedContext(droid), [image], [state, inp]),
        "update": model("update", PublishedStep(droid), [*step, means], [*made, eta]),
    }


def noise(inputs: list[TensorSpec], edges: int) -> Arrays:
    """Return inputs: a picture, or maps of so many edges of two sources."""
    rng = np.random.default_rng(0)
    found: Arrays = {}
    for spec in inputs:
        if spec.name == "image":
            found["image"] = rng.integers(256, size=(1, 3, *PICTURE), dtype=np.uint8)
        elif spec.name == "means":
            found["means"] = source_means(torch.arange(edges) % 2).numpy()
        else:
            sizes = {"h": MAPS[0], "rows": MAPS[0], "w": MAPS[1], "columns": MAPS[1]}
            shape = [size if isinstance(size, int) else sizes[size] for size in spec.shape[1:]]
            values = np.tanh(rng.normal(size=(edges, *shape)))
            found[spec.name] = values.astype(np.float32)
    return found


def kinds(bundles: list[Path]) -> dict[str, Kind]:
    """Open everything that is timed, the baseline first."""
    droid = DroidNet(DroidConfig()).eval()
    exported = {
        "published, float32": published_models(droid),
        "published widths, float32": export_models(droid),
    }
    found = {
        name: Kind(
            {key: OnnxEngine.from_file(export(model), threads=1) for key, model in models.items()},
            {key: model.calls for key, model in models.items()},
            measure.sizes(models, ["macs"])["macs"],
        )
        for name, models in exported.items()
    }
    for path in bundles:
        bundle = load_bundle(path, "slam")
        models = bundle.manifest.models
        for flavour in FLAVOURS:
            files = {name: bundle.path / model.flavours[flavour] for name, model in models.items()}
            found[f"{path.parent.name}/{path.name}, {flavour}"] = Kind(
                {name: OnnxEngine.from_file(file, threads=1) for name, file in files.items()},
                {name: model.calls for name, model in models.items()},
                sum(
                    model.calls * model.engines[model.flavours[flavour]].macs
                    for model in models.values()
                ),
            )
    return found


def main() -> None:
    """Time all engines in turns, and print a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundles", type=Path, nargs="*")
    parser.add_argument("--edges", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    timed = kinds(arguments.bundles or [shipped_bundle("slam")])
    runs = {
        (kind, name): (engine, noise(engine.inputs, arguments.edges))
        for kind, each in timed.items()
        for name, engine in each.engines.items()
    }
    took: dict[tuple[str, str], list[float]] = {key: [] for key in runs}
    for _ in range(arguments.rounds + 1):
        for key, (engine, inputs) in runs.items():
            start = time.process_time()
            engine.run(inputs)
            took[key].append(1e3 * (time.process_time() - start))
    medians = {key: float(np.median(times[1:])) for key, times in took.items()}
    models = list(timed["published widths, float32"].engines)
    _print("engines", *(f"`{name}` [ms]" for name in models), "a frame [ms]", "speed", "MACs")
    _print(*["---"] * (len(models) + 4))
    first = 0.0
    for kind, each in timed.items():
        frame = sum(calls * medians[kind, name] for name, calls in each.calls.items())
        first = first or frame
        times = (f"{medians[kind, x]:.1f}" if x in each.engines else "-" for x in models)
        _print(kind, *times, f"{frame:.0f}", f"x {first / frame:.1f}", f"{each.macs / 1e9:.2f} G")


def _print(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
