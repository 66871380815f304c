"""The keyframes in memory: where they were taken from and how deep they are."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from compressed_slam import se3
from compressed_slam.bundle_adjustment import MOST_DEPTH_WEIGHT
from edge_runtime.trajectory import Trajectory

if TYPE_CHECKING:
    from torch import Tensor

    from compressed_slam.frame import Frame
    from compressed_slam.matching import View

_ROWS = ("poses", "disps", "measured", "colours", "damping", "scales")


@dataclass(frozen=True)
class Retired:
    """A keyframe that has given up its maps: it moves with the one that it hangs on.

    Attributes:
        stamp: of its picture, ns.
        anchor: identity of the keyframe that it hangs on, in memory or retired later.
        relative: (7,) its pose times the inverse of the anchor's.
        anchor_scale: of the anchor, when it was hung up.
        scale: its own then.
    """

    stamp: int
    anchor: int
    relative: Tensor
    anchor_scale: float
    scale: float


class Placed(NamedTuple):
    """Where a keyframe is, (7,) world to camera, and its scale as in `Keyframes`."""

    pose: Tensor
    scale: float

    def carry(self, relative: Tensor, scale: float) -> Tensor:
        """Return the pose (7,) of what was `relative` to it when its scale was `scale`."""
        longer = torch.cat([relative[:3] * (self.scale / scale), relative[3:]])
        return se3.compose(longer, self.pose)


class Keyframes:
    """At most `capacity` keyframes, in the order of time, each with an identity that stays.

    Rows of the tensors up to `len` are in use; a row is the keyframe's index for as long as none
    before it is removed.

    Attributes:
        ids: identity of each, rising.
        stamps: of their pictures, ns.
        poses: (capacity, 7) world to camera.
        disps: (capacity, h, w) inverse depth, 1/m where the scale is known.
        measured: (capacity, h, w) inverse depth of a sensor, 0 where unknown.
        colours: (capacity, h, w, 3) uint8 BGR.
        damping: (capacity, h, w) of the inverse depths, as last matched.
        scales: (capacity,) how much longer lengths around each have become by corrections of a map
            without a scale of its own; what hangs on it is as much farther away.
        views: what the operator remembers of each.
        pictures: the frame of each, without its depth.
        next_id: identity of the next one.
        depth_weight: that measured inverse depths should have, as adjustments found out.
        retired: those that are no longer in memory, by identity.
    """

    def __init__(
        self,
        capacity: int,
        size: tuple[int, int],
        *,
        first_id: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        """`size` is height and width of the maps, an eighth of the picture's."""
        self.ids: list[int] = []
        self.stamps: list[int] = []
        self.poses = se3.identity(device).repeat(capacity, 1)
        self.disps = torch.ones((capacity, *size), device=device)
        self.measured = torch.zeros((capacity, *size), device=device)
        self.damping = torch.zeros((capacity, *size), device=device)
        self.scales = torch.ones(capacity)
        self.colours = torch.zeros((capacity, *size, 3), dtype=torch.uint8)
        self.views: list[View] = []
        self.pictures: list[Frame] = []
        self.retired: dict[int, Retired] = {}
        self.next_id = first_id
        self.depth_weight = MOST_DEPTH_WEIGHT

    def __len__(self) -> int:
        """The number of keyframes in memory."""
        return len(self.ids)

    @property
    def full(self) -> bool:
        """Whether one must go before another can come."""
        return len(self) == len(self.poses)

    def append(self, frame: Frame, view: View, pose: Tensor, disp: Tensor | float) -> None:
        """Take a frame in.

        Args:
            frame: becomes a keyframe.
            view: of it.
            pose: (7,) first guess.
            disp: (h, w) or one number, first guess where the frame measured nothing.
        """
        row = len(self)
        self.poses[row] = pose
        self.measured[row] = 0.0 if frame.disp is None else frame.disp
        self.disps[row] = disp
        known = self.measured[row] > 0
        self.disps[row][known] = self.measured[row][known]
        self.colours[row] = frame.colours
        self.scales[row] = 1
        self.ids.append(self.next_id)
        self.next_id += 1
        self.stamps.append(frame.stamp)
        self.views.append(view)
        self.pictures.append(replace(frame, depth=None))

    def retire(self, row: int) -> None:
        """Let a keyframe that is not the last one go; its pose follows the next one in time."""
        relative = se3.compose(self.poses[row], se3.inverse(self.poses[row + 1]))
        scale, anchor_scale = self.scales[row : row + 2].tolist()
        self.retired[self.ids[row]] = Retired(
            self.stamps[row], self.ids[row + 1], relative, anchor_scale, scale
        )
        end = len(self)
        for rows in self._tensors:
            rows[row : end - 1] = rows[row + 1 : end].clone()
        for each in (self.ids, self.stamps, self.views, self.pictures):
            del each[row]

    def copy(self) -> Keyframes:
        """Return a copy to work on elsewhere; the views, which nobody changes, are shared."""
        twin = copy.copy(self)
        twin.ids, twin.stamps, twin.views = list(self.ids), list(self.stamps), list(self.views)
        twin.pictures = list(self.pictures)
        for name, rows in zip(_ROWS, self._tensors, strict=True):
            setattr(twin, name, rows.clone())
        return twin

    @property
    def _tensors(self) -> list[Tensor]:
        return [getattr(self, name) for name in _ROWS]

    def trajectory(self) -> Trajectory:
        """Return where the cameras of all keyframes were, also the retired ones, as now known.

        In the order of their stamps: those of a map that was loaded may be later than newer ones.
        """
        stamps = dict(zip(self.ids, self.stamps, strict=True))
        stamps |= {identity: gone.stamp for identity, gone in self.retired.items()}
        placed = self.all()
        ids = sorted(placed, key=stamps.__getitem__)
        poses = [se3.inverse(placed[identity].pose).double().cpu().numpy() for identity in ids]
        return Trajectory(
            np.array([stamps[identity] for identity in ids], np.int64),
            np.array(poses).reshape(-1, 7),
        )

    def all(self) -> dict[int, Placed]:
        """Return where every keyframe is, also the retired ones, by identity."""
        poses = self.poses[: len(self)].clone().unbind()
        scales = self.scales[: len(self)].tolist()
        placed = dict(zip(self.ids, map(Placed, poses, scales), strict=True))
        # An anchor is younger than who hangs on it.
        for identity in sorted(self.retired, reverse=True):
            gone = self.retired[identity]
            anchor = placed[gone.anchor]
            pose = anchor.carry(gone.relative, gone.anchor_scale)
            placed[identity] = Placed(pose, gone.scale * anchor.scale / gone.anchor_scale)
        return placed
