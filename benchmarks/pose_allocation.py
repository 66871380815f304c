"""Pruning guided by sensitivity against uniform pruning, at the same MACs and the same tuning.

    python benchmarks/pose_allocation.py OUTPUT [--macs 0.8] [--steps 600]

As in the recipe that ships, the unpruned weights see smaller pictures; by every rule and saliency
they lose the same share of their MACs in one stage, are tuned for the same few steps on the same
images, and judged on the same 1,000. Prints a Markdown table and writes `allocation.json`. Goes on
where it was cut off.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from edge_compression.results import read_report

REPOSITORY = Path(__file__).resolve().parents[1]
BASE = REPOSITORY / "config" / "recipes" / "pose.yaml"
RULES = ("uniform", "ranked", "sensitivity")
SALIENCIES = ("l1", "taylor")


def recipe(rule: str, saliency: str, macs: float, steps: int) -> dict[str, Any]:
    """Change the recipe that ships into one that prunes by `rule` and is over soon."""
    base = yaml.safe_load(BASE.read_text())
    tuning = ("batch_size", "learning_rate", "normalise", "precision")
    return {
        "skill": base["skill"],
        "name": f"{rule}_{saliency}",
        "checkpoint": str(BASE.parent / base["checkpoint"]),
        "data": base["data"],
        "prune": {"macs": macs, "saliency": saliency, "allocation": rule},
        "finetune": {"steps": steps, **{key: base["finetune"][key] for key in tuning}},
    }


def main() -> None:
    """Run every rule with every saliency."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--macs", type=float, default=0.8, help="share to lose")
    parser.add_argument("--steps", type=int, default=600, help="of tuning")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    rows = []
    for saliency in SALIENCIES:
        for rule in RULES:
            folder = args.output / f"{rule}_{saliency}"
            file = args.output / f"{rule}_{saliency}.yaml"
            file.write_text(yaml.safe_dump(recipe(rule, saliency, args.macs, args.steps)))
            compress = Path(sys.executable).with_name("compress")
            subprocess.run([str(compress), "run", file, "--output", folder], check=True)
            report = read_report(folder)
            original, pruned = report.variants
            name = report.primary_metric
            (stage,) = report.stages
            rows.append(
                {
                    "rule": rule,
                    "saliency": saliency,
                    "filters left": "-".join(
                        str(layer.after) for layer in report.layers if not layer.tied_to
                    ),
                    "MACs lost": f"{100 * stage.lost['macs']:.1f} %",
                    "parameters lost": f"{100 * stage.lost['parameters']:.1f} %",
                    f"{name} as pruned": round(stage.pruned_accuracy, 4),
                    f"{name} tuned": round(pruned.accuracy[name], 4),
                    f"unpruned {name}": round(original.accuracy[name], 4),
                }
            )
    (args.output / "allocation.json").write_text(json.dumps(rows, indent=1) + "\n")
    print("| " + " | ".join(rows[0]) + " |", "|---" * len(rows[0]) + "|", sep="\n")
    for row in rows:
        print("| " + " | ".join(str(value) for value in row.values()) + " |")


if __name__ == "__main__":
    main()
