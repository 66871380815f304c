"""A labelled film of an arm that moves before a fixed camera: images and `keypoints.json`.

`python -m edge_worlds.arm.recording FOLDER` makes one; `replay convert FOLDER BAG` makes it a bag.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import joblib
import numpy as np

from edge_runtime.command import run_command
from edge_runtime.errors import SettingError
from edge_runtime.files import whole_directory
from edge_runtime.progress import progress
from edge_worlds.arm.model import DESK_ARM, Arm
from edge_worlds.arm.scene import SceneSampler, random_camera

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_worlds.camera import Camera

_FRAMES_BETWEEN_POSES = 30
_JPEG_QUALITY = 95


def joint_path(arm: Arm, frames: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Smooth joint values (frames, nq) through random poses, one every 30 frames."""
    stops = np.stack([arm.random_joints(rng) for _ in range(frames // _FRAMES_BETWEEN_POSES + 2)])
    time = np.arange(frames) / _FRAMES_BETWEEN_POSES
    leg = time.astype(int)
    ease = (1 - np.cos(np.pi * (time - leg)))[:, None] / 2
    path: NDArray[np.float64] = stops[leg] * (1 - ease) + stops[leg + 1] * ease
    return path


def film(target: Path, description: Path, frames: int, size: tuple[int, int], seed: int) -> None:
    """Write `frames` pictures as JPEG, and `keypoints.json` with K and the labels.

    Raises:
        SettingError: `target` exists, or `frames` is not above 0.
    """
    if target.exists():
        message = f"'{target}' exists already: choose another folder, or remove it"
        raise SettingError(message)
    if frames < 1:
        message = f"--frames {frames}: a film has at least 1"
        raise SettingError(message)
    arm = Arm(description)
    rng = np.random.default_rng(seed)
    path = joint_path(arm, frames, rng)
    everywhere = np.concatenate([_keypoints(arm, joints) for joints in path[::5]])
    camera = random_camera(rng, everywhere, *size, arm.description.scenes)
    parallel = joblib.Parallel(n_jobs=-1, return_as="generator")
    shots = parallel(joblib.delayed(_shoot)(description, joints, camera, seed) for joints in path)
    with whole_directory(target) as folder:
        labels = []
        for k, (picture, label) in enumerate(progress(shots, desc="filming", total=frames)):
            name = f"{k:06d}.jpg"
            quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
            cv2.imwrite(str(folder / name), picture, quality)
            labels.append({"image": name, "keypoints": label})
        content = {
            "K": camera.matrix.tolist(),
            "reference_link": list(arm.description.reference_link),
            "frames": labels,
        }
        (folder / "keypoints.json").write_text(json.dumps(content))


def _keypoints(arm: Arm, joints: NDArray[np.float64]) -> NDArray[np.float64]:
    arm.pose(joints)
    return arm.keypoints()


def _shoot(
    description: Path, joints: NDArray[np.float64], camera: Camera, seed: int
) -> tuple[NDArray[np.uint8], list[dict[str, Any]]]:
    sampler = SceneSampler(Arm(description), (camera.width, camera.height), most_occluders=0)
    # The same generator for every frame: the scenery stays, the arm moves.
    image = sampler.picture(np.random.default_rng(seed), joints, camera)
    label = [
        {"name": name, "projected_location": pixel.tolist(), "in_image": bool(inside)}
        for name, pixel, inside in zip(
            sampler.arm.description.names, image.keypoints, image.in_image, strict=True
        )
    ]
    return image.bgr, label


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m edge_worlds.arm.recording", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--arm", type=Path, default=DESK_ARM, help="YAML (default: the own arm)")
    parser.add_argument("--frames", type=int, default=90)
    parser.add_argument("--size", type=int, nargs=2, default=(640, 480), metavar=("W", "H"))
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(
        run=lambda args: film(args.folder, args.arm, args.frames, tuple(args.size), args.seed)
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    return run_command(_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
