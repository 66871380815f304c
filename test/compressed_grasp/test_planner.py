"""From images to decisions, without ROS: what moved, lenses, poses that cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from compressed_grasp.arm_mask import arm_cells
from compressed_grasp.attempts import moved
from compressed_grasp.heightmap import HeightMap
from compressed_grasp.planner import GraspPlanner, Settings, View
from compressed_grasp.rectification import Rectifier
from compressed_grasp.simulation import map_picture
from compressed_grasp.workspace import Workspace
from edge_runtime.calibration import Calibration
from edge_worlds.tabletop.camera import REAL, draw_pose_error, oblique_camera, take_picture
from edge_worlds.tabletop.scene import Scene, SceneObject
from edge_worlds.tabletop.shapes import box
from edge_worlds.tabletop.world import TabletopWorld

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

WORKSPACE = Workspace.square(112)
BLOCK = box(0.05, 0.08, 0.05)


def network(inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    return {"q": np.repeat(inputs["height"] * 10, 32, axis=1)}


def test_noise_holes_and_flying_pixels_are_no_movement_but_two_centimetres_are() -> None:
    rng = np.random.default_rng(5)
    places = [(-0.1, 0.05), (0.0, -0.06), (0.09, 0.08)]
    objects = [
        SceneObject(BLOCK, (0.5, 0.5, 0.5), np.array([*place, 0.025]), np.eye(3))
        for place in places
    ]
    world = TabletopWorld(Scene("blocks", tuple(objects)))
    pose_error = draw_pose_error(REAL, rng)
    camera = oblique_camera()

    def look() -> NDArray[np.float32]:
        return map_picture(take_picture(world, camera, REAL, rng, pose_error), WORKSPACE)

    before = look()
    for _ in range(3):
        assert not moved(before, look(), WORKSPACE)
    # The gripper's closed fingers are 20 mm wide, of which it touches the block with one side.
    world.push(np.array([-0.14, 0.05, 0.01]), 0.0, 0.025)
    assert 0.015 < world.positions[0, 0] + 0.1 < 0.03
    assert moved(before, look(), WORKSPACE)


def test_the_arm_is_kept_clear_of_between_its_keypoints() -> None:
    heights = np.zeros(WORKSPACE.shape, np.float32)
    heights[50:60, 50:60] = 0.06
    heights[90:100, 20:30] = 0.05
    seen = HeightMap(heights, np.zeros((*WORKSPACE.shape, 3), np.uint8))
    unknown = [np.nan] * 3
    arm = np.array([[-0.3, 0.0, 0.4], unknown, [0.3, 0.0, 0.2], [0.3, 0.3, np.inf]])

    planner = GraspPlanner(network, Settings(push_below=0.0))
    free = planner.decide(seen, 1.0).action
    kept_clear = planner.decide(seen, 1.0, arm=arm).action
    assert free is not None
    assert kept_clear is not None
    assert 50 <= free.cell[0] < 60
    assert 90 <= kept_clear.cell[0] < 100
    mask = arm_cells(arm, 0.08, WORKSPACE)
    rows = np.flatnonzero(mask.any(axis=1))
    assert mask[rows].all()  # from end to end
    assert (rows[0], rows[-1]) == pytest.approx((55.5 - 20, 55.5 + 20), abs=1.5)
    assert not arm_cells(np.full((8, 3), np.nan), 0.08, WORKSPACE).any()


def top_view(camera: Calibration) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    depth = np.full((camera.height, camera.width), 0.7, np.float32)
    depth[60:90, 90:120] = 0.65
    return np.repeat((depth < 0.7)[..., None] * np.uint8(200), 3, axis=2), depth


@pytest.mark.parametrize(
    ("model", "distortion"),
    [("plumb_bob", (-0.3, 0.1, 0.001, 0.002, 0.0)), ("equidistant", (-0.05, 0.01, 0.0, 0.0))],
)
def test_a_lens_bends_what_is_seen_back_to_where_it_is(
    model: str, distortion: tuple[float, ...]
) -> None:
    matrix = np.array([[200.0, 0, 159.5], [0, 200, 119.5], [0, 0, 1]])
    camera = Calibration(320, 240, matrix, np.array(distortion), model)
    straight_color, straight_depth = top_view(camera)
    # Where a pixel of the lens's image looks, in the straight one.
    pixels = np.mgrid[:240, :320][::-1].reshape(2, -1).T[:, None].astype(np.float64)
    undo = cv2.fisheye.undistortPoints if model == "equidistant" else cv2.undistortPoints
    places = undo(pixels, matrix, camera.distortion, P=matrix).astype(np.float32)
    x, y = places.reshape(240, 320, 2).transpose(2, 0, 1)
    bent = [cv2.remap(each, x, y, cv2.INTER_NEAREST) for each in (straight_color, straight_depth)]

    color, depth = Rectifier()(*bent, camera)

    inner = np.s_[40:110, 70:140]  # all about the block, off the image's middle
    assert (bent[1][inner] != straight_depth[inner]).sum() > 50
    assert (depth[inner] != straight_depth[inner]).sum() < 40
    assert ((color[..., 0] > 100) == (depth < 0.7))[inner].mean() > 0.99


def test_a_pose_that_cannot_be_gives_a_reason_and_no_action() -> None:
    matrix = np.array([[300.0, 0, 159.5], [0, 300, 119.5], [0, 0, 1]])
    camera = Calibration(320, 240, matrix, np.zeros(0), "plumb_bob")
    color, depth = top_view(camera)
    down = np.diag([1.0, -1, -1, 1])
    down[2, 3] = 0.7
    poses = {"right": down, "looks up": np.eye(4), "from below": np.eye(4), "too high": down.copy()}
    for name, z in {"looks up": 0.7, "from below": -0.7, "too high": 0.78}.items():
        poses[name][2, 3] = z
    reasons = {}
    for name, pose in poses.items():
        planner = GraspPlanner(network, Settings())
        seen = planner.look(View(color, depth, camera, pose, 1.0))
        decision = planner.decide(seen, 1.0)
        assert (decision.action is None) == bool(decision.reason)
        reasons[name] = decision.reason
    assert not reasons["right"]
    assert "too few cells seen: 0%" in reasons["looks up"]
    assert "empty" in reasons["from below"]
    assert "no table" in reasons["too high"]
