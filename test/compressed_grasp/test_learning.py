"""Trials on disk, what is learnt from them, and that a training goes on where it was cut off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from compressed_grasp.learning.data import GraspData, accuracy  # noqa: E402
from compressed_grasp.learning.samples import draw_batch, samples  # noqa: E402
from compressed_grasp.learning.settings import GraspTraining  # noqa: E402
from compressed_grasp.learning.store import TrialStore, make_missing  # noqa: E402
from compressed_grasp.learning.trainer import Trainer  # noqa: E402
from compressed_grasp.learning.trials import Trials, to_metres  # noqa: E402
from compressed_grasp.network import GraspNet  # noqa: E402
from edge_compression.checkpoint import save_checkpoint  # noqa: E402
from edge_compression.measure import macs, parameters  # noqa: E402
from edge_runtime.errors import SettingError  # noqa: E402
from edge_runtime.skills import load_skill  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

SIDE = 112


def blocks_that_lift_when_high(seed: int, states: int = 40) -> Trials:
    """Blocks of some height, tried at 24 cells each: grasps of the higher half succeed."""
    rng = np.random.default_rng(seed)
    heights = np.zeros((states, SIDE, SIDE), np.uint8)
    grasps = []
    for state in range(states):
        for _ in range(4):
            row, column, top = *rng.integers(12, SIDE - 12, 2), rng.integers(20, 100)
            heights[state, row - 6 : row + 6, column - 6 : column + 6] = top
            for _ in range(6):
                cell = np.add((row, column), rng.integers(-4, 5, 2))
                high = heights[state][tuple(cell)] > 60
                grasps.append((state, *cell, rng.integers(16), high))
    pushes = np.array([[0, 50, 50, 3, -1], [1, 50, 50, 3, 0]], np.int32)
    return Trials(heights, np.array(grasps, np.int32), pushes, heights[:1])


def test_trials_are_made_again_where_a_shard_was_cut_off(tmp_path: Path) -> None:
    store = TrialStore(tmp_path, seed=3, scenes=1)
    make_missing(store, range(2), processes=1)
    whole = store.path(1).read_bytes()
    store.path(1).write_bytes(whole[:-100])
    with pytest.raises(SettingError, match="damaged"):
        store.read(range(2))
    assert store.missing(range(2)) == [1]
    make_missing(store, range(2), processes=1)
    assert store.path(1).read_bytes() == whole
    trials = store.read(range(2))
    assert 0 < trials.grasps[:, 4].sum() < len(trials.grasps)
    shown = trials.pushes[:, 4]
    assert sorted(shown[shown >= 0]) == list(range(len(trials.after)))
    # What was tried lies on what was seen.
    state, row, column = trials.grasps[:, :3].T
    assert (trials.heights[state, row, column] >= 10).all()


def test_trials_with_colours_are_the_same(tmp_path: Path) -> None:
    plain, colored = (TrialStore(tmp_path / str(c), 4, 1, colored=c) for c in (False, True))
    for store in (plain, colored):
        store.make(0)
    # Twice, as shards of either kind are put together.
    expected, trials = plain.read([0, 0]), colored.read([0, 0])
    assert expected.colors is None
    assert np.array_equal(trials.heights, expected.heights)
    assert np.array_equal(trials.grasps, expected.grasps)
    assert np.array_equal(trials.after, expected.after)
    assert trials.colors is not None
    assert trials.colors.shape == (*trials.heights.shape, 3)
    # 255: no height was seen there.
    assert ((trials.colors > 0).any(axis=3) == (trials.heights < 255)).mean() > 0.99
    assert (trials.colors.std(axis=3) > 10).any()


def test_an_action_turns_with_the_picture() -> None:
    heights = np.zeros((1, SIDE, SIDE), np.uint8)
    heights[0, 50:55, 40:45], heights[0, 50:55, 58:63] = 100, 200
    push = np.array([[0, 52, 42, 0, -1]], np.int32)  # from the one to the other, along x
    grasp = np.array([[0, 52, 60, 4, 1]], np.int32)  # jaws along y
    data = samples(Trials(heights, grasp, push, heights[:0]), np.empty(0, np.float32))
    rng = np.random.default_rng(0)
    jaws = set()
    for _ in range(40):
        batch = draw_batch(data, 1, rng)
        picture = batch.height[0, 0]
        for (_, channel, row, column), value in zip(batch.index, batch.value, strict=True):
            if channel < 16:
                assert value == 0
                assert picture[row, column] == pytest.approx(0.1)
                angle = channel * np.pi / 8
                end = np.rint((row + 18 * np.sin(angle), column + 18 * np.cos(angle))).astype(int)
                assert picture[tuple(end)] == pytest.approx(0.2)
            else:
                assert value == 1
                assert picture[row, column] == pytest.approx(0.2)
                jaws.add(int(channel))
    assert jaws == set(range(16, 24))


def test_a_push_is_worth_what_comes_after_it() -> None:
    data = samples(blocks_that_lift_when_high(0), np.array([0.4], np.float32))
    assert data.value[data.push].tolist() == pytest.approx([0, 0.4])
    assert not samples(blocks_that_lift_when_high(0)).push.any()


def test_training_learns_and_goes_on_where_it_was_cut_off(tmp_path: Path) -> None:
    rounds = [{"shards": 1, "steps": 60}, {"shards": 0, "steps": 10}]
    settings = GraspTraining.model_validate({"rounds": rounds, "batch_size": 8})

    def trainer(folder: Path) -> Trainer:
        torch.manual_seed(0)
        TrialStore(folder / "trials", settings.seed).write(0, blocks_that_lift_when_high(1))
        return Trainer(GraspNet((16, 16, 16, 16)), settings, folder, save_every=0.0)

    straight = trainer(tmp_path / "straight")
    straight.run()
    cut = trainer(tmp_path / "cut")
    update = cut._update  # noqa: SLF001

    def stop_in_the_second_round(batch: object) -> float:
        if len(cut.curve) == 65:
            raise KeyboardInterrupt
        return update(batch)  # type: ignore[arg-type]

    cut._update = stop_in_the_second_round  # type: ignore[method-assign] # noqa: SLF001
    with pytest.raises(KeyboardInterrupt):
        cut.run()
    again = trainer(tmp_path / "cut")
    again.run()
    assert len(again.curve) == 70
    assert again.curve == straight.curve
    for name, value in straight.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[name]), name

    def run(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        with torch.no_grad():
            return {"q": again.network(torch.from_numpy(inputs["height"])).numpy()}

    found = accuracy(run, blocks_that_lift_when_high(2))
    assert found["auc"] > 0.95
    assert found["best_grasp"] > 0.9


def test_the_network_is_thousands_of_times_cheaper_than_the_baseline() -> None:
    network = GraspNet().eval()
    height = torch.rand(1, 1, SIDE, SIDE)
    with torch.no_grad():
        q = network(height)
    assert q.shape == (1, 32, SIDE, SIDE)
    assert torch.equal(q[:, 16:24], q[:, 24:])  # half a turn changes the jaws over
    assert macs(network, {"height": height}) < 1.48e12 / 3000
    assert parameters(network) * 4 < 2e6


def test_tuning_learns_from_recorded_trials(tmp_path: Path) -> None:
    skill = load_skill("grasp")
    network = skill.build_network({"widths": [8, 8, 8, 8]}).eval()
    save_checkpoint(tmp_path / "teacher.pt", skill, network)
    store = TrialStore(tmp_path, seed=1)
    store.write(0, blocks_that_lift_when_high(1))
    recorded = {"folder": tmp_path, "shards": 1, "teacher": tmp_path / "teacher.pt"}
    data = GraspData.model_validate({"trials": recorded})
    stream = skill.batches(data, 40, 7, 0)
    batches = [next(stream) for _ in range(3)]
    again = next(skill.batches(data, 40, 7, 2))
    assert all(torch.equal(again[name], batches[2][name]) for name in again)
    # The one push that changed something is worth the teacher's best grasp after it, less a part.
    pushes = np.concatenate([each["value"][each["index"][:, 1] < 16] for each in batches])
    with torch.no_grad():
        highest = network(torch.from_numpy(to_metres(store.read([0]).after))[None]).max()
    assert 0 < pushes.max() <= 0.7 * highest

    batch = batches[0]
    image, channel, row, column = batch["index"].unbind(1)
    with torch.no_grad():
        loss = skill.loss(network, batch)
        q = network(batch["height"])[image, channel, row, column]
    value = batch["value"]
    expected = -(value * q.log() + (1 - value) * (1 - q).log()).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)

    digest = skill.data_digest(data)
    store.write(0, blocks_that_lift_when_high(2))
    assert skill.data_digest(data) != digest
    with pytest.raises(SettingError, match=r"data\.trials"):
        next(skill.batches(GraspData(), 4, 7, 0))
