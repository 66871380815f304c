"""The node in this process: what its parameters and its cameras do to a map."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("numba", reason="numba comes with the extra [slam]")
pytest.importorskip("nav_msgs", reason="nav_msgs comes with the extra [ros]")

import rclpy
from rclpy.parameter import Parameter
from recordings import CAMERA, SIZE
from slam_client import stand_in_bundle
from slam_process import OracleSlamNode, shots, stamp_of_shot
from std_msgs.msg import Header

from compressed_slam.interface import SAVE_MAP
from compressed_slam.map_files import read_map
from compressed_slam.rig import Rig
from edge_runtime.calibration import Calibration
from edge_runtime.errors import SettingError
from edge_runtime.frame import CameraFrame
from edge_runtime.latency import Stopwatch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PIXELS = 320 * 240


@contextmanager
def started(domain_id: int, **parameters: Any) -> Iterator[OracleSlamNode]:  # noqa: ANN401
    context = rclpy.Context()
    rclpy.init(args=[], context=context, domain_id=domain_id)
    overrides = [Parameter(name, value=value) for name, value in parameters.items()]
    node = OracleSlamNode(context=context, parameter_overrides=overrides)
    try:
        node.start()
        yield node
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)


@pytest.mark.ros
def test_depth_counts_as_much_as_the_parameter_says(tmp_path: Path, domain_id: int) -> None:
    bundle = str(stand_in_bundle(tmp_path / "bundle"))
    off = {}
    for weight in (1e-4, 1.0):
        folder = tmp_path / f"map{weight}"
        given = {"bundle": bundle, "map_folder": str(folder), "depth_weight": weight}
        random = np.random.default_rng(0)
        with started(domain_id, **given) as node:
            for index in range(0, 24, 3):
                shot, header = shots()[index], Header(frame_id="camera_optical")
                header.stamp.sec, header.stamp.nanosec = divmod(stamp_of_shot(index), 10**9)
                noisy = shot.depth * random.normal(1, 0.1, shot.depth.shape).astype(np.float32)
                images = {"image": shot.bgr, "depth": noisy}
                node.process(
                    CameraFrame(header, images=images, calibration={"image": CAMERA}), Stopwatch()
                )
            node.handlers()[SAVE_MAP.name](None, SimpleNamespace())
        saved = read_map(folder)
        known = saved.measured > 0
        off[weight] = np.abs(saved.disps / np.where(known, saved.measured, 1) - 1)[known].mean()
    assert off[1e-4] > 3 * off[1.0]


@pytest.mark.parametrize(
    ("size", "seen"), [((96, 72), (320, 240)), ((64, 64), (272, 272)), (SIZE, (304, 240))]
)
def test_pictures_smaller_than_the_networks_least_are_enlarged(
    size: tuple[int, int], seen: tuple[int, int]
) -> None:
    camera = Calibration(*size, np.diag([60.0, 60.0, 1.0]), np.zeros(0), "plumb_bob")
    rig = Rig("rgbd", {"image": camera}, PIXELS)
    images = {
        "image": np.zeros((size[1], size[0], 3), np.uint8),
        "depth": np.ones((size[1], size[0]), np.float32),
    }
    frame = rig.frame(0, images)
    assert frame.depth is not None
    assert frame.bgr.shape[1::-1] == frame.depth.shape[::-1] == seen
    assert (rig.camera.width, rig.camera.height) == seen


def test_pictures_of_which_no_enlarging_helps_are_refused() -> None:
    camera = Calibration(640, 40, np.diag([60.0, 60.0, 1.0]), np.zeros(0), "plumb_bob")
    with pytest.raises(SettingError, match=r"1104x64 is not possible: .* at least 128"):
        Rig("mono", {"image": camera}, PIXELS)
