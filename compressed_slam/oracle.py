"""An operator that knows the truth: it shows what the system does with perfect, or spoilt, matches.

It stands in the networks' place where a recording's depth and camera poses are known, so that
tracking and mapping can be judged before, and apart from, any weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from compressed_slam import se3
from compressed_slam.frame import map_intrinsics, sampled_disp
from compressed_slam.matching import Correspondences, Refinement
from compressed_slam.projection import back_project, project

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from numpy.typing import NDArray
    from torch import Tensor

    from compressed_slam.frame import Frame
    from edge_runtime.calibration import Calibration

    Truth = Callable[[int], tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]]
    """From a stamp, ns, to the pose (7,) camera-to-world and depth (H, W) in metres, NaN unseen."""

_DARK = 8  # grey levels; a picture without a brighter pixel shows nothing
_HIDDEN = 1.05  # times the depth of what stands before it
_DAMPING = 1e-4  # where nothing is known better; trained networks give about as much
_OUTLIER = 20.0  # map pixels


@dataclass(frozen=True)
class _View:
    """Attributes: `pose` (7,) world to camera; `disp` (h, w), 0 where unknown."""

    stamp: int
    pose: Tensor
    disp: Tensor
    dark: bool
    right: _View | None


class Oracle:
    """Answers for one camera, on the CPU."""

    def __init__(
        self,
        truth: Truth,
        camera: Calibration,
        *,
        baseline: Tensor | None = None,
        noise: float = 0.0,
        outliers: float = 0.0,
        seed: int = 0,
    ) -> None:
        """Answer with the truth and what is to spoil it, always the same for the same two pictures.

        Args:
            truth: looks a frame's pose and depth up.
            camera: of the rectified pictures.
            baseline: (7,) from the left camera's axes to the right one's, for stereo.
            noise: standard deviation of the matches, map pixels.
            outliers: share of matches that are off by anything up to 20 pixels.
            seed: of noise and outliers.
        """
        self._truth = truth
        self._intrinsics = map_intrinsics(camera)
        self._baseline = baseline
        self._noise = noise
        self._outliers = outliers
        self._seed = seed

    def view(self, frame: Frame) -> _View:
        """Look the truth up."""
        pose, depth = self._truth(frame.stamp)
        world_to_camera = se3.inverse(torch.as_tensor(pose, dtype=torch.float64)).float()
        disp = sampled_disp(depth)
        dark = int(frame.bgr.max()) < _DARK
        right = None
        if self._baseline is not None and frame.right is not None:
            # Nothing is hidden from the right camera: its depth is not known.
            there = se3.compose(self._baseline, world_to_camera)
            right = _View(-1 - frame.stamp, there, torch.zeros_like(disp), dark, None)
        return _View(frame.stamp, world_to_camera, disp, dark, right)

    def correspondences(self, source: _View, target: _View) -> Correspondences:
        """Tell where the source's pixels are seen in the target."""
        matcher = self.matcher(lasting=False)
        matcher.add([0], [source], [target])
        nowhere = torch.zeros(1, *source.disp.shape, 2)
        found = matcher.refine(nowhere, nowhere)
        return Correspondences(found.delta[0], found.weight[0, ..., 0] > 0)

    def matcher(self, *, lasting: bool) -> _Matcher:
        """`lasting` makes no difference."""
        del lasting
        return _Matcher(self._intrinsics, self._noise, self._outliers, self._seed)


class _Matcher:
    """Where the edges' pixels truly went, found out when the edges are added."""

    def __init__(self, intrinsics: Tensor, noise: float, outliers: float, seed: int) -> None:
        self._intrinsics = intrinsics
        self._noise = noise
        self._outliers = outliers
        self._seed = seed
        self._keys = torch.zeros(0, dtype=torch.long)
        self._seen = torch.zeros(0)
        self._weight = torch.zeros(0)

    def add(self, keys: Sequence[int], sources: Sequence[_View], targets: Sequence[_View]) -> None:
        """See `Matcher`."""
        seen, weight = self._found(sources, targets)
        if self._noise or self._outliers:
            pairs = zip(sources, targets, strict=True)
            errors = [self._error(i.stamp, j.stamp, seen.shape[1:3]) for i, j in pairs]
            seen = seen + torch.from_numpy(np.stack(errors))
        if len(self._keys):
            seen, weight = torch.cat([self._seen, seen]), torch.cat([self._weight, weight])
        self._keys = torch.cat([self._keys, torch.tensor(list(keys), dtype=torch.long)])
        self._seen, self._weight = seen, weight

    def keep(self, mask: Tensor) -> None:
        """See `Matcher`."""
        self._keys, self._seen, self._weight = (
            of[mask] for of in (self._keys, self._seen, self._weight)
        )

    def refine(self, coords: Tensor, target: Tensor) -> Refinement:
        """See `Matcher`."""
        del target
        # Where nothing is known the true coordinates mean nothing, and may not be finite.
        delta = torch.where(self._weight > 0, self._seen - coords, 0.0)
        return Refinement(delta, self._weight)

    def damping(self) -> Tensor:
        """See `Matcher`."""
        return torch.full((len(torch.unique(self._keys)), *self._seen.shape[1:3]), _DAMPING)

    def _found(self, sources: Sequence[_View], targets: Sequence[_View]) -> tuple[Tensor, Tensor]:
        """(E, h, w, 2) coordinates in the targets, and weight 1 where they show the pixels."""
        poses = torch.stack([view.pose for view in (*sources, *targets)])
        disps = torch.stack([view.disp for view in sources])
        here = torch.arange(len(sources))
        there = here + len(sources)
        coords, valid = project(poses, disps, self._intrinsics, here, there)
        height, width = disps.shape[1:]
        seen = valid & (disps > 0) & (coords >= 0).all(-1)
        seen &= (coords[..., 0] <= width - 1) & (coords[..., 1] <= height - 1)
        # What is nearer than the point, where it lands, hides it.
        relative = se3.compose(poses[there], se3.inverse(poses[here]))
        points = back_project(torch.where(disps > 0, disps, 1.0), self._intrinsics)
        depth = se3.act(relative[:, None, None], points)[..., 2]
        nearest = torch.where(seen[..., None], coords, 0.0).round().long()
        front = torch.stack([view.disp for view in targets])
        seen &= front[here[:, None, None], nearest[..., 1], nearest[..., 0]] * depth <= _HIDDEN
        lit = torch.tensor([not (s.dark or t.dark) for s, t in zip(sources, targets, strict=True)])
        weight = (seen & lit[:, None, None]).float()
        return coords, weight[..., None].expand_as(coords).contiguous()

    def _error(self, source: int, target: int, size: tuple[int, ...]) -> NDArray[np.float32]:
        """(h, w, 2) of the matches from the picture of one stamp to that of another."""
        random = np.random.default_rng([self._seed, *np.array([source, target]).view(np.uint64)])
        error = self._noise * random.standard_normal((*size, 2), np.float32)
        wild = random.random((*size, 1)) < self._outliers
        return np.where(wild, random.uniform(-_OUTLIER, _OUTLIER, (*size, 2)), error).astype("f4")
