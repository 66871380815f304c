"""The published file is taken, and nothing else; a refusal is one line with what was wrong."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from compressed_slam.checkpoint import load_droid_checkpoint
from compressed_slam.network import DroidNet
from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

State = dict[str, Any]


def published(network: DroidNet) -> State:
    """A state as it is published: with a prefix, and heads of three channels."""
    state = network.state_dict()
    for head in ("delta", "weight"):
        for kind in ("weight", "bias"):
            name = f"update.{head}.2.{kind}"
            state[name] = torch.cat((state[name], torch.full_like(state[name][:1], 7.0)))
    return {f"module.{name}": value for name, value in state.items()}


@pytest.fixture(scope="module")
def network() -> DroidNet:
    return DroidNet()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "droid.pth"


def refusal(path: Path) -> str:
    with pytest.raises(SettingError) as caught:
        load_droid_checkpoint(path)
    line = str(caught.value)
    assert line.startswith(f"checkpoint '{path}'")
    assert line.endswith("give droid.pth as the authors of DROID-SLAM publish it")
    return line


def test_the_published_file_gives_the_network_with_heads_of_two_channels(
    network: DroidNet, path: Path
) -> None:
    torch.save(published(network), path)

    loaded = load_droid_checkpoint(path)

    assert not loaded.training
    state = network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in loaded.state_dict().items())


@pytest.mark.parametrize("front", ["", "_orig_mod.", "module._orig_mod."])
def test_wrappers_and_other_prefixes_are_opened_and_it_is_said(
    front: str, network: DroidNet, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = {front + k.removeprefix("module."): v for k, v in published(network).items()}
    torch.save({"state_dict": state, "step": 9}, path)

    loaded = load_droid_checkpoint(path).state_dict()

    assert all(torch.equal(value, loaded[name]) for name, value in network.state_dict().items())
    (line,) = caplog.messages
    assert "are taken from its 'state_dict', names such as" in line


def _drop(state: State) -> None:
    del state["module.cnet.conv2.bias"]


def _add(state: State) -> None:
    state["module.fnet.layer4.weight"] = torch.zeros(1)


def _reshape(state: State) -> None:
    state["module.update.gru.w.weight"] = torch.zeros(128, 128)


def _cut_a_head(state: State) -> None:
    state["module.update.delta.2.bias"] = torch.zeros(2)


def _spoil(state: State) -> None:
    state["module.fnet.conv1.weight"][3, 1, 2, 2] = float("nan")


def _say(state: State) -> None:
    state["module.fnet.conv1.bias"] = "zero"


def _round(state: State) -> None:
    state["module.fnet.conv1.bias"] = state["module.fnet.conv1.bias"].long()


def _thin(state: State) -> None:
    state["module.fnet.conv1.bias"] = state["module.fnet.conv1.bias"].to_sparse()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_drop, "missing: module.cnet.conv2.bias;"),
        (_add, "unexpected: module.fnet.layer4.weight;"),
        (
            _reshape,
            "mis-shaped: module.update.gru.w.weight (128, 128) instead of (128, 128, 1, 1);",
        ),
        (_cut_a_head, "mis-shaped: module.update.delta.2.bias (2,) instead of (3,);"),
        (_spoil, "NaN or infinite: module.fnet.conv1.weight;"),
        (_say, "mis-shaped: module.fnet.conv1.bias str instead of (32,);"),
        (_round, "mis-shaped: module.fnet.conv1.bias (32,) of whole numbers instead of (32,);"),
        (_thin, "not plain numbers: module.fnet.conv1.bias sparse;"),
    ],
)
def test_wrong_weights_are_named(
    change: Callable[[State], None], words: str, network: DroidNet, path: Path
) -> None:
    state = {name: value.clone() for name, value in published(network).items()}
    change(state)
    torch.save(state, path)

    assert words in refusal(path)


class _Code:
    """Makes a folder when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._mark),)


def test_code_in_a_file_is_not_run(path: Path) -> None:
    torch.save({"module.fnet.conv1.weight": _Code(path.parent / "ran")}, path)

    assert "could run code" in refusal(path)
    assert not (path.parent / "ran").exists()


def test_no_file_and_other_content_are_refused(path: Path) -> None:
    assert "No such file" in refusal(path)
    for content in (b"", b"PK\x03\x04", b"\x80\x02cos\nsystem\n.", bytes(range(256)) * 9):
        path.write_bytes(content)
        assert "damaged" in refusal(path)
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n")
    assert "is a git-lfs pointer" in refusal(path)
    torch.save(torch.zeros(3), path)
    assert "holds no weights by their names" in refusal(path)


def test_damage_is_refused_wherever_it_is(path: Path) -> None:
    torch.save({"module.fnet.conv1.weight": torch.rand(32, 3, 7, 7)}, path)
    whole = path.read_bytes()
    chance = np.random.default_rng(0)
    for place, bit, length in chance.integers((len(whole), 8, len(whole)), size=(60, 3)):
        broken = bytearray(whole)
        broken[place] ^= 1 << bit
        path.write_bytes(broken)
        refusal(path)
        path.write_bytes(whole[:length])
        assert "damaged" in refusal(path)


def test_one_wrong_bit_in_a_weight_is_noticed(network: DroidNet, path: Path) -> None:
    torch.save(published(network), path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

    assert "damaged" in refusal(path)
