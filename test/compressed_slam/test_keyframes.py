from __future__ import annotations

import numpy as np
import torch

from compressed_slam import se3
from compressed_slam.frame import Frame
from compressed_slam.keyframes import Keyframes
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


def same(first: torch.Tensor, second: torch.Tensor) -> bool:
    return bool(torch.linalg.norm(se3.log(se3.compose(first, se3.inverse(second)))) < 1e-4)


def test_a_retired_keyframe_moves_with_the_one_that_it_hangs_on() -> None:
    keyframes = filled(5)
    before = keyframes.all_poses()
    keyframes.retire(1)
    keyframes.retire(1)
    assert keyframes.ids == [10, 13, 14]
    assert keyframes.stamps == [0, 3, 4]
    assert keyframes.disps[: len(keyframes), 0, 0].tolist() == [1.0, 4.0, 5.0]
    assert keyframes.colours[: len(keyframes), 0, 0, 0].tolist() == [0, 3, 4]
    for identity, pose in keyframes.all_poses().items():
        assert same(pose, before[identity])
    # The world turns under all who are in memory; those who are not follow.
    turn = se3.exp(torch.tensor([0.3, -0.2, 0.1, 0.2, 0.4, -0.3]))
    keyframes.poses[:] = se3.compose(keyframes.poses, turn)
    for identity, pose in keyframes.all_poses().items():
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
    log.add(7, keyframes, pose)
    turn = se3.exp(torch.tensor([0.3, -0.2, 0.1, 0.2, 0.4, -0.3]))
    keyframes.poses[:] = se3.compose(keyframes.poses, turn)
    stamps, poses = log.poses(keyframes)
    assert stamps.tolist() == [7]
    moved = torch.from_numpy(poses[0]).float()
    assert same(se3.inverse(moved), se3.compose(pose, turn))
