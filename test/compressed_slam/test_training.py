"""How the networks learn: pairs with their flow, the network in training, the whole command."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import torch
import yaml

pytest.importorskip("numba", reason="numba comes with the extra [compress]")

from compressed_slam.droid_operator import DroidOperator
from compressed_slam.frame import Frame
from compressed_slam.projection import induced_flow, pixel_grid
from compressed_slam.se3 import inverse
from compressed_slam.skill import SlamSkill
from compressed_slam.training.clips import Clip, Window
from compressed_slam.training.data import SlamData, training_batches
from compressed_slam.training.frame_pairs import FramePairs
from compressed_slam.training.layers import layered_pair
from compressed_slam.training.pair_loss import laplace_scale, sequence_loss
from compressed_slam.training.pair_network import Match
from compressed_slam.training.pairs import batch_of
from edge_compression.commands import main
from edge_compression.recipe import TrainSettings
from edge_compression.training import train
from edge_runtime.trajectory import Trajectory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENCODER = {"stages": [4, 6, 8], "inner": [[4, 4], [6, 6], [8, 8]]}
TINY: dict[str, Any] = {
    "iterations": 2,
    "widths": {
        "fnet": ENCODER,
        "cnet": ENCODER,
        "features": 8,
        "hidden": 8,
        "context": 8,
        "corr_encoder": [8, 8],
        "flow_encoder": [8, 8],
        "delta": 8,
        "weight": 8,
        "agg": [8, 8],
    },
}
WHOLE = Window.whole((320, 240))


@pytest.fixture
def data(recording: Path) -> SlamData:
    return SlamData(
        rooms=0,
        sequences=(recording,),
        validation_rooms=0,
        held_out_rooms=0,
        held_out_sequences=(recording,),
        judged_pairs=3,
        crop=(128, 128),
    )


def test_flow_of_a_room_is_that_of_its_depth_and_poses(room: Clip) -> None:
    source, target = 4, 9
    flow = room.flow(source, target, WHOLE)
    poses = Trajectory.from_matrices(np.arange(2), room.poses[[source, target]]).poses
    disps = 1 / torch.from_numpy(room.depth[source, ::8, ::8].astype(np.float64))
    expected, valid = induced_flow(
        inverse(torch.from_numpy(poses)),
        disps.expand(2, -1, -1),
        torch.from_numpy(room.intrinsics / 8),
        torch.tensor([0]),
        torch.tensor([1]),
    )
    assert valid.all()
    assert flow.known.mean() > 0.95
    difference = np.abs(flow.cells - expected[0].numpy())[flow.known]
    assert difference.max() < 1e-4
    assert np.linalg.norm(flow.cells, axis=-1)[flow.visible].mean() > 1


@pytest.mark.parametrize("mirrored", [False, True])
def test_pixels_of_a_window_are_found_in_the_picture(*, mirrored: bool) -> None:
    window = Window((40, 30), (200, 150), (160, 120), mirrored=mirrored)
    x, y = np.meshgrid(np.arange(320), np.arange(240))
    seen = window.cut(np.stack([x % 256, y, 0 * x], -1).astype(np.uint8))
    pixels = np.array([[30, 20], [100.0, 90]])
    there = window.outside(pixels)
    np.testing.assert_allclose(window.inside(there), pixels)
    values = seen[pixels[:, 1].astype(int), pixels[:, 0].astype(int), :2]
    assert np.abs(values - there).max() <= 0.5


@pytest.mark.parametrize(
    "window",
    [
        WHOLE,
        Window((40, 30), (224, 160), (224, 160), mirrored=True),
        Window((9, 5), (300, 225), (240, 180)),
    ],
)
def test_what_is_visible_looks_the_same_where_flow_points_to(room: Clip, window: Window) -> None:
    window = replace(window, size=(window.size[0] // 8 * 8, window.size[1] // 8 * 8))
    flow = room.flow(4, 9, window)
    first, second = (window.cut(room.bgr[k]).astype(np.float32) for k in (4, 9))
    samples = np.stack(
        np.meshgrid(np.arange(0, window.size[0], 8), np.arange(0, window.size[1], 8)), -1
    )

    def off(moved: np.ndarray) -> float:
        there = cv2.remap(
            cv2.blur(second, (3, 3)), moved.astype(np.float32), None, cv2.INTER_LINEAR
        )
        return float(np.median(np.abs(there - cv2.blur(first, (3, 3))[::8, ::8])[flow.visible]))

    assert flow.visible.mean() > 0.3
    assert off(samples + 8 * flow.cells) < 4
    assert off(samples) > 3 * off(samples + 8 * flow.cells)


def test_what_a_nearer_surface_hides_is_known_but_not_visible() -> None:
    # A board at 2 m before a wall at 4 m; the camera steps 16 cm to the right.
    focal, step = 200.0, 0.16
    poses = np.tile(np.eye(4), (2, 1, 1))
    poses[1, 0, 3] = step
    near, far = focal * step / 2, focal * step / 4  # pixels to the left
    depth = np.full((2, 240, 320), 4, np.float16)
    depth[0, :, 160:240] = 2
    depth[1, :, round(160 - near) : round(240 - near)] = 2
    clip = Clip(
        np.zeros((2, 240, 320, 3), np.uint8), depth, poses, np.array([focal, focal, 160, 120])
    )

    flow = clip.flow(0, 1, WHOLE)

    x = np.arange(0, 320, 8)
    board = (x >= 160) & (x < 240)
    expected = np.where(board, -near, -far)
    assert flow.known.all()
    np.testing.assert_allclose(8 * flow.cells[..., 0], np.tile(expected, (30, 1)), atol=1e-3)
    landing = x + expected
    hidden = ~board & (landing >= 160 - near) & (landing < 240 - near)
    assert hidden.any()
    assert (flow.visible == (~hidden & (landing >= 0))).all()


def test_layers_land_where_their_flow_says() -> None:
    rng = np.random.default_rng(0)
    noise = [cv2.resize(rng.integers(0, 256, (24, 32, 3), np.uint8), (400, 300)) for _ in range(4)]
    for _ in range(5):
        first, second, flow = layered_pair(rng, lambda: noise[rng.integers(4)], (224, 160), 30)
        x, y = np.meshgrid(np.arange(0, 224, 8), np.arange(0, 160, 8))
        moved = (np.stack([x, y], -1) + 8 * flow.cells).astype(np.float32)
        there = cv2.remap(second, moved, None, cv2.INTER_LINEAR).astype(float)
        off = np.abs(there - first[::8, ::8]).max(-1)
        assert flow.visible.mean() > 0.4
        assert np.percentile(off[flow.visible], 90) < 16


def test_pairs_are_as_far_apart_as_wanted(room: Clip) -> None:
    pairs = FramePairs.of([room])
    moves = []
    for pair in pairs.spread(9, 40.0):
        flow = room.flow(pair.source, pair.target, WHOLE)
        moves.append(8 * np.median(np.linalg.norm(flow.cells, axis=-1)[flow.visible]))
    wanted = np.linspace(0, 40, 9)
    assert np.abs(np.array(moves) - wanted).max() < 8
    assert np.all(np.diff(moves) > -3)


def test_the_network_in_training_is_the_one_that_tracks(room: Clip) -> None:
    torch.manual_seed(0)
    network = SlamSkill().build_network(TINY)
    pictures = [np.ascontiguousarray(room.bgr[k]) for k in (4, 6)]
    image1, image2 = (torch.from_numpy(bgr).permute(2, 0, 1)[None] for bgr in pictures)
    start, residual = torch.tensor([3.0, -2.0]), torch.tensor([-1.0, 2.0])
    with torch.no_grad():
        first, second = network.matches(
            image1, image2, start.expand(1, 30, 40, 2), lambda target: target - residual
        )

    operator = DroidOperator(network.droid)
    views = [operator.view(Frame(k, bgr)) for k, bgr in enumerate(pictures)]
    matcher = operator.matcher(lasting=True)
    matcher.add([0], views[:1], views[1:])
    grid = pixel_grid(30, 40)[None]
    once = matcher.refine(grid + start, grid + start)
    seen = grid + start + once.delta
    twice = matcher.refine(seen - residual, seen)

    flows = [start + once.delta, seen - residual - grid + twice.delta]
    for ours, flow, weight in zip((first, second), flows, (once.weight, twice.weight), strict=True):
        # A tracker's features are kept in half precision.
        torch.testing.assert_close(ours.flow, flow.permute(0, 3, 1, 2), atol=1e-3, rtol=0)
        torch.testing.assert_close(ours.weight, weight.permute(0, 3, 1, 2), atol=1e-3, rtol=0)


def test_the_best_weight_tells_the_error() -> None:
    visible = torch.ones((1, 16, 16), dtype=torch.bool)
    flow = torch.zeros((1, 2, 16, 16))
    for pixels in (0.5, 2.0, 8.0):
        logit = torch.zeros((), requires_grad=True)
        optimiser = torch.optim.Adam([logit], 0.05)
        for _ in range(300):
            match = Match(flow + pixels / 8, logit.sigmoid().expand_as(flow))
            loss = sequence_loss([match], flow, visible, visible)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        # The likeliest scale of a Laplace distribution is the mean absolute error.
        assert laplace_scale(logit.sigmoid()).item() == pytest.approx(pixels, rel=0.05)


def test_what_is_hidden_teaches_the_weight_alone() -> None:
    known = torch.ones((1, 4, 4), dtype=torch.bool)
    flow = torch.full((1, 2, 4, 4), 2.0, requires_grad=True)
    weight = torch.full((1, 2, 4, 4), 0.9, requires_grad=True)
    sequence_loss([Match(flow, weight)], torch.zeros(1, 2, 4, 4), known, ~known).backward()
    assert flow.grad is None or not flow.grad.any()
    assert (weight.grad > 0).all()  # it falls


def test_a_batch_depends_on_seed_and_number_alone(data: SlamData) -> None:
    stream = training_batches(data, 2, seed=5, start_step=0)
    batches = [next(stream) for _ in range(3)]
    again = next(training_batches(data, 2, seed=5, start_step=2))
    other = next(training_batches(data, 2, seed=6, start_step=2))
    assert all(torch.equal(again[name], tensor) for name, tensor in batches[2].items())
    assert not torch.equal(other["image1"], again["image1"])
    assert not torch.equal(batches[0]["image1"], again["image1"])


def test_it_learns_one_pair(room: Clip) -> None:
    torch.manual_seed(1)
    skill = SlamSkill()
    network = skill.build_network(TINY).train()
    rng = np.random.default_rng(0)
    batch = batch_of([layered_pair(rng, lambda: room.bgr[3], (128, 128), 10) for _ in range(2)])
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    losses = []
    for step in range(60):
        torch.manual_seed(step % 5)
        loss = skill.loss(network, batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])


class _CutOff(SlamSkill):
    """Its batches end with the second."""

    def batches(self, *arguments: object) -> Iterator[Any]:
        stream = super().batches(*arguments)
        for _ in range(2):
            yield next(stream)
        raise InterruptedError


def test_a_training_that_was_cut_off_goes_on_as_if_it_had_not_been(
    data: SlamData, tmp_path: Path
) -> None:
    settings = TrainSettings(steps=4, batch_size=1, learning_rate=1e-3, evaluate_every=3)
    weights = []
    for cut in (False, True):
        torch.manual_seed(0)
        network, state = SlamSkill().build_network(TINY), tmp_path / f"{cut}.pt"
        if cut:
            with pytest.raises(InterruptedError):
                train(_CutOff(), network, data, settings, state, save_every=0)
            torch.manual_seed(0)
            network = SlamSkill().build_network(TINY)
        train(SlamSkill(), network, data, settings, state, save_every=0)
        weights.append(network.state_dict())
    assert all(torch.equal(weights[0][name], value) for name, value in weights[1].items())


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "site" / "slam-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: slam\nVersion: 1.0\n")
    entry = "[compressed_grasp.skills]\nslam = compressed_slam.skill:SlamSkill\n"
    (info / "entry_points.txt").write_text(entry)
    monkeypatch.syspath_prepend(str(info.parent))
    monkeypatch.setenv("PYTHONPATH", str(info.parent), prepend=os.pathsep)


@pytest.mark.usefixtures("installed")
def test_the_command_trains_measures_and_refuses(
    data: SlamData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = {
        "skill": "slam",
        "name": "tiny",
        "network": TINY,
        "data": data.model_dump(mode="json"),
        "train": {"steps": 2, "batch_size": 1, "learning_rate": 1e-3},
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    assert main(["train", str(path), "--output", str(tmp_path / "out")]) == 0
    assert "ate" in capsys.readouterr().out
    report = json.loads((tmp_path / "out" / "training.json").read_text())
    assert {"ate", "tracked", "within_1px"} <= set(report["variant"]["accuracy"])
    assert (tmp_path / "out" / "trained.pt").is_file()

    recipe["network"] = {"widths": {"hidden": 0}}
    path.write_text(yaml.safe_dump(recipe))
    assert main(["train", str(path), "--output", str(tmp_path / "other")]) == 1
    refusal = capsys.readouterr().err.splitlines()[-1]
    assert "`network`" in refusal
    assert "hidden" in refusal
