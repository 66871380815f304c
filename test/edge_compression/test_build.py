"""`compress build`: the processor's choice for real, TensorRT's plan on a stand-in for hardware."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from edge_compression.agreement import difference
from edge_compression.building import build
from edge_runtime.bundle import (
    EngineFile,
    Manifest,
    Source,
    TensorSpec,
    add_choice,
    load_bundle,
    write_bundle,
)
from edge_runtime.engine import open_engine
from edge_runtime.errors import BundleError, EngineError, SettingError
from edge_runtime.host import describe_host
from edge_runtime.locking import alone_in
from edge_runtime.onnx_engine import OnnxEngine

sys.path.insert(0, str(Path(__file__).parents[1] / "edge_runtime"))
import tensorrt_double

if TYPE_CHECKING:
    from collections.abc import Callable

SHAPE = (1, 8, 32, 48)
PLAN = "plans/orin-8mp-sm87-trt10.3.0.plan"


class Images(CalibrationDataReader):
    def __init__(self) -> None:
        rng = np.random.default_rng(1)
        self.rest = iter([{"image": rng.random(SHAPE, np.float32)} for _ in range(4)])

    def get_next(self) -> dict[str, Any] | None:
        return next(self.rest, None)


def float_graph(last: str = "Relu") -> bytes:
    weights = np.random.default_rng(2).standard_normal((8, 8, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node(last, ["c"], ["maps"]),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [
            helper.make_tensor_value_info(
                "image", TensorProto.FLOAT, ["batch", 8, "height", "width"]
            )
        ],
        [helper.make_tensor_value_info("maps", TensorProto.FLOAT, ["batch", 8, "height", "width"])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


def quantised_graph(folder: Path, activations: QuantType) -> bytes:
    (folder / "float.onnx").write_bytes(float_graph())
    quantize_static(
        folder / "float.onnx",
        folder / "quantised.onnx",
        Images(),
        quant_format=QuantFormat.QDQ,
        activation_type=activations,
        weight_type=QuantType.QInt8,
    )
    return (folder / "quantised.onnx").read_bytes()


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("graphs")
    return {
        "fp32.onnx": float_graph(),
        "cpu.onnx": quantised_graph(folder, QuantType.QUInt8),
        "arm.onnx": quantised_graph(folder, QuantType.QInt8),
        "trt.onnx": quantised_graph(folder, QuantType.QInt8),
    }


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(graphs: dict[str, bytes], **changes: object) -> Path:
        figures: dict[str, Any] = {"parameters": 1, "macs": 1, "accuracy": {}, "latency_ms": {}}
        tensor = {"shape": ("batch", 8, "height", "width"), "dtype": "float32"}
        fields = {
            "skill": "blob",
            "name": "small",
            "inputs": [TensorSpec(name="image", **tensor)],
            "outputs": [TensorSpec(name="maps", **tensor)],
            "names": [],
            "settings": {},
            "engines": {
                name: EngineFile(
                    precision="fp32" if name == "fp32.onnx" else "int8", bytes=len(graph), **figures
                )
                for name, graph in graphs.items()
            },
            "example": {"image": SHAPE},
            "source": Source(checkpoint_sha256="", recipe={}, recipe_sha256="", calibration=""),
            "tools": {},
            "host": {},
            "created": "2025-01-01T00:00:00+00:00",
            **changes,
        }
        manifest = Manifest.model_validate(fields)
        return write_bundle(tmp_path / "bundle", manifest, graphs).path

    return write


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> tensorrt_double.Gpu:
    return tensorrt_double.install(monkeypatch)


def test_the_fastest_engine_is_noted_for_this_processor_and_taken(
    graphs: dict[str, bytes], write: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(graphs)
    bundle = build(path)
    choice = bundle.manifest.choices[describe_host()["cpu"]]
    timed = set(graphs) - {"trt.onnx"}  # which is fast on a GPU alone
    assert set(choice.latency_ms) == timed
    assert choice.file == min(choice.latency_ms, key=choice.latency_ms.__getitem__)
    assert open_engine(load_bundle(path), provider="cpu").describe()["file"] == choice.file
    shown = capsys.readouterr()
    assert all(name in shown.out for name in timed)
    assert "no plan is built: TensorRT is not installed here" in shown.out


def test_what_is_known_is_not_found_out_again_unless_forced(
    graphs: dict[str, bytes], write: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write({"fp32.onnx": graphs["fp32.onnx"]})
    [(processor, choice)] = build(path, provider="cpu").manifest.choices.items()
    # A time that no engine takes: it is there for as long as nothing is timed again.
    known = add_choice(path, processor, choice.model_copy(update={"latency_ms": {"fp32.onnx": -1}}))
    capsys.readouterr()

    assert build(path, provider="cpu") == known
    assert "fp32.onnx was the fastest" in capsys.readouterr().out

    [again] = build(path, provider="cpu", force=True).manifest.choices.values()
    assert again.latency_ms["fp32.onnx"] > 0


def test_an_engine_that_gives_no_numbers_or_does_not_run_is_no_candidate(
    graphs: dict[str, bytes], write: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    odd = {**graphs, "cpu.onnx": float_graph("Log"), "arm.onnx": b"no graph"}
    bundle = build(write(odd), provider="cpu")
    [choice] = bundle.manifest.choices.values()
    assert list(choice.latency_ms) == ["fp32.onnx"]
    shown = capsys.readouterr().out
    assert "cpu.onnx is off by nan" in shown
    assert "arm.onnx cannot be loaded" in shown


def test_the_flavour_for_arm_is_served_where_there_is_no_other(
    graphs: dict[str, bytes], write: Callable[..., Path]
) -> None:
    def opened(*files: str, precision: str | None = None) -> str:
        bundle = load_bundle(write({file: graphs[file] for file in files}))
        return open_engine(bundle, provider="cpu", precision=precision).describe()["file"]

    assert opened("arm.onnx") == "arm.onnx"
    assert opened("arm.onnx", "fp32.onnx") == "fp32.onnx"
    assert opened("arm.onnx", "fp32.onnx", precision="int8") == "arm.onnx"


def test_no_number_is_no_agreement_in_any_sample() -> None:
    engine = OnnxEngine.from_file(float_graph("Sqrt"), precision="fp32")
    blank, noise = (
        {"image": values} for values in (np.zeros(SHAPE, np.float32), np.ones(SHAPE, np.float32))
    )
    right = engine.run(blank)

    with pytest.raises(EngineError, match="is off by nan"):
        difference(engine, [blank, noise], [right, right])


def test_a_plan_is_built_checked_and_served(
    gpu: tensorrt_double.Gpu,
    graphs: dict[str, bytes],
    write: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = write(graphs)
    bundle = build(path)
    plan = bundle.manifest.plans[PLAN]
    assert (plan.graph, plan.precision) == ("trt.onnx", "int8")
    assert plan.difference < 0.01
    assert plan.shapes["image"] == ((1, 8, 16, 16), SHAPE, (1, 8, 64, 96))
    assert gpu.builds[0]["profile"] == plan.shapes
    assert not gpu.buffers
    engine = open_engine(load_bundle(path))
    assert engine.describe()["file"] == PLAN
    image = np.random.default_rng(3).random((1, 8, 16, 96), np.float32)
    assert engine.run({"image": image})["maps"].shape == image.shape
    assert len(bundle.manifest.choices) == 1
    assert "Building Engine" in capsys.readouterr().err


def test_a_plan_is_built_also_where_no_engine_suits_the_processor(
    gpu: tensorrt_double.Gpu,
    graphs: dict[str, bytes],
    write: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    bundle = build(write({"trt.onnx": graphs["trt.onnx"]}))
    assert len(gpu.builds) == 1
    assert list(bundle.manifest.plans) == [PLAN]
    assert not bundle.manifest.choices
    assert "no engine is chosen: bundle" in capsys.readouterr().out


def test_a_plan_that_is_there_is_kept_and_measurements_are_used_again(
    gpu: tensorrt_double.Gpu,
    graphs: dict[str, bytes],
    write: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    path = write(graphs)
    first = build(path, provider="tensorrt")
    assert not first.manifest.choices
    assert build(path, provider="tensorrt") == first
    assert f"has {PLAN} already" in capsys.readouterr().out
    build(path, provider="tensorrt", force=True)
    assert [made["cache"] for made in gpu.builds] == [b"", b"timed"]
    [cache] = (tmp_path / "cache").rglob("*.timing")
    cache.write_bytes(b"of another device")
    build(path, provider="tensorrt", force=True)
    assert gpu.builds[-1]["cache"] == b""


def test_without_int8_the_plan_is_of_what_there_is(
    gpu: tensorrt_double.Gpu, graphs: dict[str, bytes], write: Callable[..., Path]
) -> None:
    assert not gpu.builds
    path = write({"fp32.onnx": graphs["fp32.onnx"]})
    assert build(path, provider="tensorrt").manifest.plans[PLAN].graph == "fp32.onnx"


def test_a_plan_that_computes_something_else_stays_out(
    gpu: tensorrt_double.Gpu, graphs: dict[str, bytes], write: Callable[..., Path]
) -> None:
    path = write(graphs)
    before = load_bundle(path)
    gpu.off_by = 5.0
    with pytest.raises(EngineError, match=f"trt.onnx: {PLAN} is off by .* int8 explains 0.25"):
        build(path, provider="tensorrt")
    assert load_bundle(path) == before
    assert not gpu.buffers
    assert not gpu.streams


def test_a_graph_that_tensorrt_cannot_parse_is_one_line_with_every_error(
    gpu: tensorrt_double.Gpu, graphs: dict[str, bytes], write: Callable[..., Path]
) -> None:
    gpu.refused = [b"Conv"]
    with pytest.raises(EngineError) as caught:
        build(write({"trt.onnx": graphs["trt.onnx"]}), provider="tensorrt")
    assert str(caught.value) == (
        "trt.onnx: TensorRT cannot parse the graph: Odd 'node 0': is not supported; "
        "Odd 'node 1': is not supported"
    )


def test_where_the_eight_bits_are_refused_the_plan_is_of_the_next_graph(
    gpu: tensorrt_double.Gpu,
    graphs: dict[str, bytes],
    write: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    gpu.refused = [b"QuantizeLinear"]
    plan = build(write(graphs), provider="tensorrt").manifest.plans[PLAN]
    assert (plan.graph, plan.precision) == ("fp32.onnx", "fp32")
    assert "trt.onnx  " in (shown := capsys.readouterr().out)
    assert "no plan: TensorRT cannot parse the graph" in shown


def test_a_gpu_on_which_nothing_can_be_built_is_one_line(
    gpu: tensorrt_double.Gpu, graphs: dict[str, bytes], write: Callable[..., Path]
) -> None:
    gpu.has_builder = False
    with pytest.raises(EngineError, match=r"trt.onnx: TensorRT cannot build here: .* nullptr"):
        build(write(graphs), provider="tensorrt")


def test_another_compress_at_work_beside_the_bundle_is_waited_for(
    graphs: dict[str, bytes], write: Callable[..., Path]
) -> None:
    path = write(graphs)
    with (
        alone_in(path.parent, "the folder"),
        pytest.raises(SettingError, match=r"of bundle .* is in use by another run"),
    ):
        build(path, provider="cpu")


def test_a_bundle_that_changes_while_it_is_copied_is_not_vouched_for(
    graphs: dict[str, bytes], write: Callable[..., Path]
) -> None:
    path = write({"fp32.onnx": graphs["fp32.onnx"]})
    manifest = load_bundle(path).manifest
    before = (path / "manifest.json").read_bytes()
    (path / "fp32.onnx").write_bytes(graphs["cpu.onnx"])
    with pytest.raises(BundleError, match=r"fp32.onnx was altered"):
        write_bundle(path, manifest, {"fp32.onnx": path / "fp32.onnx"})
    assert (path / "manifest.json").read_bytes() == before


def test_an_interrupt_ends_the_build_and_leaves_the_bundle(
    gpu: tensorrt_double.Gpu, graphs: dict[str, bytes], write: Callable[..., Path], tmp_path: Path
) -> None:
    path = write(graphs)
    before = load_bundle(path)
    steps = []

    def interrupt() -> None:
        if not steps:
            os.kill(os.getpid(), signal.SIGINT)
        steps.append(1)
        time.sleep(0.01)

    gpu.steps, gpu.on_step = 2000, interrupt
    # Where the tests run in the background, a shell may have them ignore it.
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            build(path, provider="tensorrt")
    finally:
        signal.signal(signal.SIGINT, usual)
    assert len(steps) < gpu.steps
    assert load_bundle(path) == before
    [cache] = (tmp_path / "cache").rglob("*.timing")
    assert cache.read_bytes() == b"timed"


def test_what_cannot_be_built_says_why(
    graphs: dict[str, bytes], write: Callable[..., Path]
) -> None:
    with pytest.raises(SettingError, match=r"'tpu': choose one of cpu, tensorrt"):
        build(write(graphs), provider="tpu")
    with pytest.raises(EngineError, match="TensorRT is not installed here"):
        build(write(graphs), provider="tensorrt")
    with pytest.raises(EngineError, match=r"no engine for this processor: none of fp32\.onnx"):
        build(write({"other.onnx": graphs["cpu.onnx"]}), provider="cpu")
    with pytest.raises(SettingError, match=r"how large its input 'image' is.*compress run"):
        build(write(graphs, example={}), provider="cpu")


def test_a_robot_builds_without_torch_and_onnx() -> None:
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('torch', 'onnx', 'matplotlib', 'joblib')));"
        "import edge_compression.building, edge_runtime.engine"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
