"""Figures of a Panda bundle on real photographs: pixel errors at each labelled keypoint.

    compress run config/recipes/panda.yaml --output output/panda
    python benchmarks/panda.py output/panda/bundle

Estimates the labelled photographs of the development data at their own size, with every engine of
the bundle on the processor. Prints Markdown and writes `panda.json` and, by the engine that the
bundle would choose, `panda.jpg` beside the bundle. A keypoint that is not found counts as
infinitely wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from edge_runtime.bundle import load_bundle
from edge_runtime.command import run_command
from edge_runtime.engine import open_engine
from edge_runtime.errors import SettingError
from edge_runtime.host import provenance
from edge_runtime.onnx_engine import OnnxEngine
from pose_fcn.accuracy import keypoint_errors
from pose_fcn.estimator import PoseEstimator
from pose_fcn.labels import FOLDER_FILE, PoseLabels, folder_labels
from pose_fcn.overlay import draw_keypoints, keypoint_colours

if TYPE_CHECKING:
    from numpy.typing import NDArray

PHOTOS = Path(__file__).resolve().parents[2] / "shared" / "data" / "pose" / "franka"
THRESHOLDS = (5, 10, 20, 50)  # pixels
LITERAL = "trt.onnx"  # on the processor only operator by operator as on the GPU
TILE = (480, 360)
COLUMNS = 3
TOOLS = ("compressed_grasp", "onnxruntime", "opencv-python-headless", "numpy")


def read_photos(folder: Path) -> tuple[list[NDArray[Any]], PoseLabels]:
    """Read the photographs below `folder` that its `keypoints.json` may label, and the labels."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix in {".png", ".jpg"})
    stamps = {str(path.relative_to(folder)): k for k, path in enumerate(paths)}
    labels = folder_labels(folder, stamps).labels
    if labels is None:
        message = f"--photos '{folder}' holds no {FOLDER_FILE}: give a folder with one"
        raise SettingError(message)
    known = PoseLabels.model_validate(labels)
    photos = [cv2.imread(str(paths[frame.stamp])) for frame in known.frames]
    broken = [
        paths[f.stamp] for f, photo in zip(known.frames, photos, strict=True) if photo is None
    ]
    if broken:
        message = f"photograph '{broken[0]}' is no readable picture; replace it"
        raise SettingError(message)
    return [photo for photo in photos if photo is not None], known


def figures(errors: NDArray[np.float64], names: tuple[str, ...]) -> dict[str, float]:
    """Summarise the errors (photos, keypoints) in pixels, NaN where there is no label."""
    every = errors[~np.isnan(errors)]
    rows = {
        f"{name} median [px]": float(np.nanmedian(errors[:, k])) for k, name in enumerate(names)
    }
    rows["all median [px]"] = float(np.median(every))
    rows["labelled in the pictures"] = every.size
    rows["found [%]"] = 100 * float(np.isfinite(every).mean())
    rows |= {f"within {t} px [%]": 100 * float((every <= t).mean()) for t in THRESHOLDS}
    return rows


def tile(
    photo: NDArray[Any],
    predicted: NDArray[np.floating],
    truth: NDArray[np.floating],
    links: tuple[tuple[int, int], ...],
) -> NDArray[Any]:
    """Draw predictions as dots, labels as crosses, and a line from each dot to its cross."""
    scale = np.array(TILE) / photo.shape[1::-1]
    small = cv2.resize(photo, TILE, interpolation=cv2.INTER_AREA)
    dots, crosses = predicted * scale, truth * scale
    picture = draw_keypoints(small, dots, links)
    for dot, cross, colour in zip(dots, crosses, keypoint_colours(len(dots)).tolist(), strict=True):
        if np.isnan(cross).any():
            continue
        centre = tuple(np.rint(cross).astype(int).tolist())
        if not np.isnan(dot).any():
            cv2.line(picture, tuple(np.rint(dot).astype(int).tolist()), centre, colour, 1)
        for ink, thickness in (((0, 0, 0), 4), (colour, 2)):
            cv2.drawMarker(picture, centre, ink, cv2.MARKER_TILTED_CROSS, 14, thickness)
    return picture


def legend(names: tuple[str, ...]) -> NDArray[Any]:
    """Say which colour is which keypoint."""
    picture = np.full((TILE[1], TILE[0], 3), 255, np.uint8)
    lines = [*names, "dot: estimated, cross: labelled"]
    inks = [*keypoint_colours(len(names)).tolist(), (0, 0, 0)]
    for row, (line, ink) in enumerate(zip(lines, inks, strict=True)):
        y = 40 + 36 * row
        if row < len(names):
            cv2.circle(picture, (30, y - 6), 8, ink, -1, cv2.LINE_AA)
        font = cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(picture, line, (50, y), font, 0.7, (0, 0, 0), 1, cv2.LINE_AA)
    return picture


def judge(args: argparse.Namespace) -> None:
    """Estimate, compare, print, and write the picture."""
    photos, labels = read_photos(args.photos)
    bundle = load_bundle(args.bundle, "pose")
    names = tuple(bundle.manifest.names)
    columns = labels.columns(names)
    truth = np.full((len(photos), len(names), 2), np.nan)
    for k, frame in enumerate(labels.frames):
        for column, point in zip(columns, frame.array(), strict=True):
            if column is not None:
                truth[k, column] = point
    usual = open_engine(bundle, "cpu").describe()["file"]
    results: dict[str, dict[str, float]] = {}
    for file in bundle.manifest.engines:
        engine = OnnxEngine.from_file(bundle.path / file, disable_optimisations=file == LITERAL)
        estimator = PoseEstimator.from_bundle(bundle, engine.run)
        predicted = np.stack([estimator.estimate(photo).positions for photo in photos])
        judged = ~np.isnan(truth).all(axis=(0, 2))
        errors = keypoint_errors(predicted, truth)[:, judged]
        judged_names = tuple(
            name for name, is_judged in zip(names, judged, strict=True) if is_judged
        )
        results[file] = figures(errors, judged_names)
        if file == usual:
            links = estimator.settings.links
            tiles = [tile(p, d, t, links) for p, d, t in zip(photos, predicted, truth, strict=True)]
            tiles.append(legend(names))
            tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % COLUMNS)
            rows = [np.hstack(tiles[k : k + COLUMNS]) for k in range(0, len(tiles), COLUMNS)]
            cv2.imwrite(str(args.bundle.parent / "panda.jpg"), np.vstack(rows))
    content = {
        "bundle": bundle.digest,
        **provenance(*TOOLS),
        "photos": results,
    }
    (args.bundle.parent / "panda.json").write_text(json.dumps(content, indent=1) + "\n")
    print("| | " + " | ".join(results) + " |", "|---" * (len(results) + 1) + "|", sep="\n")
    for figure in results[usual]:
        values = " | ".join(f"{column[figure]:.4g}" for column in results.values())
        print(f"| {figure} | {values} |")


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", type=Path, help="OUTPUT/bundle of `compress run panda.yaml`")
    parser.add_argument("--photos", type=Path, default=PHOTOS, help=f"folder with {FOLDER_FILE}")
    parser.set_defaults(run=judge)
    return run_command(parser)


if __name__ == "__main__":
    sys.exit(main())
