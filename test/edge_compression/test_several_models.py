"""A skill of three networks that is judged by an error, from training to a bundle."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from edge_compression.checkpoint import read_checkpoint, save_checkpoint
from edge_compression.commands import main
from edge_compression.evaluation import evaluate_network
from edge_compression.job import compressible_skill
from edge_compression.results import SensitivityReport, read_report
from edge_runtime.bundle import load_bundle
from edge_runtime.engine import open_engines

if TYPE_CHECKING:
    from pathlib import Path

MODELS = ["fnet", "cnet", "update"]
TRAIN = {
    "steps": 150,
    "batch_size": 8,
    "learning_rate": 0.02,
    "seed": 1,
    "evaluate_every": 50,
}
RECIPE: dict[str, Any] = {
    "skill": "track",
    "name": "track_small",
    "checkpoint": "trained.pt",
    "prune": {"macs": 0.4, "saliency": "taylor", "trial_rates": [0.5]},
    "finetune": {"steps": 60, "batch_size": 8, "learning_rate": 0.01, "distil": 0.3},
    "quantise": {
        "calibration_images": 4,
        "method": "best",
        "keep_float": {"update": ["delta"]},
        "limits": {"ate": {"at_most": "3x"}},
        "aware": {"steps": 10, "batch_size": 8, "learning_rate": 0.001},
    },
    "fp16": True,
    "limits": {"ate": {"at_most": "20x"}, "close": {"at_least": 0.1}},
}


def write(folder: Path, **changes: object) -> str:
    recipe = {key: value for key, value in {**RECIPE, **changes}.items() if value is not None}
    path = folder / "track.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return str(path)


def refused(command: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(command) == 1
    return capsys.readouterr().err.splitlines()[-1]


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `trained.pt`, and `out/` of `compress run`."""
    folder = tmp_path_factory.mktemp("track")
    command = ["train", write(folder, checkpoint=None, train=TRAIN), "--output", str(folder)]
    assert main(command) == 0
    assert main(["run", write(folder), "--output", str(folder / "out")]) == 0
    return folder


def test_training_keeps_the_weights_with_the_least_error(tracked: Path) -> None:
    report = json.loads((tracked / "training.json").read_text())
    steps, errors = zip(*report["evaluations"], strict=True)
    assert list(steps) == [50, 100, 150]
    kept = read_checkpoint(tracked / "train_state.pt")["best"]
    skill = compressible_skill("track")
    network = skill.build_network({})
    network.load_state_dict(kept)
    assert evaluate_network(skill, network, skill.data_model())["ate"] == pytest.approx(min(errors))
    assert report["metrics"]["ate"]["better"] == "lower"


def test_the_bundle_has_every_model_in_every_flavour(tracked: Path) -> None:
    bundle = load_bundle(tracked / "out" / "bundle", "track")
    report = read_report(tracked / "out")

    assert list(bundle.manifest.models) == MODELS
    for name, model in bundle.manifest.models.items():
        assert set(model.engines) >= {f"{name}/{file}.onnx" for file in ("fp32", "fp16", "cpu")}
    update = bundle.manifest.models["update"]
    assert update.inputs[0].shape == ("edges", 8)
    assert [example["net"] for example in update.examples] == [(4, 8), (11, 8)]
    calls = {name: model.calls for name, model in bundle.manifest.models.items()}
    assert calls == {"fnet": 1, "cnet": 0.5, "update": 2}
    small = next(v for v in report.variants if v.name == "pruned fp32")
    graphs = small.graphs
    assert small.macs == pytest.approx(sum(calls[n] * graphs[n].macs for n in MODELS), abs=1)
    assert small.parameters == sum(graph.parameters for graph in graphs.values())
    assert small.bytes == sum(graph.bytes for graph in graphs.values())
    assert small.median == pytest.approx(
        sum(calls[n] * graphs[n].latency_ms["p50"] for n in MODELS)
    )
    assert small.macs <= 0.6 * report.variants[0].macs
    assert bundle.manifest.guard is not None
    before = report.variants[0].accuracy["ate"]
    limits = {limit.metric: limit for limit in bundle.manifest.guard.limits}
    assert limits["ate"].at_most == pytest.approx(20 * before)
    assert limits["close"].at_least == 0.1


def test_its_engines_do_what_the_report_says(tracked: Path) -> None:
    skill = compressible_skill("track")
    data = skill.data_model()
    bundle = load_bundle(tracked / "out" / "bundle")
    report = read_report(tracked / "out")
    for precision, name in (("fp32", "pruned fp32"), ("int8", "pruned int8")):
        engines = open_engines(bundle, provider="cpu", precision=precision)
        runs = {model: engine.run for model, engine in engines.items()}
        found = skill.evaluate(runs, data, "held_out")
        expected = next(v.accuracy for v in report.variants if v.name == name)
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_every_model_is_fitted_to_this_device(
    tracked: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    bundle = str(tracked / "out" / "bundle")
    assert main(["inspect", bundle]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "models fnet, cnet, update" in printed
    assert "update runs 2 times for a frame or decision" in printed
    assert "limit of close at least 0.1000" in printed

    assert main(["build", bundle, "--provider", "cpu", "--json"]) == 0
    [device] = json.loads(capsys.readouterr().out)["devices"].values()
    assert list(device["choices"]) == MODELS


def test_a_tensor_is_kept_in_float_by_its_models_name(tracked: Path) -> None:
    tensors = read_report(tracked / "out").tensors
    assert set(tensors) >= {"fnet/cpu.onnx", "cnet/cpu.onnx", "update/cpu.onnx"}
    delta = [tensor for tensor in tensors["update/cpu.onnx"] if tensor.tensor == "delta"]
    assert all(tensor.kept_float for tensor in delta)


def test_a_model_that_a_flavour_cannot_be_made_of_stays_in_float(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    skill = compressible_skill("scaled_track")
    save_checkpoint(tmp_path / "scaled.pt", skill, skill.build_network({}))
    changes = {"skill": "scaled_track", "checkpoint": "scaled.pt", "limits": None}
    quantise = {"calibration_images": 2}
    path = write(tmp_path, **changes, prune=None, finetune=None, quantise=quantise)

    assert main(["run", path, "--output", str(tmp_path / "out")]) == 0

    assert "int8 for TensorRT: update stays in float: trt.onnx breaks" in capsys.readouterr().err
    report = read_report(tmp_path / "out")
    variant = next(v for v in report.variants if v.name == "int8 for TensorRT")
    assert variant.files == ["fnet/trt.onnx", "cnet/trt.onnx", "update/fp32.onnx"]
    models = load_bundle(tmp_path / "out" / "bundle").manifest.models
    assert "update/trt.onnx" not in models["update"].engines
    assert models["update"].engines["update/fp32.onnx"].precision == "fp32"
    assert "fnet/trt.onnx" in models["fnet"].engines


def test_nothing_is_evaluated_twice(
    tracked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACK_LOG", str(tmp_path / "log"))
    assert main(["run", write(tracked), "--output", str(tracked / "out")]) == 0
    assert not (tmp_path / "log").exists()


def test_a_group_matters_by_the_error_that_it_adds(tracked: Path, tmp_path: Path) -> None:
    assert main(["sensitivity", write(tracked), "--output", str(tmp_path / "out")]) == 0

    text = (tmp_path / "out" / "sensitivity.json").read_bytes()
    sensitivity = SensitivityReport.model_validate_json(text).sensitivity
    assert {group.group for group in sensitivity.groups} == {
        "fnet.first",
        "cnet.first",
        "update.inner",
    }
    for method in ("l1", "taylor"):
        added = {
            group.group: max(0, trial.accuracy - sensitivity.accuracy)
            for group in sensitivity.groups
            for trial in group.trials
            if trial.saliency == method
        }
        total = sum(added.values())
        for group in sensitivity.groups:
            expected = added[group.group] / total if total else 1 / 3
            assert group.sensitivity[method] == pytest.approx(expected)


def test_limits_and_tensors_are_refused_by_name(
    tracked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = ["--output", str(tracked / "refused")]
    line = refused(["run", write(tracked, limits={"rpe": {"at_most": 1}}), *output], capsys)
    assert "limits: the skill 'track' has no metric 'rpe'; it has ate, close" in line
    line = refused(["run", write(tracked, limits={"ate": {"at_most": "105%"}}), *output], capsys)
    assert "limits.ate.at_most" in line
    assert "such as 0.98x" in line
    for keep_float, words in (
        (["delta"], "give a list of tensors for each of the models fnet, cnet, update"),
        ({"gnet": ["delta"]}, "there is no model 'gnet'; there are fnet, cnet, update"),
    ):
        quantise = {"calibration_images": 4, "keep_float": keep_float}
        changes = {"prune": None, "finetune": None, "quantise": quantise}
        assert words in refused(["run", write(tracked, **changes), *output], capsys)


def test_an_error_over_the_limit_makes_no_bundle(
    tracked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {"checkpoint": str(tracked / "trained.pt"), "finetune": None, "quantise": None}
    prune = {"macs": 0.9, "allocation": "uniform"}
    path = write(tmp_path, **changes, prune=prune, limits={"ate": {"at_most": "1.05x"}})

    line = refused(["run", path, "--output", str(tmp_path / "out")], capsys)

    assert "pruned fp32: ate is " in line
    assert "(1.05x of " in line


def test_engines_for_other_devices_may_ship_without_figures(
    tracked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollouts = []

    def counted(self: object, *args: object) -> object:
        rollouts.append(args)
        return calibration(self, *args)

    skill: Any = type(compressible_skill("track"))
    calibration = skill.calibration
    monkeypatch.setattr(skill, "calibration", counted)
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    changes = {"prune": None, "finetune": None, "quantise": {"calibration_images": 4}}
    recipe = write(tracked, **changes, evaluate="this_processor")
    assert main(["run", recipe, "--output", str(tmp_path)]) == 0

    update = load_bundle(tmp_path / "bundle", "track").manifest.models["update"]
    measured = {name: set(update.engines[file].accuracy) for name, file in update.flavours.items()}
    figures = {"ate", "close"}
    assert measured.pop("fp32.onnx") == measured.pop("arm.onnx") == figures
    assert measured == {"fp16.onnx": set(), "cpu.onnx": set(), "trt.onnx": set()}
    page = (tmp_path / "report.html").read_text()
    assert "Not evaluated, and under no limit: fp16, int8, int8 for TensorRT." in page
    assert len(rollouts) == 1
