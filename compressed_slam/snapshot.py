"""The map as tracking sees it: a copy that mapping does not write to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from compressed_slam import se3
from compressed_slam.keyframes import Placed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from compressed_slam.keyframes import Keyframes
    from compressed_slam.matching import View


@dataclass(frozen=True)
class Snapshot:
    """The keyframes in memory, in the order of time, then those that mapping has still to take in.

    Attributes:
        number: of the map; each has another one.
        started: whether its poses and depths mean anything yet.
        ids: identity of each keyframe, rising.
        stamps: of their pictures, ns.
        poses: (n, 7) world to camera.
        disps: (n, h, w) inverse depth; 0 where unknown.
        scales: of each, as in `Keyframes`.
        views: what the operator remembers of each.
        newest: identity of the last keyframe that was taken in, also if it is gone again.
        pending: how many of the last ones are still to be taken in.
    """

    number: int
    started: bool
    ids: Sequence[int]
    stamps: Sequence[int]
    poses: Tensor
    disps: Tensor
    scales: Sequence[float]
    views: Sequence[View]
    newest: int
    pending: int = 0

    @classmethod
    def of(cls, keyframes: Keyframes, number: int, newest: int, *, started: bool) -> Snapshot:
        """Copy what there is now."""
        count = len(keyframes)
        return cls(
            number,
            started,
            tuple(keyframes.ids),
            tuple(keyframes.stamps),
            keyframes.poses[:count].clone(),
            keyframes.disps[:count].clone(),
            tuple(keyframes.scales[:count].tolist()),
            tuple(keyframes.views),
            newest,
        )

    def __len__(self) -> int:
        """The number of keyframes."""
        return len(self.ids)

    def landmarks(self) -> list[int]:
        """Return the rows that a picture can be located by: those that have a depth."""
        taken_in = len(self) - self.pending
        waiting = range(taken_in, len(self))
        return [*range(taken_in), *(row for row in waiting if (self.disps[row] > 0).any())]

    def placed(self, row: int) -> Placed:
        """Return where a keyframe is."""
        return Placed(self.poses[row], self.scales[row])

    def extended(
        self, identity: int, stamp: int, pose: Tensor, disp: Tensor | None, view: View
    ) -> Snapshot:
        """Return this with one more keyframe that is still to be taken in.

        Args:
            identity: that it will have.
            stamp: of its picture, ns.
            pose: (7,) as tracked.
            disp: (h, w) as measured, 0 where unknown; None without a sensor.
            view: of it.
        """
        depth = self.disps.new_zeros(self.disps.shape[1:]) if disp is None else disp
        return replace(
            self,
            ids=(*self.ids, identity),
            stamps=(*self.stamps, stamp),
            poses=torch.cat([self.poses, pose[None]]),
            disps=torch.cat([self.disps, depth[None].to(self.disps)]),
            scales=(*self.scales, self.scales[-1] if self.scales else 1.0),
            views=(*self.views, view),
            pending=self.pending + 1,
        )

    def carry(self, pose: Tensor, before: Snapshot) -> Tensor:
        """Return where a camera is now that was at `pose` (7,) by an older state of this map.

        It moves with the latest keyframe that both have.
        """
        common = set(self.ids) & set(before.ids)
        if not common:
            return pose
        latest = max(common)
        old, new = before.ids.index(latest), self.ids.index(latest)
        relative = se3.compose(pose, se3.inverse(before.poses[old]))
        return self.placed(new).carry(relative, before.scales[old])

    def with_pending_of(self, before: Snapshot) -> Snapshot:
        """Return this with the keyframes of an older state that are still not taken in."""
        state = self
        for row in range(len(before) - before.pending, len(before)):
            if before.ids[row] > self.newest:
                pose = self.carry(before.poses[row], before)
                state = state.extended(
                    before.ids[row],
                    before.stamps[row],
                    pose,
                    before.disps[row],
                    before.views[row],
                )
        return state
