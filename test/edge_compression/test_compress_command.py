"""`compress`, from first weights to a bundle that an engine opens."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
import torch

from edge_compression.aware import input_peaks, simulate
from edge_compression.calibration import calibration_inputs
from edge_compression.checkpoint import load_checkpoint, read_checkpoint
from edge_compression.commands import main
from edge_compression.job import compressible_skill
from edge_compression.recipe import load_recipe
from edge_compression.results import read_report
from edge_compression.training import train
from edge_runtime.bundle import load_bundle
from edge_runtime.onnx_engine import OnnxEngine

if TYPE_CHECKING:
    from collections.abc import Callable

COMMAND = Path(sys.executable).with_name("compress")


def test_run_makes_a_bundle_that_is_small_and_still_right(compressed: Path) -> None:
    manifest = load_bundle(compressed / "bundle", "blob").manifest
    report = read_report(compressed)
    original = report.variants[0]
    files = {variant.name: variant.graphs["blob"].file for variant in report.variants}
    shipped = {files[v.name]: v for v in report.variants if files[v.name] in manifest.engines}
    rest = {name: file for name, file in files.items() if file not in manifest.engines}

    assert {file: variant.name for file, variant in shipped.items()} == {
        "fp32.onnx": "pruned fp32",
        "fp16.onnx": "pruned fp16",
        "cpu.onnx": "pruned int8",
        "arm.onnx": "pruned int8 for Arm",
        "trt.onnx": "pruned int8 for TensorRT",
    }
    assert (original.parameters, original.accuracy["pixels"] > 0.99) == (2791, True)
    for file, variant in shipped.items():
        assert variant.accuracy["pixels"] > original.accuracy["pixels"] - 0.01
        assert 0.6 <= 1 - variant.parameters / original.parameters < 0.67
        assert variant.macs < original.macs
        engine = manifest.engines[file]
        assert engine.bytes == (compressed / "bundle" / file).stat().st_size
        assert engine.accuracy == variant.accuracy
        # What TensorRT's flavour takes on the processor says nothing about it.
        assert (engine.latency_ms == {}) == (file == "trt.onnx")
    # What was tried and is not shipped can still be looked at.
    assert rest.pop("original fp32") == "unpruned.onnx"
    assert [failure.variant for failure in report.failures] == list(rest)
    assert all(name.startswith("pruned int8 ") for name in rest)
    assert len(rest) == 2
    for file in ("unpruned.onnx", *rest.values()):
        OnnxEngine.from_file(compressed / file)
    assert manifest.guard is not None
    accuracy = original.accuracy["pixels"]
    assert manifest.guard.model_dump() == {
        "limits": [
            {"metric": "pixels", "of": accuracy, "at_least": 0.98 * accuracy, "at_most": None}
        ],
        "forced": [],
    }


def test_the_report_follows_the_network_through_its_stages(compressed: Path) -> None:
    report = read_report(compressed)
    tuned, first, last = report.stages

    assert tuned.sensitivity is None
    assert (tuned.rates, tuned.lost) == ({}, {"macs": 0, "parameters": 0})
    assert tuned.curve[-1][0] == 20
    assert "stage 0" in (compressed / "report.html").read_text()
    assert [first.curve[-1][0], report.aware_curve[-1][0]] == [40, 20]
    assert [step for step, _ in first.evaluations] == [20, 40]
    # What one stage leaves is what the next one analyses and prunes.
    assert first.sensitivity is not None
    assert first.sensitivity.accuracy == tuned.accuracy != tuned.pruned_accuracy
    for stage, before in ((first, 0.0), (last, first.lost["parameters"])):
        assert stage.sensitivity is not None
        assert [len(group.trials) for group in stage.sensitivity.groups] == [1, 1, 1]
        assert stage.lost["parameters"] > before
        assert stage.accuracy == max(accuracy for _, accuracy in stage.evaluations)
        # The first pruning may cost nothing: tuning must at least not cost more.
        assert stage.accuracy > stage.pruned_accuracy - 0.005
    assert last.accuracy > last.pruned_accuracy
    # Each stage leaves the same share of what it found.
    assert (1 - first.lost["parameters"]) ** 2 == pytest.approx(0.4, abs=0.06)
    assert 1 - report.variants[1].parameters / 2791 == pytest.approx(last.lost["parameters"])
    left = {layer.layer: layer.after for layer in report.layers}
    assert report.layers[0].before == 8
    assert left["first"] == left["up"]
    assert left["second"] + left["between"] < 12 + 10
    assert left["head"] == 1


def test_the_best_ranges_on_the_validation_split_are_taken(
    trained: Path, tmp_path: Path, write_recipe: Callable[..., Path]
) -> None:
    recipe = write_recipe(
        tmp_path,
        checkpoint=str(trained / "training" / "trained.pt"),
        data={"noise": 1.0},  # so that they differ
        prune=None,
        finetune=None,
        quantise={"calibration_images": 4, "method": "best"},
        limits=None,
    )

    assert main(["run", str(recipe), "--output", str(tmp_path / "out")]) == 0

    reasons = [failure.reason for failure in read_report(tmp_path / "out").failures]
    found = [re.findall(r": ([\d.]+) on the validation split, here ([\d.]+)", x) for x in reasons]
    [(best, second)], [(_, third)] = found
    assert float(best) >= max(float(second), float(third))
    assert float(best) > min(float(second), float(third))


def test_the_last_training_is_with_simulated_quantisation(
    compressed: Path, trained: Path, tmp_path: Path
) -> None:
    recipe = load_recipe(trained / "recipe.yaml").recipe
    skill = compressible_skill("blob")
    data = skill.data_model.model_validate(recipe.data)
    assert recipe.quantise is not None
    assert recipe.quantise.aware is not None

    def apart(*, simulated: bool) -> float:
        network = skill.build_network(read_checkpoint(compressed / "pruned.pt")["network"])
        network.load_state_dict(read_checkpoint(compressed / "stages/2/tune_state.pt")["best"])
        network.to(memory_format=torch.channels_last)  # as training has left it
        models = skill.models(network, data)
        inputs = calibration_inputs(skill, models, {}, data, recipe.quantise)
        peaks = input_peaks(network, models, inputs)
        with simulate(network, peaks) if simulated else nullcontext():
            train(skill, network, data, recipe.quantise.aware, tmp_path / f"{simulated}.pt")
        shipped = read_checkpoint(compressed / "pruned.pt")["state"]
        return max(float((shipped[k] - v).abs().max()) for k, v in network.state_dict().items())

    assert apart(simulated=True) < apart(simulated=False) / 10


def test_the_manifest_names_what_it_was_made_from(compressed: Path, trained: Path) -> None:
    manifest = load_bundle(compressed / "bundle").manifest
    recipe = load_recipe(trained / "recipe.yaml")

    assert manifest.source.recipe == recipe.source
    assert manifest.source.recipe_sha256 == recipe.sha256
    assert manifest.names == ["blob"]
    assert manifest.settings == {"noise": 0.3}
    assert list(manifest.models) == ["blob"]
    assert manifest.model.examples == [{"image": (1, 1, 16, 16)}]
    assert manifest.model.inputs[0].shape == ("batch", 1, "height", "width")
    assert {"torch", "torch-pruning", "onnxruntime"} <= set(manifest.tools)
    assert {"name", "cpu"} <= set(manifest.host)


@pytest.mark.parametrize(
    ("file", "most", "mean"),
    [
        ("fp32.onnx", 1e-4, 1e-5),
        ("fp16.onnx", 1e-2, 1e-3),
        ("cpu.onnx", 0.3, 0.02),
        ("arm.onnx", 0.3, 0.02),
        ("trt.onnx", 0.3, 0.02),
    ],
)
def test_engines_take_other_sizes_and_agree_with_the_pruned_checkpoint(
    compressed: Path, file: str, most: float, mean: float
) -> None:
    engine = OnnxEngine.from_file(compressed / "bundle" / file)
    network = load_checkpoint(compressed / "pruned.pt", compressible_skill("blob"))
    image = np.random.default_rng(0).normal(0.3, 0.3, (3, 1, 24, 40)).astype(np.float32)

    found = engine.run({"image": image})["mask"]

    with torch.no_grad():
        expected = network(torch.from_numpy(image)).numpy()
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < most
    assert np.abs(found - expected).mean() < mean


def test_report_is_rendered_again_as_one_file(compressed: Path) -> None:
    page = compressed / "report.html"
    before = page.read_text()
    page.unlink()

    assert main(["report", str(compressed)]) == 0

    assert page.read_text().count("data:image/svg") == before.count("data:image/svg") > 0
    assert "pruned int8" in page.read_text()
    assert 'src="http' not in page.read_text()


def test_inspect_shows_bundles_checkpoints_and_states(
    compressed: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(compressed / "bundle")]) == 0
    assert "cpu.onnx" in capsys.readouterr().out
    assert main(["inspect", "--json", str(compressed / "bundle")]) == 0
    digest = load_bundle(compressed / "bundle").digest
    assert (
        json.loads(capsys.readouterr().out)["digest"]
        == digest
        == read_report(compressed).bundle_digest
    )
    assert main(["inspect", "--json", str(trained / "training" / "train_state.pt")]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["steps trained"] == 200
    assert {"tensor": "head.bias", "shape": "(1,)", "values": 1} in shown["tensors"]


def test_a_training_ends_with_its_checkpoint_and_a_page_of_its_curves(
    tmp_path: Path, write_recipe: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"steps": 6, "batch_size": 2, "learning_rate": 0.01, "evaluate_every": 2}
    output = tmp_path / "out"

    recipe = write_recipe(tmp_path, checkpoint=None, train=settings)

    assert main(["train", str(recipe), "--output", str(output)]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert re.match(r"pixels 0\.\d{4} on held-out data after 6 steps in \d", lines[-4])
    assert lines[-2:] == [
        f"checkpoint  {output / 'trained.pt'}",
        f"report      {output / 'training.html'}",
    ]
    page = (output / "training.html").read_text()
    assert f'<p class="verdict">{lines[-4]}.</p>' in page
    assert page.count("data:image/svg") == 2
    assert all(word in page for word in ("Loss during", "pixels during training", "overlap"))
    report = json.loads((output / "training.json").read_text())
    assert [step for step, _ in report["evaluations"]] == [2, 4, 6]


def test_every_result_is_given_as_json_and_nothing_else(
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def result(*words: str) -> dict[str, Any]:
        capsys.readouterr()
        assert main([*words, "--json"]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    recipe, output = trained / "recipe.yaml", tmp_path / "out"
    checkpoint = trained / "training" / "trained.pt"
    shutil.copytree(checkpoint.parent, tmp_path / "training")
    ran = result("run", str(recipe), "--output", str(output))
    assert ran == json.loads((output / "report.json").read_text())
    assert result("report", str(output)) == ran
    trainings = result("train", str(trained / "train.yaml"), "--output", str(tmp_path / "training"))
    assert trainings["checkpoint_sha256"] == result("inspect", str(checkpoint))["sha256"]
    survey = result("sensitivity", str(recipe), "--output", str(tmp_path / "survey"))
    assert survey == json.loads((tmp_path / "survey" / "sensitivity.json").read_text())
    inspected = result("inspect", str(output / "bundle"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    built = result("build", str(output / "bundle"), "--provider", "cpu")
    [device] = built["devices"].values()
    assert (device["bundle"], list(device["choices"])) == (inspected["digest"], ["blob"])
    assert built["cache"].endswith(inspected["digest"])
    assert inspected == result("inspect", str(output / "bundle"))


def test_a_training_that_was_killed_ends_with_the_same_weights(
    trained: Path, tmp_path: Path
) -> None:
    output = tmp_path / "training"
    state = output / "train_state.pt"
    command = [str(COMMAND), "train", str(trained / "train.yaml")]
    command += ["--output", str(output), "--save-every", "0"]
    environment = {**os.environ, "BLOB_SECONDS_PER_STEP": "0.02"}
    for _ in range(2):
        resumed_at = read_checkpoint(state)["step"] if state.exists() else 0
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process:
            deadline = time.monotonic() + 60
            while process.poll() is None and time.monotonic() < deadline:
                if state.exists() and read_checkpoint(state)["step"] >= resumed_at + 20:
                    break
                time.sleep(0.05)
            process.send_signal(signal.SIGKILL)
    assert 40 <= read_checkpoint(state)["step"] < 200

    assert main(command[1:]) == 0

    ours = read_checkpoint(output / "trained.pt")["state"]
    theirs = read_checkpoint(trained / "training" / "trained.pt")["state"]
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_a_state_of_another_training_is_not_gone_on_from(
    trained: Path,
    tmp_path: Path,
    write_recipe: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "training"
    shutil.copytree(trained / "training", output)
    settings = {"steps": 3, "batch_size": 2, "learning_rate": 0.01, "seed": 3}
    command = ["train", str(write_recipe(tmp_path, checkpoint=None, train=settings))]
    command += ["--output", str(output)]

    assert main(command) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert "other settings" in line
    assert "--restart" in line
    assert main([*command, "--restart"]) == 0
    assert read_checkpoint(output / "train_state.pt")["step"] == 3


def test_a_state_that_lacks_a_part_is_refused(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "training"
    shutil.copytree(trained / "training", output)
    state = output / "train_state.pt"
    torch.save({**torch.load(state), "training": {}}, state)

    assert main(["train", str(trained / "train.yaml"), "--output", str(output)]) == 1

    line = capsys.readouterr().err.splitlines()[-1]
    assert line == (
        f"compress: '{state}' is no state of a training: delete it, or give another --output"
    )


def test_a_state_of_data_that_was_edited_in_place_is_not_gone_on_from(
    tmp_path: Path, write_recipe: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    brightness = tmp_path / "brightness.txt"
    brightness.write_text("1")
    settings = {"steps": 3, "batch_size": 2, "learning_rate": 0.01}
    recipe = write_recipe(
        tmp_path, checkpoint=None, train=settings, data={"brightness": brightness.name}
    )
    command = ["train", str(recipe), "--output", str(tmp_path / "training")]
    assert main(command) == 0
    assert main(command) == 0

    brightness.write_text("2")

    assert main(command) == 1
    assert "a training with other data content" in capsys.readouterr().err.splitlines()[-1]


def test_a_recipe_may_only_quantise(
    trained: Path, tmp_path: Path, write_recipe: Callable[..., Path]
) -> None:
    recipe = write_recipe(
        tmp_path,
        checkpoint=str(trained / "training" / "trained.pt"),
        prune=None,
        finetune=None,
        quantise={"calibration_images": 4},
    )

    assert main(["run", str(recipe), "--output", str(tmp_path / "out")]) == 0

    variants = read_report(tmp_path / "out").variants
    assert [variant.name for variant in variants] == [
        "fp32",
        "fp16",
        "int8",
        "int8 for Arm",
        "int8 for TensorRT",
    ]
    assert not (tmp_path / "out" / "pruned.pt").exists()


def test_half_precision_spares_what_the_calibration_saw_it_cannot_hold(
    trained: Path, tmp_path: Path, write_recipe: Callable[..., Path]
) -> None:
    (tmp_path / "glaring.txt").write_text("1e5")
    recipe = write_recipe(
        tmp_path,
        checkpoint=str(trained / "training" / "trained.pt"),
        data={"brightness": "glaring.txt"},
        prune=None,
        finetune=None,
        quantise={"calibration_images": 2},
        limits=None,
    )

    assert main(["run", str(recipe), "--output", str(tmp_path / "out")]) == 0

    graph = onnx.load(tmp_path / "out" / "bundle" / "fp16.onnx").graph
    kinds = {constant.name: constant.data_type for constant in graph.initializer}
    found = {kinds[node.input[1]] for node in graph.node if node.op_type == "Conv"}
    assert found >= {onnx.TensorProto.FLOAT}


def test_the_smaller_inputs_share_is_told_from_prunings(
    trained: Path, tmp_path: Path, write_recipe: Callable[..., Path]
) -> None:
    recipe = write_recipe(
        tmp_path,
        checkpoint=str(trained / "training" / "trained.pt"),
        data={"side": 8},
        prune={"macs": 0.9, "allocation": "uniform"},
        finetune=None,
        quantise=None,
        fp16=False,
        limits=None,
    )

    assert main(["run", str(recipe), "--output", str(tmp_path / "out")]) == 0

    report = read_report(tmp_path / "out")
    assert report.macs_lost_to_input == pytest.approx(0.75)
    left = (1 - report.macs_lost_to_input) * (1 - report.macs_lost_to_pruning)
    assert left == pytest.approx(report.variants[1].macs / report.variants[0].macs)
    assert left <= 0.1


def test_the_limit_is_of_the_network_at_the_size_it_came_with(
    trained: Path,
    tmp_path: Path,
    write_recipe: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = write_recipe(
        tmp_path,
        checkpoint=str(trained / "training" / "trained.pt"),
        data={"side": 8},
        prune=None,
        finetune=None,
        quantise=None,
        fp16=False,
        limits={"pixels": {"at_least": "0.999999x"}},
    )
    output = tmp_path / "out"

    assert main(["run", str(recipe), "--output", str(output)]) == 1

    report = read_report(output)
    before = report.variants[0].accuracy["pixels"]
    assert f"(0.999999x of {before:.4f})" in capsys.readouterr().err.splitlines()[-1]
    assert [variant.name for variant in report.variants] == ["original fp32", "resized fp32"]
    assert report.macs_lost_to_input == pytest.approx(0.75)
    assert not (output / "bundle").exists()


def test_help_does_not_wait_for_torch() -> None:
    code = "import sys; from edge_compression import commands; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
