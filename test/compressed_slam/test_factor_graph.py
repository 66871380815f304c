from __future__ import annotations

import pytest
import torch

pytest.importorskip("numba", reason="numba comes with the extra [slam]")

from recordings import CAMERA, Shot, walk

from compressed_slam import se3
from compressed_slam.factor_graph import FactorGraph
from compressed_slam.frame import Frame, map_intrinsics
from compressed_slam.keyframes import Keyframes
from compressed_slam.oracle import Oracle
from compressed_slam.proximity import neighbours

COUNT = 7


def taken() -> list[Shot]:
    """Every fifth picture of a walk."""
    return walk("wander", 1, 4.0, 12.0)[: 5 * COUNT : 5]


@pytest.fixture
def oracle() -> Oracle:
    known = {shot.stamp: (shot.pose, shot.depth) for shot in taken()}
    return Oracle(known.__getitem__, CAMERA)


@pytest.fixture
def keyframes(oracle: Oracle) -> Keyframes:
    """Where they were taken."""
    kept = Keyframes(COUNT, (CAMERA.height // 8, CAMERA.width // 8))
    for shot in taken():
        frame = Frame(shot.stamp, shot.bgr, shot.depth)
        pose = se3.inverse(torch.tensor(shot.pose)).float()
        kept.append(frame, oracle.view(frame), pose, 1.0)
    return kept


@pytest.fixture
def graph(keyframes: Keyframes, oracle: Oracle) -> FactorGraph:
    matcher, intrinsics = oracle.matcher(lasting=True), map_intrinsics(CAMERA)
    graph = FactorGraph(keyframes, matcher, intrinsics, None, depth_weight=0.05, lm=1e-4, ep=1e-2)
    graph.add(neighbours(0, COUNT, 2))
    return graph


def disturb(keyframes: Keyframes) -> torch.Tensor:
    """Move all but the first; return where they were."""
    count = len(keyframes)
    truth = keyframes.poses[:count].clone()
    push = 0.03 * torch.randn((count, 6), generator=torch.Generator().manual_seed(0))
    push[0] = 0
    keyframes.poses[:count] = se3.retract(truth, push)
    return truth


def distance(poses: torch.Tensor, truth: torch.Tensor) -> float:
    return se3.log(se3.compose(poses, se3.inverse(truth))).norm(dim=1).max().item()


def restored(graph: FactorGraph, keyframes: Keyframes) -> bool:
    truth = disturb(keyframes)
    free = torch.arange(len(truth)) > 0
    for _ in range(6):
        assert graph.refine(free)
    return distance(keyframes.poses[: len(truth)], truth) < 1e-3


def test_what_was_seen_puts_disturbed_keyframes_where_they_were(
    graph: FactorGraph, keyframes: Keyframes
) -> None:
    assert restored(graph, keyframes)
    assert (graph.ages == 6).all()


def test_settled_edges_still_count(graph: FactorGraph, keyframes: Keyframes) -> None:
    graph.refine(torch.arange(COUNT) > 0)
    # Only a chain from the first to the second, and so on, is matched on; the rest settles.
    graph.deactivate((graph.jj != graph.ii + 1) | (graph.ii > 2), oldest=0)
    assert len(graph) == 3
    assert restored(graph, keyframes)


def test_edges_follow_when_a_keyframe_is_removed(graph: FactorGraph, keyframes: Keyframes) -> None:
    graph.refine(torch.arange(COUNT) > 0)
    graph.deactivate(graph.ii % 2 == 0, oldest=0)
    graph.remove(3)
    keyframes.retire(3)
    assert len(keyframes) == COUNT - 1
    assert max(max(pair) for pair in graph.pairs()) == COUNT - 2
    assert restored(graph, keyframes)


def test_an_empty_graph_changes_nothing(keyframes: Keyframes, graph: FactorGraph) -> None:
    graph.deactivate(graph.ages >= 0, oldest=COUNT)
    before = keyframes.poses.clone()
    assert graph.refine(torch.arange(COUNT) > 0)
    assert torch.equal(keyframes.poses, before)


def test_an_edge_changes_while_its_match_or_the_geometry_moves(
    graph: FactorGraph, keyframes: Keyframes
) -> None:
    free, settled = torch.arange(COUNT) > 0, 0.02
    assert graph.changes.isinf().all()
    assert restored(graph, keyframes)
    assert (graph.changes < settled).all()
    disturb(keyframes)  # the matches say the same as before
    graph.refine(free)
    assert (graph.changes > settled).all()
    graph.add([(0, COUNT - 1)])
    assert graph.changes[-1].isinf()
    for _ in range(6):
        graph.refine(free)
    assert (graph.changes < settled).all()
    graph.deactivate(graph.changes < settled, oldest=0)
    # Where nothing is matched any more, what was seen still moves the geometry.
    assert not len(graph)
    assert restored(graph, keyframes)
