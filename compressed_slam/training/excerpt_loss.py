"""What the networks learn through the bundle adjustment: poses, depths and matches that agree.

The terms and their weights are those of DROID-SLAM (Teed & Deng 2021, section 3.4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from compressed_slam import se3
from compressed_slam.projection import project, relative_poses
from compressed_slam.training.unrolling import neighbours, unroll

if TYPE_CHECKING:
    from torch import Tensor

    from compressed_slam.training.pair_network import PairNetwork
    from compressed_slam.training.unrolling import Step

_GAMMA = 0.9  # weight of a step's loss, of that of the step after it
_POSE, _MISFIT, _FLOW = 10.0, 0.01, 0.05
_SPARSE = 4  # one pixel of so many along each axis has its flow compared


def excerpt_loss(network: PairNetwork, batch: dict[str, Tensor]) -> Tensor:
    """Return the mean loss of n excerpts; see `excerpts.batch_of_excerpts`."""
    count = len(batch["pictures"])
    rows = ({name: tensor[row] for name, tensor in batch.items()} for row in range(count))
    return torch.stack([_loss(network, **row) for row in rows]).mean()


def _loss(
    network: PairNetwork,
    *,
    pictures: Tensor,
    disps: Tensor,
    poses: Tensor,
    intrinsics: Tensor,
    free: Tensor,
) -> Tensor:
    edges = neighbours(len(poses), poses.device)
    # Nothing is known of a pose that is to be found but that it is near those before.
    start = torch.where(free[:, None], poses[~free][-1], poses)
    truth = _Truth(poses, disps, intrinsics, edges)
    total = poses.new_zeros(())
    for step in unroll(network, pictures, start, intrinsics, edges=edges, free=free):
        with torch.autocast(poses.device.type, enabled=False):
            total = _GAMMA * total + truth.loss(step)
    return total


class _Truth:
    """An excerpt's poses, depths and flow."""

    def __init__(
        self, poses: Tensor, disps: Tensor, intrinsics: Tensor, edges: tuple[Tensor, Tensor]
    ) -> None:
        """See `Excerpt`."""
        self._edges = edges
        self._back = se3.inverse(relative_poses(poses, *edges))
        # Each time others, so that in the end all pixels count.
        x, y = torch.randint(_SPARSE, (2,)).tolist()
        self._samples = slice(None), slice(y, None, _SPARSE), slice(x, None, _SPARSE)
        self._intrinsics = (intrinsics - intrinsics.new_tensor([0, 0, x, y])) / _SPARSE
        self._coords, self._known = project(poses, disps[self._samples], self._intrinsics, *edges)

    def loss(self, step: Step) -> Tensor:
        """Compare one step's poses with the truth, its matches with its poses, and its flow."""
        wrong = se3.log(se3.compose(relative_poses(step.poses, *self._edges), self._back))
        pose = wrong[:, :3].norm(dim=-1).mean() + wrong[:, 3:].norm(dim=-1).mean()
        misfit = _mean(step.misfit.abs().mean(-1), step.valid)
        coords, valid = project(
            step.poses, step.disps[self._samples], self._intrinsics, *self._edges
        )
        error = _SPARSE * (coords - self._coords).norm(dim=-1)
        flow = _mean(error, valid & self._known)
        total: Tensor = _POSE * pose + _MISFIT * misfit + _FLOW * flow
        return total


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    mean: Tensor = (values * mask).sum() / mask.sum().clamp(min=1)
    return mean
