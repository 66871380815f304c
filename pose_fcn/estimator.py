"""Image array in, keypoints out: the pose skill of a robot without ROS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_runtime.bundle import TensorSpec
from edge_runtime.errors import BundleError, first_problem
from edge_runtime.latency import Stopwatch
from edge_runtime.pixel_input import PixelInput
from pose_fcn.expansion_clustering import expansion_clustering

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_runtime.bundle import Bundle

    Run = Callable[[dict[str, NDArray[Any]]], dict[str, NDArray[Any]]]

IMAGE = TensorSpec(
    name="image",
    shape=("batch", 3, "height", "width"),
    dtype="float32",
    layout="NCHW",
    colour_order="RGB",
    scale=1 / 255,
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
)
"""The input of the networks that are trained here."""

STRIDE = 32
LONGEST_SIDE = 2048
"""Pixels of the network's input: more takes gigabytes of memory and seconds for each image."""


class PoseSettings(BaseModel):
    """What a pose bundle's manifest says beyond its tensors.

    `long_side`: pixels of the longer side of the network's input. `arm_threshold`: least mean
    score of all keypoints; below it there is no arm, and none of them is found. `links` and
    `reference_link`: pairs of keypoint indices.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    long_side: int = Field(gt=0, le=LONGEST_SIDE, multiple_of=STRIDE)
    seed_threshold: float = Field(gt=0, lt=1)
    grow_share: float = Field(gt=0, le=1)
    arm_threshold: float = Field(default=0.0, ge=0, lt=1)
    links: tuple[tuple[int, int], ...]
    reference_link: tuple[int, int]


class Keypoints(NamedTuple):
    """Keypoints of one picture, in the order of the bundle's names.

    Attributes:
        positions: (8, 2) float32 u v in pixels of the given picture, centres of pixels at
            integers; NaN where not found.
        scores: (8,) float32 in 0..1.
        found: (8,) bool.
        maps: (9, h, w) float32, the network's output; the last one is the skeleton.
    """

    positions: NDArray[np.float32]
    scores: NDArray[np.float32]
    found: NDArray[np.bool_]
    maps: NDArray[np.float32]


class PoseEstimator:
    """Finds an arm's keypoints in pictures of any size."""

    def __init__(
        self,
        run: Run,
        settings: PoseSettings,
        names: Sequence[str],
        min_score: float = 0.0,
        image: TensorSpec = IMAGE,
    ) -> None:
        """Wrap a network.

        Args:
            run: maps {"image": a picture of (h, w)} to {"maps": (1, 9, h/2, w/2)}.
            settings: of the bundle.
            names: of the keypoints.
            min_score: keypoints that score less are not found.
            image: how the network takes a picture.
        """
        self._run = run
        self._pixels = PixelInput(image)
        self._min_score = min_score
        self._canvas = np.zeros((0, 0, 3), np.uint8)
        self.settings = settings
        self.names = tuple(names)

    @classmethod
    def from_bundle(cls, bundle: Bundle, run: Run, min_score: float = 0.0) -> PoseEstimator:
        """Serve a bundle with the engine `run` that was opened for it, and try it out.

        Raises:
            BundleError: The manifest's settings or its input are not those of a pose network, or
                its maps are not those of the keypoints.
            EngineError: The engine fails at the size that the settings say.
        """
        try:
            settings = PoseSettings.model_validate(bundle.manifest.settings)
        except ValidationError as error:
            message = f"bundle '{bundle.path}': settings.{first_problem(error)}; build it again"
            raise BundleError(message) from None
        names = bundle.manifest.names
        ends = {end for link in (*settings.links, settings.reference_link) for end in link}
        if not ends <= set(range(len(names))):
            message = (
                f"bundle '{bundle.path}': links between the keypoints {sorted(ends)}, but there "
                f"are {len(names)}, counted from 0; build it again"
            )
            raise BundleError(message)
        inputs = {spec.name: spec for spec in bundle.manifest.model.inputs}
        try:
            estimator = cls(run, settings, names, min_score, inputs.get(IMAGE.name, IMAGE))
        except BundleError as error:
            message = f"bundle '{bundle.path}': {error}"
            raise BundleError(message) from None
        estimator._try_out(bundle.path)
        return estimator

    def _try_out(self, bundle: Path) -> None:
        """Run the network once, on a black picture of a 4:3 camera in the size that it will get."""
        width = self.settings.long_side
        _, image = self._network_input(np.zeros((width * 3 // 4, width, 3), np.uint8))
        outputs = self._run({"image": image})
        height, width = self._canvas.shape[:2]
        expected = (1, len(self.names) + 1, height // 2, width // 2)
        if "maps" not in outputs or outputs["maps"].shape != expected:
            shapes = ", ".join(f"{name} {array.shape}" for name, array in outputs.items())
            message = (
                f"bundle '{bundle}': the network answers {shapes} to {image.shape}, expected is "
                f"maps {expected}, one map for each keypoint and one for the skeleton; build it "
                "again"
            )
            raise BundleError(message)

    def estimate(self, bgr: NDArray[np.uint8], stopwatch: Stopwatch | None = None) -> Keypoints:
        """Find the keypoints in a (h, w, 3) uint8 BGR picture.

        `stopwatch` gets the stages "preprocess", "engine" and "clustering".
        """
        clock = stopwatch or Stopwatch()
        with clock.stage("preprocess"):
            scale, image = self._network_input(bgr)
        with clock.stage("engine"):
            maps = self._run({"image": image})["maps"][0]
        with clock.stage("clustering"):
            clusters = expansion_clustering(
                maps[: len(self.names)],
                self.settings.seed_threshold,
                self.settings.grow_share,
            )
            # Pixel k of a map that has half the size covers the pixels 2k and 2k + 1.
            positions = ((clusters.positions + 0.5) * 2 / scale - 0.5).astype(np.float32)
            found = clusters.found & (clusters.scores >= self._min_score)
            if clusters.scores.mean() < self.settings.arm_threshold:
                found[:] = False
            positions[~found] = np.nan
        return Keypoints(positions, clusters.scores, found, maps)

    def _network_input(self, bgr: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """Scale to `long_side`, pad with black at the right and the bottom to the stride."""
        rows, columns = bgr.shape[:2]
        ratio = self.settings.long_side / max(rows, columns)
        height, width = max(1, round(rows * ratio)), max(1, round(columns * ratio))
        padded = (-(-height // STRIDE) * STRIDE, -(-width // STRIDE) * STRIDE)
        if self._canvas.shape[:2] != padded:
            self._canvas = np.zeros((*padded, 3), np.uint8)
        self._canvas[height:] = 0
        self._canvas[:, width:] = 0
        interpolation = cv2.INTER_AREA if ratio < 1 else cv2.INTER_LINEAR
        # Straight into the canvas: OpenCV fills a destination of the right size and type.
        cv2.resize(
            _halved(bgr, height, width),
            (width, height),
            dst=self._canvas[:height, :width],
            interpolation=interpolation,
        )
        scale = np.array([width / columns, height / rows], np.float32)
        return scale, self._pixels(self._canvas)


def _halved(bgr: NDArray[np.uint8], height: int, width: int) -> NDArray[Any]:
    """Halve a picture as often as its pixels split evenly among those that are wanted.

    The averages stay the same, and OpenCV halves several times as fast as it takes others.
    """
    rows, columns = bgr.shape[:2]
    while rows % (2 * height) == columns % (2 * width) == 0:
        rows, columns = rows // 2, columns // 2
        bgr = cv2.resize(bgr, (columns, rows), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    return bgr
