"""Engines that lose more than the recipe allows: no bundle of them, unless it is forced."""

from __future__ import annotations

import math
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from edge_compression.checkpoint import read_checkpoint, save_checkpoint
from edge_compression.commands import main
from edge_compression.job import compressible_skill
from edge_compression.results import read_report
from edge_runtime.bundle import Guard, load_bundle, write_bundle

sys.path.insert(0, str(Path(__file__).parents[1] / "edge_runtime"))
from old_bundle import CHOICE, PLAN, make_old

if TYPE_CHECKING:
    from collections.abc import Callable

    Write = Callable[..., Path]

# Nearly nothing is left, and it is not tuned.
HOPELESS: dict[str, Any] = {
    "prune": {"parameters": 0.9, "allocation": "uniform"},
    "finetune": None,
    "quantise": {"calibration_images": 4},
    "limits": {"pixels": {"at_least": "0.999x"}},
}
FILES = ["fp32.onnx", "fp16.onnx", "cpu.onnx", "arm.onnx", "trt.onnx"]
NAMES = [
    "pruned fp32",
    "pruned fp16",
    "pruned int8",
    "pruned int8 for Arm",
    "pruned int8 for TensorRT",
]


def _content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def output(trained: Path, compressed: Path, tmp_path: Path) -> Path:
    """A folder with a bundle of an earlier run, beside its checkpoint."""
    shutil.copytree(trained / "training", tmp_path / "training")
    shutil.copytree(compressed / "bundle", tmp_path / "out" / "bundle")
    return tmp_path / "out"


def test_engines_that_lose_too_much_make_no_bundle(
    output: Path, write_recipe: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    before = _content(output / "bundle")
    recipe = write_recipe(output.parent, **HOPELESS)

    assert main(["run", str(recipe), "--output", str(output)]) == 1

    line = capsys.readouterr().err.splitlines()[-1]
    report = read_report(output)
    original = report.variants[0].accuracy["pixels"]
    assert line.startswith("compress: no bundle was written: ")
    for variant in report.variants[1:]:
        value = variant.accuracy["pixels"]
        assert value < 0.999 * original
        assert (
            f"{variant.name}: pixels is {value:.4f}, at least {0.999 * original:.4f} is wanted "
            f"(0.999x of {original:.4f})" in line
        )
    assert "--force" in line
    assert _content(output / "bundle") == before

    assert [failure.variant for failure in report.failures] == NAMES
    assert report.bundle_digest == ""
    page = output / "report.html"
    page.unlink()
    assert main(["report", str(output)]) == 0
    assert "No bundle was written" in page.read_text()
    # They can be looked at nevertheless.
    assert all((output / file).is_file() for file in [*FILES, "unpruned.onnx", "pruned.pt"])


def test_force_puts_them_into_the_bundle_and_the_manifest_says_so(
    output: Path, write_recipe: Write
) -> None:
    recipe = write_recipe(output.parent, **HOPELESS)

    assert main(["run", str(recipe), "--output", str(output), "--force"]) == 0

    bundle = load_bundle(output / "bundle")
    assert sorted(bundle.manifest.engines) == sorted(FILES)
    assert bundle.manifest.guard is not None
    assert bundle.manifest.guard.forced == FILES
    report = read_report(output)
    [limit] = bundle.manifest.guard.limits
    assert limit.at_least == 0.999 * report.variants[0].accuracy["pixels"]
    assert bundle.digest == report.bundle_digest
    assert report.failures == []
    assert report.forced == NAMES


def test_a_graph_that_breaks_tensorrts_rules_is_no_engine(
    output: Path, write_recipe: Write
) -> None:
    skill = compressible_skill("mixed_blob")
    network = skill.build_network({})
    trained = read_checkpoint(output.parent / "training" / "trained.pt")["state"]
    network.load_state_dict(trained, strict=False)
    save_checkpoint(output.parent / "mixed.pt", skill, network)
    changes = {"skill": "mixed_blob", "checkpoint": "mixed.pt", "prune": None, "limits": None}
    recipe = write_recipe(output.parent, **{**HOPELESS, **changes})

    assert main(["run", str(recipe), "--output", str(output)]) == 0

    [failure] = read_report(output).failures
    assert failure.variant == "int8 for TensorRT"
    assert "trt.onnx breaks rules of TensorRT: Gemm" in failure.reason
    assert "trt.onnx" not in load_bundle(output / "bundle").manifest.engines


def test_what_cannot_be_quantised_leaves_the_other_engines(
    output: Path, write_recipe: Write
) -> None:
    checkpoint = read_checkpoint(output.parent / "training" / "trained.pt")
    torch.save({**checkpoint, "skill": "precise_blob"}, output.parent / "precise.pt")
    # The network finds nothing, so that no precision is within the limit of its own.
    limits = {"precision": {"at_least": "0.98x"}}
    changes = {"skill": "precise_blob", "checkpoint": "precise.pt", "limits": limits}
    quantise = {"calibration_images": 4, "limits": limits}
    recipe = write_recipe(output.parent, **{**HOPELESS, **changes, "quantise": quantise})

    assert main(["run", str(recipe), "--output", str(output), "--force"]) == 0

    report = read_report(output)
    assert list(load_bundle(output / "bundle").manifest.engines) == ["fp32.onnx", "fp16.onnx"]
    assert [failure.variant for failure in report.failures] == NAMES[2:]
    assert all("with all tensors in float" in failure.reason for failure in report.failures)


def test_inspect_shows_what_was_forced_and_what_schema_2_says_of_devices(
    compressed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(compressed / "bundle", tmp_path / "bundle")
    bundle = load_bundle(tmp_path / "bundle")
    guard = Guard.model_validate(
        {"metric": "pixels", "of": 0.9, "max_drop": 0.01, "forced": ["cpu.onnx"]}
    )
    files = {name: bundle.path / name for name in bundle.manifest.files}
    write_bundle(bundle.path, bundle.manifest.model_copy(update={"guard": guard}), files)
    plan = {**PLAN, "graph": "trt.onnx", "precision": "int8", "latency_ms": {"p50": 1.25}}
    choice = {**CHOICE, "file": "trt.onnx"}
    make_old(bundle.path, plans={"gpu.plan": plan}, choices={"Some Processor": choice})

    assert main(["inspect", str(bundle.path)]) == 0

    printed = " ".join(capsys.readouterr().out.split())
    assert "limit of pixels at least 0.8900, 0.9000 it was" in printed
    assert "forced cpu.onnx" in printed
    assert "plan gpu.plan of trt.onnx, int8, p50 1.25 ms" in printed
    assert "choice on Some Processor trt.onnx, by onnxruntime 1" in printed


def test_only_engines_within_the_limit_are_bundled(
    output: Path, write_recipe: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    # The network stays as it came: in float it loses nothing, in eight bits a bit.
    settings = {
        "prune": None,
        "finetune": None,
        "limits": {"pixels": {"at_least": "0.999999x"}},
        "quantise": {"calibration_images": 2, "method": "best"},
    }
    recipe = write_recipe(output.parent, **settings)

    assert main(["run", str(recipe), "--output", str(output)]) == 0

    printed = capsys.readouterr().out
    manifest = load_bundle(output / "bundle").manifest
    report = read_report(output)
    lost = {
        variant.graphs["blob"].file
        for variant in report.variants
        if variant.accuracy["pixels"] < report.variants[0].accuracy["pixels"]
    }
    assert "fp32.onnx" in manifest.engines
    assert lost
    assert not lost & set(manifest.engines)
    assert manifest.guard is not None
    assert manifest.guard.forced == []
    for failure in report.failures:
        assert f"not in the bundle: {failure.variant}: {failure.reason}" in printed

    assert main(["run", str(recipe), "--output", str(output), "--force"]) == 0
    guard = load_bundle(output / "bundle").manifest.guard
    assert guard is not None
    # The ways to quantise that were not chosen are not in the bundle, forced or not.
    assert set(guard.forced) == {file for file in lost if "/" not in file}


def test_an_accuracy_without_a_value_is_too_bad(
    output: Path, write_recipe: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    before = _content(output / "bundle")
    checkpoint = read_checkpoint(output.parent / "training" / "trained.pt")
    torch.save({**checkpoint, "skill": "precise_blob"}, output.parent / "precise.pt")
    # What is left of the network finds nothing as long as it is not tuned.
    limits = {"precision": {"at_least": "0.98x"}}
    changes = {"skill": "precise_blob", "checkpoint": "precise.pt", "quantise": None}
    changes["limits"] = limits
    recipe = write_recipe(output.parent, **{**HOPELESS, **changes})

    assert main(["run", str(recipe), "--output", str(output)]) == 1

    assert "pruned fp32: precision is nan" in capsys.readouterr().err.splitlines()[-1]
    assert _content(output / "bundle") == before
    assert math.isnan(read_report(output).variants[1].accuracy["precision"])
    assert main(["report", str(output)]) == 0

    assert main(["run", str(recipe), "--output", str(output), "--force"]) == 0
    manifest = load_bundle(output / "bundle").manifest
    assert manifest.guard is not None
    assert manifest.guard.forced == ["fp32.onnx", "fp16.onnx"]
    assert math.isnan(manifest.engines["fp32.onnx"].accuracy["precision"])
