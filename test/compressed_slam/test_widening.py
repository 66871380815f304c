"""A network with more channels that computes what the narrow one does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
import torch
import yaml
from test_training import ENCODER, TINY

from compressed_slam.skill import SlamSkill
from edge_compression.checkpoint import load_checkpoint, save_checkpoint
from edge_compression.commands import main
from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from pathlib import Path

    from compressed_slam.training.pair_network import PairNetwork

# Once and a half, twice, and as many as there were.
WIDE: dict[str, Any] = {
    "iterations": 2,
    "widths": {
        "fnet": {"stages": [6, 12, 8], "inner": [[4, 8], [9, 6], [8, 16]]},
        "cnet": {"stages": [4, 7, 16], "inner": [[5, 4], [6, 12], [16, 9]]},
        "features": 20,
        "hidden": 11,
        "context": 16,
        "corr_encoder": [12, 9],
        "flow_encoder": [16, 13],
        "delta": 16,
        "weight": 8,
        "agg": [9, 16],
    },
}


@pytest.fixture
def networks() -> tuple[PairNetwork, PairNetwork]:
    torch.manual_seed(0)
    skill = SlamSkill()
    narrow = skill.build_network(TINY)
    torch.nn.init.normal_(cast("PairNetwork", narrow).droid.update.agg.eta[0].weight)
    both = narrow, skill.widened(narrow, WIDE)
    return cast("tuple[PairNetwork, PairNetwork]", tuple(each.eval() for each in both))


def pictures() -> list[torch.Tensor]:
    patches = torch.randint(256, (2, 2, 3, 16, 20), generator=torch.Generator().manual_seed(1))
    return list(patches.repeat_interleave(8, 3).repeat_interleave(8, 4).byte())


def test_it_computes_the_same(networks: tuple[PairNetwork, PairNetwork]) -> None:
    narrow, wide = networks
    assert wide.droid.config().model_dump(mode="json") == WIDE["widths"]
    with torch.no_grad():
        for ours, theirs in zip(wide(*pictures()), narrow(*pictures()), strict=True):
            assert theirs.std() > 0
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
        updates = []
        for network in (narrow.droid, wide.droid):
            features = network.extract_features(pictures()[0])
            generator = torch.Generator().manual_seed(2)
            corr, motion = (torch.randn(2, n, 16, 20, generator=generator) for n in (196, 4))
            sources = torch.tensor([0, 0])
            updates.append(network.update(features.net, features.inp, corr, motion, sources))
        for theirs, ours in list(zip(*updates, strict=True))[1:]:
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_training_parts_the_copies(networks: tuple[PairNetwork, PairNetwork]) -> None:
    _, wide = networks
    torch.manual_seed(0)
    flow, _ = wide(*pictures())
    flow.square().sum().backward()
    first = wide.droid.cnet.conv1.weight.grad, wide.droid.update.delta[0].weight.grad
    assert first[1] is not None
    original, copy = first[1][0], first[1][8]
    assert original.any()
    assert (original - copy).norm() > 0.01 * original.norm()


def test_fewer_channels_are_refused(networks: tuple[PairNetwork, PairNetwork]) -> None:
    _, wide = networks
    with pytest.raises(SettingError, match=r"20 channels|in place of 20"):
        SlamSkill().widened(wide, {"widths": {**WIDE["widths"], "features": 19}})


def test_a_recipe_widens_its_checkpoint(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    skill = SlamSkill()
    save_checkpoint(tmp_path / "tiny.pt", skill, skill.build_network(TINY))
    recipe = {
        "skill": "slam",
        "name": "wide",
        "checkpoint": "tiny.pt",
        "network": WIDE,
        "data": {
            "rooms": 0,
            "sequences": [str(recording)],
            "held_out_rooms": 0,
            "held_out_sequences": [str(recording)],
            "judged_pairs": 2,
            "tracked_frames": 4,
            "crop": [128, 128],
        },
        "train": {"steps": 1, "batch_size": 1, "learning_rate": 1e-3},
    }
    path, output = tmp_path / "wide.yaml", ["--output", str(tmp_path / "out")]
    path.write_text(yaml.safe_dump(recipe))
    assert main(["train", str(path), *output]) == 0
    trained = load_checkpoint(tmp_path / "out" / "trained.pt", skill)
    assert skill.network_config(trained) == WIDE

    recipe["network"] = {"widths": {**TINY["widths"], "fnet": {**ENCODER, "stages": [4, 5, 8]}}}
    path.write_text(yaml.safe_dump(recipe))
    assert main(["train", str(path), *output]) == 1
    assert "5 channels in place of 6" in capsys.readouterr().err.splitlines()[-1]
