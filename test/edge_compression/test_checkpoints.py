"""Checkpoints as people have them: what can be opened is; of the rest the true cause is said."""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
import re
from typing import TYPE_CHECKING, Any

import pytest
import torch

from edge_compression.checkpoint import load_checkpoint
from edge_compression.commands import main
from edge_compression.job import compressible_skill
from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import nn

    from edge_compression.protocol import CompressibleSkill

State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def skill() -> CompressibleSkill:
    return compressible_skill("blob")


@pytest.fixture(scope="module")
def network(skill: CompressibleSkill) -> nn.Module:
    return skill.build_network({})


def _refusal(path: Path, skill: CompressibleSkill) -> str:
    with pytest.raises(SettingError, match=re.escape(f"checkpoint '{path}' ")) as caught:
        load_checkpoint(path, skill)
    assert not re.search(r"\w(Error|Exception)\b", str(caught.value))
    return str(caught.value)


def _named(state: State, front: str = "", put_in: str = "") -> State:
    return {front + name.replace(".", f".{put_in}", 1): value for name, value in state.items()}


@pytest.mark.parametrize(
    ("wrap", "said"),
    [
        (lambda state: state, None),
        (lambda state: {"skill": "blob", "network": {}, "state": state}, None),
        (lambda state: _named(state, "module."), "'module.first.weight' are read as 'first.we"),
        (
            lambda state: {"network": {}, "state": _named(state, "_orig_mod.module.")},
            "names such as '_orig_mod.module.first.weight' are read as 'first.weight'",
        ),
        (lambda state: _named(state, put_in="_orig_mod."), "'first._orig_mod.weight' are"),
        (lambda state: {"state_dict": state, "epoch": 3, "loss": torch.ones(())}, "'state_dict'"),
        (
            lambda state: {
                "model": _named(state, "module."),
                "ema": state,
                "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{}]},
            },
            "the weights are taken from its 'model', names such as 'module.first.weight' are",
        ),
        (lambda state: {"model": {"state_dict": state}}, "from its 'model.state_dict'"),
        (lambda state: {"state_dict": _named(state, "net.")}, "'net.first.weight' are read as"),
        (lambda state: {"generator": state, "epoch": 3}, "from its 'generator'"),
    ],
)
def test_weights_are_opened_and_it_is_said(
    wrap: Callable[[State], Any],
    said: str | None,
    *,
    skill: CompressibleSkill,
    network: nn.Module,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "theirs.pt"
    torch.save(wrap(network.state_dict()), path)

    loaded = load_checkpoint(path, skill)

    ours = network.state_dict()
    assert all(torch.equal(value, ours[name]) for name, value in loaded.state_dict().items())
    notes = capsys.readouterr().err
    assert notes.startswith(f"note: checkpoint '{path}': ") and said in notes if said else not notes


def test_several_sets_of_weights_are_not_guessed_from(
    skill: CompressibleSkill, network: nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / "gan.pt"
    torch.save({name: network.state_dict() for name in ("generator", "critic")}, path)
    assert "several sets of weights (generator, critic)" in _refusal(path, skill)

    itself: dict[str, Any] = {}
    itself["model"] = itself
    for nothing in ([], {}, {"epoch": 3}, itself):
        torch.save(nothing, path)
        assert "holds no weights by name" in _refusal(path, skill)


def _program(network: nn.Module) -> bytes:
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(network, torch.zeros(1, 1, 16, 16)), file)
    return file.getvalue()


def _safetensors(network: nn.Module) -> bytes:
    bias = network.state_dict()["head.bias"].numpy().tobytes()
    about = {"dtype": "F32", "shape": [1], "data_offsets": [0, len(bias)]}
    header = json.dumps({"head.bias": about}).encode()
    return len(header).to_bytes(8, "little") + header + bias


_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 553\n"
_FOREIGN: dict[str, tuple[Any, list[str]]] = {
    "lfs": (_POINTER, ["is a git-lfs pointer", "`git lfs pull`"]),
    "page": (b"\n<!DOCTYPE html>\n<html>", ["is a web page", "download the file itself"]),
    "error page": (b"404: Not Found", ["is a text that begins '404: Not Found'", "again"]),
    "torchscript": (_program, ["is a TorchScript program", "torch.jit.load(PATH).state_dict()"]),
    "safetensors": (_safetensors, ["is a safetensors file", "safetensors.torch.load_file(PATH)"]),
    "gzip": (gzip.compress(b"weights"), ["is a compressed archive", "unpack it"]),
    "noise": (bytes(range(256)), ["is damaged or no torch file"]),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("kind", _FOREIGN)
def test_what_is_no_checkpoint_is_told_by_what_it_is(
    kind: str, skill: CompressibleSkill, network: nn.Module, tmp_path: Path
) -> None:
    content, words = _FOREIGN[kind]
    path = tmp_path / "theirs.pt"
    path.write_bytes(content if isinstance(content, bytes) else content(network))

    line = _refusal(path, skill)

    for word in [*words, "or make one with `compress train`"]:
        assert word in line
    if kind == "torchscript":  # the remedy is one
        torch.save(torch.jit.load(path).state_dict(), tmp_path / "new.pt")
        load_checkpoint(tmp_path / "new.pt", skill)


def test_what_can_only_be_waited_for_is_refused(
    skill: CompressibleSkill, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    assert "is no regular file" in _refusal(tmp_path / "pipe.pt", skill)
    assert main(["inspect", str(tmp_path / "pipe.pt")]) == 1
    assert "is no regular file" in capsys.readouterr().err
    assert "Is a directory" in _refusal(tmp_path, skill)


def test_what_is_more_than_weights_is_named(
    skill: CompressibleSkill, network: nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / "theirs.pt"
    for more, name in [(argparse.Namespace(lr=1), "argparse.Namespace"), (network, "Blob")]:
        torch.save({"state_dict": network.state_dict(), "more": more}, path)
        line = _refusal(path, skill)
        assert name in line
        assert "save the state_dict alone" in line


@pytest.mark.filterwarnings("ignore:.*(quantize|prototype|nested|beta)")
@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda w: w.to_sparse(), "first.weight sparse"),
        (lambda w: w.to(torch.float8_e4m3fn), "first.weight of 8-bit floats"),
        (lambda w: w.to("meta"), "first.weight without values"),
        (lambda w: w.to(torch.complex64), "first.weight complex"),
        (lambda w: torch.quantize_per_tensor(w, 0.1, 0, torch.qint8), "first.weight quantised"),
        (lambda w: torch.nested.nested_tensor(list(w)), "first.weight nested"),
    ],
)
def test_weights_that_are_no_plain_numbers_are_named(
    change: Callable[[torch.Tensor], torch.Tensor],
    word: str,
    *,
    skill: CompressibleSkill,
    network: nn.Module,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    state = network.state_dict()
    path = tmp_path / "theirs.pt"
    torch.save({**state, "first.weight": change(state["first.weight"])}, path)

    line = _refusal(path, skill)

    assert f"not plain numbers: {word}" in line
    assert "save dense floating-point values" in line
    assert main(["inspect", str(path)]) == 0
    assert word.removeprefix("first.weight ") in capsys.readouterr().out
