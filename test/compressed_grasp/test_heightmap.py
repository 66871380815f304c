"""Height maps: equal to those that VPG made of real scenes, and true to made ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from compressed_grasp.heightmap import height_map
from compressed_grasp.workspace import Workspace
from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

REALSENSE = np.array([[920.723, 0, 653.2795], [0, 920.02124, 362.55386], [0, 0, 1]])
X, Y = (-0.710, -0.360), (-0.115, 0.235)
STORED = {
    "be168ab": Workspace(X, Y, (-0.420, -0.310), 0.0011),
    "6c29a0b": Workspace(X, Y, (-0.400, -0.310), 0.001),
}


def realsense_depth(folder: Path) -> NDArray[np.float32]:
    """Metres, as the camera gave them: the file has them rounded after they were scaled."""
    scale = float(np.loadtxt(folder / "camera_depth_scale.txt"))
    stored = cv2.imread(str(folder / "depth.png"), cv2.IMREAD_UNCHANGED)
    counts = np.floor((stored + 0.5) / scale)
    return (np.where(stored, counts, 0) * scale * 1e-4).astype(np.float32)


@pytest.mark.parametrize("name", STORED)
def test_maps_of_real_scenes_equal_the_stored_ones(shared_data: Path, name: str) -> None:
    folder = shared_data / "grasp" / "real_heightmaps" / name
    stored = cv2.imread(str(folder / "depth_heightmap.png"), cv2.IMREAD_UNCHANGED).astype(int)
    stored_color = cv2.imread(str(folder / "color_heightmap.png"))

    made = height_map(
        cv2.imread(str(folder / "color.png")),
        realsense_depth(folder),
        REALSENSE,
        np.loadtxt(folder / "camera_pose.txt"),
        STORED[name],
    )

    assert made.height.dtype == np.float32
    assert made.height.shape == stored.shape
    quanta = np.nan_to_num(np.round(made.height.astype(float) * 1e5)).astype(int)
    both = (quanta > 0) & (stored > 0)
    difference = np.abs(quanta - stored)[both]
    assert both.sum() > 3000
    assert np.median(difference) == 0
    assert (difference <= 1).mean() >= 0.99
    assert ((quanta > 0) != (stored > 0)).mean() < 1e-3
    assert (made.color == stored_color).all(axis=-1)[both].mean() >= 0.99


def top_down(depth: float, size: int = 112) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Depth image [m] of a table `depth` below a camera that looks straight down, and its pose."""
    pose = np.diag([1.0, -1.0, -1.0, 1.0])
    pose[:3, 3] = (0, 0, depth)
    return np.full((size, size), depth, np.float32), pose


def test_the_highest_point_of_a_cell_wins_whatever_the_order_of_pixels() -> None:
    rng = np.random.default_rng(0)
    workspace = Workspace.square(8)
    depth, pose = top_down(1.0)
    depth -= rng.uniform(0, 0.2, depth.shape).astype(np.float32)
    matrix = np.array([[300.0, 0, 55.5], [0, 300, 55.5], [0, 0, 1]])
    color = rng.integers(0, 256, (*depth.shape, 3), np.uint8)

    made = height_map(color, depth, matrix, pose, workspace)

    v, u = np.mgrid[:112, :112]
    x = (u - 55.5) / 300 * depth
    y = -(v - 55.5) / 300 * depth
    for row, column in np.ndindex(8, 8):
        left, below = workspace.x[0] + column * 0.056, workspace.y[0] + row * 0.056
        inside = (x >= left) & (x < left + 0.056) & (y >= below) & (y < below + 0.056)
        if not inside.any():
            assert np.isnan(made.height[row, column])
            continue
        best = np.argmin(np.where(inside, depth, np.inf))
        assert made.height[row, column] == pytest.approx(1 - depth.flat[best], abs=1e-6)
        assert (made.color[row, column] == color.reshape(-1, 3)[best]).all()
    assert made.coverage > 0.2


@pytest.mark.parametrize("missing", [0.0, -1.0, np.nan, np.inf])
def test_what_the_camera_missed_is_nan_and_not_covered(missing: float) -> None:
    workspace = Workspace.square(56)
    depth, pose = top_down(0.3)
    matrix = np.array([[60.0, 0, 55.5], [0, 60, 55.5], [0, 0, 1]])
    color = np.full((112, 112, 3), 9, np.uint8)
    whole = height_map(color, depth, matrix, pose, workspace)
    assert whole.coverage == 1.0
    assert whole.height == pytest.approx(0, abs=1e-6)

    depth[:, :56] = missing
    half = height_map(color, depth, matrix, pose, workspace)

    assert np.isnan(half.height[:, :28]).all()
    assert not half.color[:, :28].any()
    assert half.coverage == pytest.approx(0.5)
    depth[:] = missing
    assert height_map(color, depth, matrix, pose, workspace).coverage == 0


def test_only_the_box_of_the_workspace_is_looked_at() -> None:
    depth, pose = top_down(0.5)
    depth[:56] = 0.05  # higher than the workspace
    depth[80:, :56] = 0.6  # below the table
    matrix = np.array([[60.0, 0, 55.5], [0, 60, 55.5], [0, 0, 1]])
    made = height_map(np.ones((112, 112, 3), np.uint8), depth, matrix, pose, Workspace.square(32))
    assert np.isnan(made.height[17:]).all()  # the image's upper half, y > 0
    assert (made.height[:15][~np.isnan(made.height[:15])] == 0).all()


def test_impossible_input_is_refused() -> None:
    depth, pose = top_down(0.5)
    color = np.zeros((112, 112, 3), np.uint8)
    workspace = Workspace.square(32)
    for wrong in (np.diag([1.0, 1, -1, 1]), 2 * pose, np.full((4, 4), np.nan), np.eye(3)):
        with pytest.raises(SettingError, match="not rigid"):
            height_map(color, depth, REALSENSE, wrong, workspace)
    with pytest.raises(SettingError, match="do not belong together"):
        height_map(color[:50], depth, REALSENSE, pose, workspace)
    with pytest.raises(SettingError, match="empty"):
        Workspace((1, 0), (0, 1), (0, 1), 0.1)
    with pytest.raises(SettingError, match="finite"):
        Workspace.square(32, table=np.nan)
    with pytest.raises(SettingError, match="cells"):
        Workspace((0, 1), (0, 1), (0, 1), 1e-6)


def test_cells_and_positions_belong_together() -> None:
    workspace = Workspace.square(112, centre=(-0.5, 0.1))
    assert workspace.shape == (112, 112)
    for cell in ((0, 0), (3, 70), (111, 111)):
        position = workspace.position(*cell)
        assert workspace.cell(position) == cell
        assert workspace.contains(position)
    assert not workspace.contains(np.array([-0.5, 0.33]))
