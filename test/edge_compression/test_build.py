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
from edge_compression.building import build, pack, unpack
from edge_compression.commands import main
from edge_runtime.bundle import EngineFile, Manifest, Source, TensorSpec, load_bundle, write_bundle
from edge_runtime.device_cache import DeviceCache
from edge_runtime.engine import open_engine, open_engines
from edge_runtime.errors import BundleError, EngineError, SettingError
from edge_runtime.locking import alone_in
from edge_runtime.onnx_engine import OnnxEngine, processor_of_this_device

sys.path.insert(0, str(Path(__file__).parents[1] / "edge_runtime"))
import tensorrt_double

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_runtime.findings import Choice, Plan

SHAPE = (1, 8, 32, 48)
GPU = "orin-8mp-sm87-trt10.3.0"
PLAN = f"{GPU}/blob.plan"
EXAMPLES = ({"image": SHAPE},)


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
    def write(
        graphs: dict[str, bytes], examples: Sequence[dict[str, Any]] = EXAMPLES, name: str = "small"
    ) -> Path:
        """Graphs that lie in folders are of models of the folder's name, others of "blob"."""
        figures: dict[str, Any] = {"parameters": 1, "macs": 1, "accuracy": {}, "latency_ms": {}}
        tensor = {"shape": ("batch", 8, "height", "width"), "dtype": "float32"}
        models: dict[str, dict[str, Any]] = {}
        for file, graph in graphs.items():
            precision = "fp32" if file.endswith("fp32.onnx") else "int8"
            engine = EngineFile(precision=precision, bytes=len(graph), **figures)
            usual = {
                "inputs": [TensorSpec(name="image", **tensor)],
                "outputs": [TensorSpec(name="maps", **tensor)],
                "engines": {},
                "examples": examples,
            }
            model = models.setdefault(file.rpartition("/")[0] or "blob", usual)
            model["engines"][file] = engine
        fields = {
            "skill": "blob",
            "name": name,
            "models": models,
            "names": [],
            "settings": {},
            "source": Source(checkpoint_sha256="", recipe={}, recipe_sha256="", calibration=""),
            "tools": {},
            "host": {},
            "created": "2025-01-01T00:00:00+00:00",
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


def choice_of(cache: DeviceCache) -> Choice | None:
    entry = cache.entry(processor_of_this_device())
    return None if entry is None else entry.choices["blob"]


def plan_of(cache: DeviceCache) -> Plan:
    entry = cache.entry(GPU)
    assert entry is not None
    return entry.plans["blob"]


def test_the_fastest_engine_is_noted_for_this_processor_and_taken(
    graphs: dict[str, bytes], write: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(graphs)
    choice = choice_of(build(path))
    assert choice is not None
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
    cache = build(path, provider="cpu")
    choice = choice_of(cache)
    assert choice is not None
    # A time that no engine takes: it is there for as long as nothing is timed again.
    known = choice.model_copy(update={"latency_ms": {"fp32.onnx": -1}})
    cache.keep_choice(processor_of_this_device(), "blob", known)
    capsys.readouterr()

    assert choice_of(build(path, provider="cpu")) == known
    assert "fp32.onnx was the fastest" in capsys.readouterr().out

    again = choice_of(build(path, provider="cpu", force=True))
    assert again is not None
    assert again.latency_ms["fp32.onnx"] > 0


def test_a_bundle_that_nobody_may_write_is_built_and_stays_as_it_is(
    gpu: tensorrt_double.Gpu,
    graphs: dict[str, bytes],
    write: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def state() -> dict[Path, int]:
        return {each: each.stat().st_mtime_ns for each in (path, *path.rglob("*"))}

    path = write(graphs)
    before = state()
    for each in before:
        each.chmod(each.stat().st_mode & ~0o222)  # which stops all but root
    assert main(["build", str(path)]) == 0
    assert state() == before
    shown = capsys.readouterr().out
    assert f"cache  {tmp_path / 'cache'}" in shown
    assert f"{GPU}  " in shown
    assert f"{processor_of_this_device()}  " in shown
    assert len(gpu.builds) == 1


def test_a_cache_that_cannot_be_written_is_named_with_a_remedy(
    graphs: dict[str, bytes],
    write: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(SettingError, match=r"cannot be written .*: set XDG_CACHE_HOME"):
        build(write(graphs), provider="cpu")


def test_a_bundle_that_is_made_anew_meanwhile_is_told_apart(
    gpu: tensorrt_double.Gpu, graphs: dict[str, bytes], write: Callable[..., Path]
) -> None:
    path = write(graphs)
    cache = DeviceCache(load_bundle(path))
    gpu.on_step = lambda: write(graphs, name="newer")
    with pytest.raises(SettingError, match="was made anew meanwhile"):
        build(path, provider="tensorrt")
    assert not cache.entries()


def test_damage_in_the_cache_is_told_and_mended(
    gpu: tensorrt_double.Gpu,
    graphs: dict[str, bytes],
    write: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = write(graphs)
    cache = build(path)
    for file in cache.folder.glob("*.zip"):
        file.write_bytes(file.read_bytes()[:100])
    assert not cache.entries()
    capsys.readouterr()
    assert list(build(path).entries()) == sorted([GPU, processor_of_this_device()])
    assert capsys.readouterr().out.count("is damaged") == 2
    assert len(gpu.builds) == 2


def test_an_engine_that_gives_no_numbers_or_does_not_run_is_no_candidate(
    graphs: dict[str, bytes], write: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    odd = {**graphs, "cpu.onnx": float_graph("Log"), "arm.onnx": b"no graph"}
    choice = choice_of(build(write(odd), provider="cpu"))
    assert choice is not None
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
    cache = build(path)
    plan = plan_of(cache)
    assert (plan.graph, plan.precision) == ("trt.onnx", "int8")
    assert plan.difference < 0.01
    assert plan.shapes["image"] == ((1, 8, 16, 16), SHAPE, (1, 8, 64, 96))
    assert gpu.builds[0]["profile"] == plan.shapes
    assert not gpu.buffers
    engine = open_engine(load_bundle(path))
    assert engine.describe()["file"] == PLAN
    image = np.random.default_rng(3).random((1, 8, 16, 96), np.float32)
    assert engine.run({"image": image})["maps"].shape == image.shape
    assert choice_of(cache) is not None
    assert "Building Engine" in capsys.readouterr().err


def test_a_plan_is_built_also_where_no_engine_suits_the_processor(
    gpu: tensorrt_double.Gpu,
    graphs: dict[str, bytes],
    write: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    cache = build(write({"trt.onnx": graphs["trt.onnx"]}))
    assert len(gpu.builds) == 1
    assert list(cache.entries()) == [GPU]
    assert "no engine is chosen: bundle" in capsys.readouterr().out


def test_a_plan_that_is_there_is_kept_and_measurements_are_used_again(
    gpu: tensorrt_double.Gpu,
    graphs: dict[str, bytes],
    write: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    path = write(graphs)
    first = build(path, provider="tensorrt").entries()
    assert list(first) == [GPU]
    assert build(path, provider="tensorrt").entries() == first
    assert f"{PLAN} is there already" in capsys.readouterr().out
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
    assert plan_of(build(path, provider="tensorrt")).graph == "fp32.onnx"


def test_a_plan_that_computes_something_else_stays_out(
    gpu: tensorrt_double.Gpu, graphs: dict[str, bytes], write: Callable[..., Path]
) -> None:
    path = write(graphs)
    gpu.off_by = 5.0
    with pytest.raises(EngineError, match=f"trt.onnx: {PLAN} is off by .* int8 explains 0.25"):
        build(path, provider="tensorrt")
    assert not DeviceCache(load_bundle(path)).entries()
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
    plan = plan_of(build(write(graphs), provider="tensorrt"))
    assert (plan.graph, plan.precision) == ("fp32.onnx", "fp32")
    assert "trt.onnx  " in (shown := capsys.readouterr().out)
    assert "no plan: TensorRT cannot parse the graph" in shown


def test_a_gpu_on_which_nothing_can_be_built_is_one_line(
    gpu: tensorrt_double.Gpu, graphs: dict[str, bytes], write: Callable[..., Path]
) -> None:
    gpu.has_builder = False
    with pytest.raises(EngineError, match=r"trt.onnx: TensorRT cannot build here: .* nullptr"):
        build(write(graphs), provider="tensorrt")


def test_another_compress_at_work_on_the_bundle_is_waited_for(
    graphs: dict[str, bytes], write: Callable[..., Path]
) -> None:
    path = write(graphs)
    cache = DeviceCache(load_bundle(path))
    cache.require_writable()
    with (
        alone_in(cache.folder, "the folder"),
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
        build(write(graphs, examples=()), provider="cpu")


def test_every_model_has_a_choice_and_a_plan_for_all_its_examples(
    gpu: tensorrt_double.Gpu,
    graphs: dict[str, bytes],
    write: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = {
        f"{model}/{file}": graphs[file]
        for model in ("net", "update")
        for file in ("fp32.onnx", "cpu.onnx")
    }
    edges = [{"image": (count, *SHAPE[1:])} for count in (2, 1, 6)]
    path = write(files, examples=edges)
    entries = build(path).entries()
    assert len(gpu.builds) == 2
    assert list(entries[processor_of_this_device()].choices) == ["net", "update"]
    plans = entries[GPU].plans
    assert {name: plan.graph for name, plan in plans.items()} == {
        "net": "net/fp32.onnx",
        "update": "update/fp32.onnx",
    }
    assert [shape[0] for shape in plans["update"].shapes["image"]] == [1, 2, 6]
    engines = open_engines(load_bundle(path), provider="tensorrt")
    for engine in engines.values():
        engine.warm_up()
    assert engines["net"].describe()["file"] == f"{GPU}/net.plan"

    capsys.readouterr()
    assert main(["inspect", str(path)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "models net, update" in shown
    assert "input image of update float32 (batch, 8, height, width)" in shown
    assert "net/cpu.onnx int8" in shown
    assert "update runs 1 times for a frame or decision" in shown


def test_a_plan_is_packed_for_another_robot_of_the_same_kind(
    gpu: tensorrt_double.Gpu,
    graphs: dict[str, bytes],
    write: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = write(graphs)
    packed, other = path.parent / "stick" / "orin.zip", path.parent / "other robot"
    with pytest.raises(BundleError, match=f"no plans for {GPU} to pack"):
        pack(path, packed)
    assert main(["build", str(path), "--provider", "tensorrt", "--pack", str(packed)]) == 0
    first = DeviceCache(load_bundle(path)).entries()

    monkeypatch.setenv("XDG_CACHE_HOME", str(other))
    assert open_engine(load_bundle(path)).describe()["provider"] == "cpu"
    capsys.readouterr()
    assert main(["build", str(path), "--unpack", str(packed)]) == 0
    shown = capsys.readouterr().out
    assert f"unpacked the plans of blob for {GPU}" in shown
    assert f"cache  {other}" in shown
    assert DeviceCache(load_bundle(path)).entries() == first
    assert open_engine(load_bundle(path)).describe()["file"] == PLAN
    assert len(gpu.builds) == 1

    with pytest.raises(SettingError, match=r"there is no .* --pack"):
        unpack(path, path.parent / "nothing")
    write(graphs, name="other")
    with pytest.raises(BundleError, match="is of the bundle"):
        unpack(path, packed)
    packed.write_bytes(packed.read_bytes()[:-30])
    with pytest.raises(BundleError, match="is damaged"):
        unpack(path, packed)


def test_a_robot_builds_without_torch_and_onnx() -> None:
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('torch', 'onnx', 'matplotlib', 'joblib')));"
        "import edge_compression.building, edge_runtime.engine"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
