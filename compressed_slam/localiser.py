"""The pose of one picture among keyframes whose poses and depths are known."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from compressed_slam import se3
from compressed_slam.location import Landmarks, Located
from compressed_slam.matching import SURE
from compressed_slam.projection import pixel_grid
from compressed_slam.wide_baseline import fit_pose, world_points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from compressed_slam.matching import Operator, View
    from compressed_slam.snapshot import Snapshot

_STEPS = 2
# Map pixels of mean correction under which another step would say the same: of the matches, and of
# what the camera's translation alone would move. Before a flat wall this and the rotation cancel
# out: there, one step's matches may be right to .1 pixels, and its pose wrong by centimetres.
_SETTLED = 0.25


@dataclass(frozen=True)
class Motion:
    """How far a picture is from a keyframe.

    Attributes:
        flow: mean length of the matches' flow, map pixels; unsure matches count less.
        confidence: mean weight of the matches, 0..1.
    """

    flow: float
    confidence: float

    @classmethod
    def of(cls, flow: Tensor, weight: Tensor) -> Motion:
        """Of the flow (..., h, w, 2) of edges and its weight, of the same shape."""
        sure = weight.mean(-1)
        length = (flow.norm(dim=-1) * sure).sum() / sure.sum().clamp(min=1e-6)
        return cls(length.item(), sure.mean().item())


@dataclass(frozen=True)
class Localisation:
    """Where a picture was taken from, and by what.

    Attributes:
        located: its pose, world to camera, and how sure that is.
        confidence: mean weight of the matches with the keyframe that matches best, 0..1; of those
            that were found anywhere, the share that agrees.
        motion: from the latest of the keyframes.
        anywhere: whether features were matched anywhere, as the networks were unsure.
    """

    located: Located
    confidence: float
    motion: Motion
    anywhere: bool = False

    def is_good(self, least_confidence: float) -> bool:
        """Whether it may be believed."""
        return self.located.solved and self.confidence > least_confidence


class Localiser:
    """Matches pictures with keyframes, and moves nothing but the picture's pose."""

    def __init__(self, operator: Operator, intrinsics: Tensor) -> None:
        """`intrinsics` (4,) are those of the maps."""
        self._operator = operator
        self._intrinsics = intrinsics
        self._edge_s = 0.0  # that a step took last, for each keyframe

    def motion(self, source: View, target: View, size: tuple[int, int]) -> Motion:
        """Return how far a picture is from another; `size` is that of the maps, (h, w)."""
        matcher = self._operator.matcher(lasting=False)
        matcher.add([0], [source], [target])
        grid = pixel_grid(*size, device=self._intrinsics.device)[None]
        found = matcher.refine(grid, grid)
        return Motion.of(found.delta[0], found.weight[0])

    def locate(
        self,
        view: View,
        guess: Tensor,
        known: Snapshot,
        rows: Sequence[int],
        *,
        steps: int = _STEPS,
        deadline: float = math.inf,
    ) -> Localisation:
        """Find a picture's pose from the keyframes `rows`, the latest of them last.

        Args:
            view: of the picture.
            guess: (7,) its pose, world to camera.
            known: the keyframes that it is matched with.
            rows: of theirs.
            steps: of matching at most; each moves the picture to where the matches want it. Where
                they and the pose already agree with the guess, as in steady motion, one is enough.
            deadline: `time.monotonic()` after which no step but the first is to end; where that one
                would, the latest keyframe alone is matched.
        """
        began = time.monotonic()
        if began + self._edge_s * len(rows) > deadline:
            rows = rows[-1:]
        landmarks = Landmarks(known.poses[list(rows)], known.disps[list(rows)], self._intrinsics)
        matcher = self._operator.matcher(lasting=False)
        matcher.add(rows, [known.views[row] for row in rows], [view] * len(rows))
        pose, target = guess, landmarks.seen_from(guess)
        for step in range(1, steps + 1):
            coords = landmarks.seen_from(pose)
            found = matcher.refine(coords, target)
            target = coords + found.delta
            located = landmarks.locate(pose, target, found.weight)
            moved = se3.compose(located.pose, se3.inverse(pose))
            pose = located.pose
            correction = max(
                Motion.of(found.delta, found.weight).flow, landmarks.parallax(moved[:3])
            )
            now = time.monotonic()
            took = (now - began) / step
            self._edge_s = took / len(rows)
            if now + took > deadline or correction < _SETTLED:
                break
        grid = pixel_grid(*target.shape[1:3], device=guess.device)
        return Localisation(
            located,
            confidence=found.weight.mean(dim=(1, 2, 3)).max().item(),
            motion=Motion.of(target[-1] - grid, found.weight[-1]),
        )

    def follow(
        self, view: View, guess: Tensor, known: Snapshot, rows: Sequence[int], *, deadline: float
    ) -> Localisation:
        """Locate a picture around the guess, or, where that is unsure, anywhere; see `locate`."""
        near = self.locate(view, guess, known, rows, deadline=deadline)
        if near.is_good(SURE):
            return near
        return self.locate_anywhere(view, known, rows) or near

    def locate_anywhere(
        self, view: View, known: Snapshot, rows: Sequence[int]
    ) -> Localisation | None:
        """Find a picture's pose from the keyframes `rows`, the latest of them last, by no guess.

        Its confidence is the share of the pixels that look alike whose match agrees with the pose.

        Returns:
            None where too few agree.
        """
        poses, disps = known.poses[list(rows)], known.disps[list(rows)]
        found = [self._operator.correspondences(known.views[row], view) for row in rows]
        target = torch.stack([each.target for each in found])
        paired = torch.stack([each.mutual for each in found]) & (disps > 0)
        points = world_points(poses, disps, self._intrinsics)
        landmarks = Landmarks(poses, disps, self._intrinsics)
        fitted = fit_pose(landmarks, points, target, paired, self._intrinsics)
        if fitted is None:
            return None
        located, agrees = fitted
        weight = agrees[..., None].expand_as(target).float()
        grid = pixel_grid(*target.shape[1:3], device=target.device)
        share = agrees.flatten(1).sum(1) / paired.flatten(1).sum(1).clamp(min=1)
        return Localisation(
            located,
            confidence=share.max().item(),
            motion=Motion.of(target[-1] - grid, weight[-1]),
            anywhere=True,
        )
