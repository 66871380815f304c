from __future__ import annotations

import numpy as np
import torch

from compressed_slam import se3
from compressed_slam.backend import Correction
from compressed_slam.frame import Frame
from compressed_slam.keyframes import Keyframes
from compressed_slam.snapshot import Snapshot
from compressed_slam.trajectory_log import TrajectoryLog


class Nothing:
    right = None


def filled(count: int) -> Keyframes:
    keyframes = Keyframes(8, (2, 3), first_id=10)
    generator = torch.Generator().manual_seed(0)
    for stamp in range(count):
        pose = se3.exp(torch.randn(6, generator=generator))
        picture = np.full((16, 24, 3), stamp, np.uint8)
        keyframes.append(Frame(stamp, picture), Nothing(), pose, 1.0 + stamp)
    return keyframes


def poses_of(keyframes: Keyframes) -> dict[int, torch.Tensor]:
    return {identity: placed.pose for identity, placed in keyframes.all().items()}


def same(first: torch.Tensor, second: torch.Tensor) -> bool:
    return bool(torch.linalg.norm(se3.log(se3.compose(first, se3.inverse(second)))) < 1e-4)


def test_a_retired_keyframe_moves_with_the_one_that_it_hangs_on() -> None:
    keyframes = filled(5)
    before = poses_of(keyframes)
    keyframes.retire(1)
    keyframes.retire(1)
    assert keyframes.ids == [10, 13, 14]
    assert keyframes.stamps == [0, 3, 4]
    assert keyframes.disps[: len(keyframes), 0, 0].tolist() == [1.0, 4.0, 5.0]
    assert keyframes.colours[: len(keyframes), 0, 0, 0].tolist() == [0, 3, 4]
    for identity, pose in poses_of(keyframes).items():
        assert same(pose, before[identity])
    # The world turns under all who are in memory; those who are not follow.
    turn = se3.exp(torch.tensor([0.3, -0.2, 0.1, 0.2, 0.4, -0.3]))
    keyframes.poses[:] = se3.compose(keyframes.poses, turn)
    for identity, pose in poses_of(keyframes).items():
        assert same(pose, se3.compose(before[identity], turn))


def test_a_copy_is_not_touched_by_what_happens_to_the_original() -> None:
    keyframes = filled(4)
    twin = keyframes.copy()
    keyframes.retire(0)
    keyframes.poses[:] = 0
    keyframes.disps[:] = 0
    assert twin.ids == [10, 11, 12, 13]
    assert twin.disps[:4, 0, 0].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert (twin.poses[:4, 3:].norm(dim=1) > 0.99).all()


def test_frames_follow_their_keyframes() -> None:
    keyframes = filled(3)
    log = TrajectoryLog()
    pose = se3.exp(torch.tensor([0.1, 0.2, 0.3, 0.1, 0.0, 0.2]))
    log.add(7, Snapshot.of(keyframes, 0, 2, started=True), pose)
    turn = se3.exp(torch.tensor([0.3, -0.2, 0.1, 0.2, 0.4, -0.3]))
    keyframes.poses[:] = se3.compose(keyframes.poses, turn)
    stamps, poses = log.poses(keyframes)
    assert stamps.tolist() == [7]
    moved = torch.from_numpy(poses[0]).float()
    assert same(se3.inverse(moved), se3.compose(pose, turn))


def test_what_hangs_on_a_keyframe_takes_part_in_a_change_of_scale() -> None:
    keyframes = filled(5)
    log = TrajectoryLog()
    aside = torch.tensor([0.5, 0, 0, 0, 0, 0, 1])
    known = Snapshot.of(keyframes, 0, 4, started=True)
    log.add(7, known, se3.compose(aside, keyframes.poses[4]))
    keyframes.retire(1)
    keyframes.retire(1)
    was = se3.compose(poses_of(keyframes)[11], se3.inverse(poses_of(keyframes)[13]))
    # The backend finds the surroundings of all but the latest keyframe to be twice as large.
    poses, disps = keyframes.poses[:3].clone(), keyframes.disps[:3].clone()
    disps[:2] /= 2
    Correction(keyframes, list(keyframes.ids), poses, disps, metric=False).apply()
    now = se3.compose(poses_of(keyframes)[11], se3.inverse(poses_of(keyframes)[13]))
    assert torch.allclose(now[:3], 2 * was[:3], atol=1e-4)
    _, frames = log.poses(keyframes)
    moved = se3.compose(se3.inverse(torch.from_numpy(frames[0]).float()), se3.inverse(poses[2]))
    assert torch.allclose(moved[:3], aside[:3], atol=1e-4)


def test_keyframes_that_came_later_move_with_the_latest_that_was_corrected() -> None:
    keyframes = filled(5)
    before = poses_of(keyframes)
    turn = se3.exp(torch.tensor([0.3, -0.2, 0.1, 0.2, 0.4, -0.3]))
    corrected = se3.compose(keyframes.poses[:3], turn)
    run = Correction(keyframes, [10, 11, 12], corrected, keyframes.disps[:3], metric=True)
    # Tracking went on: the latest of the run is no longer where the run found it.
    keyframes.poses[2] = se3.retract(keyframes.poses[2], torch.full((6,), 0.05))
    step = se3.compose(keyframes.poses[3], se3.inverse(keyframes.poses[2]))
    motion = run.apply()
    assert same(se3.compose(keyframes.poses[3], se3.inverse(keyframes.poses[2])), step)
    assert same(keyframes.poses[4], se3.compose(before[14], motion))
    assert same(keyframes.poses[0], se3.compose(before[10], turn))
