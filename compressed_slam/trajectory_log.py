"""Which keyframe each frame was near: what is learnt of keyframes later moves frames, too."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import numpy as np
import torch

from compressed_slam import se3

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from compressed_slam.keyframes import Keyframes
    from compressed_slam.snapshot import Snapshot


class TrajectoryLog:
    """Frames of one map, 48 bytes each."""

    def __init__(self) -> None:
        """Begin with no frame."""
        self._stamps = array("q")
        self._anchors = array("q")
        self._relative = array("f")
        self._scales = array("f")

    def add(self, stamp: int, known: Snapshot, pose: Tensor) -> None:
        """Hang a frame, whose world-to-camera pose (7,) is known, on the latest keyframe."""
        self._scales.append(known.scales[-1])
        self._stamps.append(stamp)
        self._anchors.append(known.ids[-1])
        self._relative.extend(se3.compose(pose, se3.inverse(known.poses[-1])).tolist())

    def interpolate(self, first_map: Snapshot) -> None:
        """Move all frames, by their time, from their keyframe towards the next one.

        For frames that came before anything was known of the keyframes; those of keyframes that
        are not in the first map stay where their keyframe is.
        """
        latest = len(first_map) - 1
        rows = (torch.tensor(self._anchors, dtype=torch.long) - first_map.ids[0]).clamp(max=latest)
        after = (rows + 1).clamp(max=latest)
        stamps = torch.tensor(first_map.stamps)
        since = torch.tensor(self._stamps, dtype=torch.long) - stamps[rows]
        share = since / (stamps[after] - stamps[rows])
        poses = first_map.poses.cpu()
        motion = se3.log(se3.compose(poses[after], se3.inverse(poses[rows])))
        way = share.nan_to_num(0.0, 0.0, 0.0)[:, None] * motion
        self._relative = array("f", se3.exp(way).flatten().tolist())

    def poses(self, keyframes: Keyframes) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return stamps (n,) ns and camera-to-world poses (n, 7), by what is known now."""
        if not self._stamps:
            return np.zeros(0, np.int64), np.zeros((0, 7))
        known = keyframes.all()
        anchors = torch.stack([known[anchor].pose for anchor in self._anchors]).double().cpu()
        longer = torch.tensor([known[anchor].scale for anchor in self._anchors])
        relative = torch.from_numpy(np.array(self._relative).reshape(-1, 7)).double()
        relative[:, :3] *= (longer / torch.tensor(self._scales))[:, None]
        poses = se3.inverse(se3.compose(relative, anchors))
        return np.array(self._stamps, np.int64), poses.numpy()
