"""The table's camera: exact where it is perfect, and wrong in the ways that were asked for."""

from __future__ import annotations

import numpy as np
import pytest

from compressed_grasp.simulation import map_picture
from compressed_grasp.workspace import Workspace
from edge_worlds.tabletop.camera import (
    REAL,
    CameraFaults,
    Picture,
    oblique_camera,
    take_picture,
)
from edge_worlds.tabletop.scene import Scene, SceneObject
from edge_worlds.tabletop.shapes import box
from edge_worlds.tabletop.world import TabletopWorld

CAMERA = oblique_camera(320, 240)
RED = (1.0, 0.0, 0.0)


@pytest.fixture(scope="module")
def world() -> TabletopWorld:
    """A red block of 6x8x5 cm at (5, -4) cm."""
    block = SceneObject(box(0.06, 0.08, 0.05), RED, np.array([0.05, -0.04, 0.025]), np.eye(3))
    return TabletopWorld(Scene("block", (block,)))


def picture(world: TabletopWorld, seed: int = 0, **faults: float) -> Picture:
    return take_picture(world, CAMERA, CameraFaults(**faults), np.random.default_rng(seed))


def test_a_perfect_picture_makes_a_height_map_true_to_the_world(world: TabletopWorld) -> None:
    workspace = Workspace.square(56)
    made = map_picture(picture(world), workspace)
    middles = [workspace.position(k, k)[0] for k in range(56)]
    x, y = np.meshgrid(middles, middles)
    from_block = np.maximum(np.abs(x - 0.05) - 0.03, np.abs(y + 0.04) - 0.04)
    on_top = from_block < -workspace.resolution
    assert made.height[on_top] == pytest.approx(0.05, abs=3e-4)
    assert (made.color[on_top, 0] > 2 * made.color[on_top, 1]).all()
    away = (from_block > workspace.resolution) & ~np.isnan(made.height)
    assert made.height[away] == pytest.approx(0.0, abs=3e-4)
    # The camera stands at negative x: what lies behind the block is hidden.
    behind = (from_block > 0) & (x > 0.05) & (x < 0.11) & (np.abs(y + 0.04) < 0.03)
    assert np.isnan(made.height[behind]).mean() > 0.5
    assert 0.9 < made.coverage < 1


def test_pictures_have_the_faults_that_were_asked_for(world: TabletopWorld) -> None:
    perfect = picture(world).depth
    seen = ~np.isnan(perfect)
    noisy = picture(world, noise=0.003).depth - perfect
    assert np.nanstd(noisy / (perfect / 0.7) ** 2) == pytest.approx(0.003, rel=0.05)

    holes = np.isnan(picture(world, holes=0.3).depth)
    assert holes.mean() == pytest.approx(0.3, abs=0.02)

    shadows = np.isnan(picture(world, baseline=0.06).depth) & seen
    assert 20 < shadows.sum() < 2000

    flying = picture(world, flying=0.5).depth
    moved = (np.abs(flying - perfect) > 2e-3) & seen
    assert 50 < moved.sum() < 3000
    points = np.argwhere(moved)
    edges = np.abs(np.diff(perfect, axis=1, append=np.nan)) > 0.01
    edges |= np.abs(np.diff(perfect, axis=0, append=np.nan)) > 0.01
    nearest = np.abs(points[:, None] - np.argwhere(edges)[None]).max(axis=2).min(axis=1)
    assert nearest.max() <= 2


def test_the_believed_pose_is_wrong_within_its_bounds_and_the_true_one_is_not(
    world: TabletopWorld,
) -> None:
    errors = []
    for seed in range(20):
        made = picture(world, seed, rotation=np.radians(1), translation=0.005)
        assert made.true_pose == pytest.approx(np.linalg.inv(CAMERA.world_to_camera))
        error = np.linalg.inv(made.true_pose) @ made.camera_pose
        angle = np.degrees(np.arccos(np.clip((np.trace(error[:3, :3]) - 1) / 2, -1, 1)))
        errors.append((angle, np.abs(error[:3, 3]).max()))
    angles, shifts = np.array(errors).T
    assert 0.5 < angles.max() <= 1 + 1e-6
    assert 0.003 < shifts.max() <= 0.005


def test_the_same_seed_gives_the_same_picture(world: TabletopWorld) -> None:
    first, again, other = (
        take_picture(world, CAMERA, REAL, np.random.default_rng(seed)) for seed in (3, 3, 4)
    )
    assert np.array_equal(first.depth, again.depth, equal_nan=True)
    assert np.array_equal(first.color, again.color)
    assert np.array_equal(first.camera_pose, again.camera_pose)
    assert not np.array_equal(first.depth, other.depth, equal_nan=True)
