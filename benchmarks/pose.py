"""Figures of the arm-pose skill: every engine in the real node, one after the other in one run.

    compress run config/recipes/pose_unpruned.yaml --output output/unpruned
    compress run config/recipes/pose.yaml --output output/pruned
    python benchmarks/pose.py output/benchmark output/unpruned output/pruned

Takes the bundles of these `compress run`s, films the own arm (640x480), and replays the film into
`pose_node`: at 30 Hz for a minute, then at the highest rate. Times the callbacks in turns, and asks
the bundle that ships what the score of a keypoint is worth. What is lost and how many times as fast
the work is are against the first engine. Prints Markdown tables and writes `pose.json`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pose_callback import compare
from pose_scores import score_table

from edge_compression.results import read_report
from edge_replay.results import load_report
from edge_runtime.bundle import load_bundle
from edge_runtime.host import provenance
from edge_runtime.share import shipped_bundle

if TYPE_CHECKING:
    from edge_replay.results import RunReport

RECIPE = Path(__file__).resolve().parents[1] / "config" / "recipes" / "pose.yaml"
TOOLS = ("compressed_grasp", "rclpy", "onnxruntime", "opencv-python-headless", "numpy", "torch")


def command(*words: object) -> None:
    """Run one of our commands and show its progress."""
    program, *rest = (str(word) for word in words)
    subprocess.run([str(Path(sys.executable).with_name(program)), *rest], check=True)


def film(folder: Path) -> Path:
    """Film the own arm and make a labelled bag of it."""
    bag = folder / "bag"
    if not bag.is_dir():
        module = "edge_worlds.arm.recording"
        shutil.rmtree(folder / "film", ignore_errors=True)  # of a run that was cut off
        command("python", "-m", module, folder / "film", "--frames", 120, "--seed", 6)
        command("replay", "convert", folder / "film", bag, "--skill", "pose", "--rate", 30)
    return bag


def replay(bag: Path, bundle: Path, precision: str, output: Path, *options: object) -> RunReport:
    """Drive the node and return the report."""
    chosen = ("--bundle", bundle, "--param", f"precision:={precision}", "--output", output)
    command("replay", "run", "--skill", "pose", "--bag", bag, *chosen, *options)
    return load_report(output)


def row(steady: RunReport, peak: RunReport) -> dict[str, float]:
    """Pick the figures that docs/benchmarks.md quotes."""
    p50 = {stage: times["p50"] for stage, times in steady.latency_ms.items()}
    return {
        "message in to keypoints out p50 [ms]": p50["total"],
        "frames a second by that": 1000 / p50["total"],
        "engine p50 [ms]": p50["engine"],
        "node overhead p50 [ms]": p50["overhead"],
        "end to end p50 [ms]": p50["end to end"],
        "end to end p99 [ms]": steady.latency_ms["end to end"]["p99"],
        "frames at 30 Hz": steady.playback.published,
        "unanswered": steady.playback.published - steady.playback.answered,
        "memory growth [MiB]": steady.usage.rss_last_mib - steady.usage.rss_first_mib,
        "answers a second at the searched rate": peak.playback.answered_hz or 0.0,
        "unanswered at that rate [%]": 100
        * (1 - peak.playback.answered / max(1, peak.playback.published)),
    }


def markdown(rows: dict[str, dict[str, float]]) -> str:
    """Lay out one column for each variant."""
    figures = list(next(iter(rows.values())))
    lines = ["| | " + " | ".join(rows) + " |", "|---" * (len(rows) + 1) + "|"]
    lines += [
        f"| {figure} | " + " | ".join(f"{columns[figure]:.4g}" for columns in rows.values()) + " |"
        for figure in figures
    ]
    return "\n".join(lines)


def main() -> None:
    """Run it all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("runs", type=Path, nargs="+", help="--output of a `compress run`")
    parser.add_argument("--seconds", type=float, default=60.0, help="at 30 Hz, for each engine")
    parser.add_argument(
        "--without-arm", type=Path, metavar="DIR", help="real photographs without an arm"
    )
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    bundles = {run.name: run / "bundle" for run in args.runs}
    bag = film(args.output)
    nodes = {}
    for name, bundle in bundles.items():
        for precision in ("fp32", "int8"):
            output = args.output / f"{name}_{precision}"
            steady = replay(
                bag, bundle, precision, output / "30_hz", "--rate", 30, "--seconds", args.seconds
            )
            peak = replay(bag, bundle, precision, output / "peak", "--rate", "max")
            nodes[f"{name} {precision}"] = row(steady, peak)
    reports = [(run.name, read_report(run)) for run in args.runs]
    first = reports[0][1].variants[0]
    networks = {
        f"{name}, {variant.name}": {
            "parameters": variant.parameters,
            "parameters lost [%]": 100 * (1 - variant.parameters / first.parameters),
            "MACs [M]": variant.macs / 1e6,
            "MACs lost [%]": 100 * (1 - variant.macs / first.macs),
            "bytes": variant.bytes,
            "bytes lost [%]": 100 * (1 - variant.bytes / first.bytes),
            **variant.accuracy,
            "primary metric lost [points]": 100
            * (first.accuracy[report.primary_metric] - variant.accuracy[report.primary_metric]),
        }
        for name, report in reports
        for variant in report.variants
    }
    callbacks = compare(bundles)
    bundles["shipped"] = shipped_bundle("pose")
    loaded = {name: load_bundle(path) for name, path in bundles.items()}
    scores = score_table(loaded["shipped"], RECIPE, args.without_arm)
    results = {
        **provenance(*TOOLS),
        "bundles": {name: bundle.digest for name, bundle in loaded.items()},
        "networks": networks,
        "node": nodes,
        "callback": callbacks,
        "min_score": scores,
    }
    (args.output / "pose.json").write_text(json.dumps(results, indent=1) + "\n")
    tables = (networks, nodes, callbacks, scores)
    print(*map(markdown, tables), sep="\n\n")


if __name__ == "__main__":
    main()
