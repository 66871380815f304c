"""What pruning and eight bits leave of the published widths: parameters, MACs, bytes.

    python benchmarks/slam_pruned_sizes.py [--shares 0 0.28 0.4]

Sizes do not depend on weights: the network is untrained, and every prunable layer loses the same
share of its filters, down to a multiple of four. What stays in float is what the recipe says.
Prints a Markdown table; shares lost are of the float32 graphs of the published widths.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from compressed_slam.skill import SlamSkill
from compressed_slam.training.data import SlamData
from edge_compression import measure
from edge_compression.calibration import calibrate
from edge_compression.dependency import prunable_groups, without
from edge_compression.export import arrays, export
from edge_compression.quantisation import quantise
from edge_compression.recipe import load_recipe

RECIPE = Path(__file__).parents[1] / "config" / "recipes" / "slam_spaq.yaml"
MULTIPLE = 4


def main() -> None:
    """Prune, export and quantise, and print a row for each share."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shares", type=float, nargs="+", default=[0.0, 0.28, 0.4])
    arguments = parser.parse_args()
    recipe = load_recipe(RECIPE)
    kept = recipe.recipe.quantise.keep_float if recipe.recipe.quantise else {}
    keep_float = kept if isinstance(kept, dict) else {}
    skill, data = SlamSkill(), SlamData(rooms=1)
    network = skill.build_network({}).eval()
    groups = prunable_groups(skill, network, data)
    before = measure.sizes(skill.models(network, data))
    bytes_before = sum(len(export(model)) for model in skill.models(network, data).values())
    _print("of each layer", "parameters", "MACs of a frame", "bytes in INT8")
    _print(*["---"] * 4)
    for share in arguments.shares:
        goes = {
            group.name: range(int(share * group.filters) // MULTIPLE * MULTIPLE) for group in groups
        }
        smaller = without(skill, network, data, goes)
        after = measure.sizes(skill.models(smaller, data))
        size = 0
        for name, model in skill.models(smaller, data).items():
            inputs = arrays(model.examples[0])
            calibration = calibrate(export(model), [inputs], "minmax")
            size += len(quantise(calibration, "cpu", keep_float.get(name, ())))
        _print(
            f"-{share:.0%}" if share else "all",
            f"{after['parameters']:,} ({_lost(after['parameters'], before['parameters'])})",
            f"{after['macs'] / 1e9:.1f} G ({_lost(after['macs'], before['macs'])})",
            f"{size / 1e6:.2f} M ({_lost(size, bytes_before)})",
        )


def _lost(after: float, before: float) -> str:
    return f"{100 * (after / before - 1):+.1f} %"


def _print(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
