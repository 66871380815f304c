"""Training through the bundle adjustment: its gradients, what it learns from, what it learns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

pytest.importorskip("numba", reason="numba comes with the extra [compress]")

from test_training import TINY
from walls import all_but, disturbed, wall

from compressed_slam import bundle_adjustment
from compressed_slam.bundle_adjustment import Edges
from compressed_slam.projection import induced_flow
from compressed_slam.skill import SlamSkill
from compressed_slam.training.clips import Clip, Window
from compressed_slam.training.data import SlamData, training_batches
from compressed_slam.training.differentiable_adjustment import adjust
from compressed_slam.training.excerpts import batch_of_excerpts, cut_excerpt

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

CROP = Window((40, 30), (224, 160), (224, 160))


@pytest.mark.parametrize("free_from", [2, 4])
def test_it_takes_the_steps_of_the_adjustment_on_the_robot(free_from: int) -> None:
    scene = wall(count=4)
    free = all_but(free_from, scene)
    poses, disps = disturbed(scene, free)
    generator = torch.Generator().manual_seed(1)
    weight = torch.rand(scene.edges.weight.shape, generator=generator, dtype=torch.float64)
    edges = scene.edges._replace(weight=weight)
    expected = bundle_adjustment.adjust(
        poses, disps, scene.intrinsics, edges, scene.eta, free=free, iterations=3
    )
    found, depths = adjust(
        poses, disps, scene.intrinsics, edges, scene.eta, free=free, iterations=3
    )
    assert expected.solved
    torch.testing.assert_close(found, expected.poses, rtol=0, atol=1e-9)
    torch.testing.assert_close(depths, expected.disps, rtol=0, atol=1e-9)
    assert (depths - disps).abs().max() > 0.1


def test_its_gradients_are_those_of_finite_differences() -> None:
    scene = wall(count=3, height=3, width=4)
    free = all_but(2, scene)
    poses, disps = disturbed(scene, free)
    ii, jj, target, _ = scene.edges

    def adjusted(target: Tensor, weight: Tensor, eta: Tensor) -> tuple[Tensor, Tensor]:
        edges = Edges(ii, jj, target, weight)
        return adjust(poses, disps, scene.intrinsics, edges, eta, free=free, ep=1e-3)

    generator = torch.Generator().manual_seed(1)
    weight = 0.5 + 0.5 * torch.rand(target.shape, generator=generator, dtype=torch.float64)
    inputs = (target, weight, 1e-2 + scene.eta)
    assert torch.autograd.gradcheck(
        adjusted, [each.clone().requires_grad_() for each in inputs], atol=1e-6, fast_mode=True
    )


@pytest.mark.parametrize("window", [CROP, Window((9, 5), (280, 210), (224, 168), mirrored=True)])
def test_an_excerpts_poses_and_depths_make_the_flow_of_its_pictures(
    room: Clip, window: Window
) -> None:
    excerpt = cut_excerpt(room, [4, 9, 7], window)
    batch = batch_of_excerpts([excerpt], 2)
    assert batch["free"].tolist() == [[False, False, True]]
    flow, valid = induced_flow(
        batch["poses"][0],
        batch["disps"][0][:, ::8, ::8],
        batch["intrinsics"][0] / 8,
        torch.tensor([0, 1]),
        torch.tensor([1, 2]),
    )
    assert batch["disps"][batch["disps"] > 0].mean() == pytest.approx(1)
    for row, (source, target) in enumerate([(4, 9), (9, 7)]):
        expected = room.flow(source, target, window)
        assert valid[row][expected.known].all()
        difference = np.abs(flow[row].numpy() - expected.cells)[expected.known]
        assert difference.max() < 1e-3


def test_first_steps_tell_all_poses(recording: Path) -> None:
    data = SlamData(
        rooms=0,
        sequences=(recording,),
        crop=(128, 128),
        excerpts={"frames": 4, "structure_steps": 1},
    )
    stream = training_batches(data, 2, seed=3, start_step=0)
    first, second = next(stream), next(stream)
    assert not first["free"].any()
    assert second["free"].tolist() == 2 * [[False, False, True, True]]
    again = next(training_batches(data, 2, seed=3, start_step=1))
    assert all(torch.equal(again[name], tensor) for name, tensor in second.items())
    assert second["pictures"].shape == (2, 4, 3, 128, 128)


def test_every_part_of_the_networks_learns_an_excerpt(room: Clip) -> None:
    torch.manual_seed(0)
    skill = SlamSkill()
    network = skill.build_network(TINY).train()
    window = Window((90, 50), (128, 128), (128, 128))
    batch = batch_of_excerpts([cut_excerpt(room, [4, 5, 6], window)], 2)
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    losses = []
    for step in range(22):
        torch.manual_seed(0)
        loss = skill.loss(network, batch)
        optimiser.zero_grad()
        loss.backward()
        if step == 1:
            assert all(weight.grad.any() for weight in network.parameters())
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])
