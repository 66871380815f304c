"""`compress run` and `compress evaluate` of SLAM: a bundle of four models, judged by tracking."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch
import yaml

pytest.importorskip("numba", reason="numba comes with the extra [slam]")
pytest.importorskip("torch_pruning", reason="torch-pruning comes with the extra [compress]")

from test_training import TINY

from compressed_slam.skill import SlamSkill
from edge_compression.checkpoint import save_checkpoint
from edge_compression.commands import main
from edge_runtime.bundle import load_bundle

if TYPE_CHECKING:
    from pathlib import Path

FLOW = "/flow_encoder/flow_encoder.3/Relu_output_0"
KEPT = {
    "update": ["motion", "/flow_encoder/flow_encoder.1/Relu_output_0", "delta"],
    "damping": ["means", "eta"],
}


@pytest.fixture(scope="module")
def made(recording: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a pruned and quantised tiny network."""
    folder = tmp_path_factory.mktemp("compression")
    torch.manual_seed(0)
    skill = SlamSkill()
    save_checkpoint(folder / "tiny.pt", skill, skill.build_network(TINY))
    recipe = {
        "skill": "slam",
        "name": "tiny",
        "checkpoint": str(folder / "tiny.pt"),
        "data": {
            "rooms": 0,
            "sequences": [str(recording)],
            "validation_rooms": 0,
            "held_out_rooms": 0,
            "held_out_sequences": [str(recording)],
            "judged_pairs": 2,
            "tracked_frames": 4,
        },
        "prune": {"macs": 0.05, "allocation": "uniform"},
        "quantise": {
            "calibration_images": 4,
            "keep_float": KEPT,
            "saturate": {"update": {FLOW: 0.01}},
        },
        "fp16": True,
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert main(["run", str(folder / "recipe.yaml"), "--output", str(folder / "out")]) == 0
    return folder / "out"


def test_a_run_makes_a_bundle_of_four_models(made: Path) -> None:
    manifest = load_bundle(made / "bundle", "slam").manifest
    assert list(manifest.models) == ["fnet", "cnet", "update", "damping"]
    for model in manifest.models.values():
        assert {"fp32.onnx", "fp16.onnx", "cpu.onnx", "arm.onnx", "trt.onnx"} == set(model.flavours)
        assert all("ate" in engine.accuracy for engine in model.engines.values())
    edges = [example["net"][0] for example in manifest.models["update"].examples]
    assert min(edges) == 1
    assert edges[-1] == max(edges)


def test_its_engines_are_evaluated_on_parts_of_recordings(
    made: Path, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", "slam", "--bundle", str(made / "bundle"), "--precision", "int8"]
    output = ["--output", str(tmp_path / "out")]
    sequences = ["--sequences", f"{recording}@4:10", f"{recording}@:5"]
    assert main([*arguments, *output, *sequences]) == 0
    report = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert [row["frames"] for row in report["tables"]["Recordings"]] == [6, 5]
    assert 0 < report["metrics"]["ate"] < 100
    assert 0 <= report["metrics"]["tracked"] <= 1
    assert main([*arguments, "--output", str(tmp_path / "other")]) == 1
    assert "nothing to track" in capsys.readouterr().err
