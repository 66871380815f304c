"""The provider `tensorrt`; a stand-in takes the place of the hardware, and of nothing else."""

from __future__ import annotations

import gc
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tensorrt_double
from old_bundle import PLAN, make_old

from edge_runtime.bundle import Bundle, load_bundle, write_bundle
from edge_runtime.cuda import Gpu
from edge_runtime.device_cache import DeviceCache
from edge_runtime.engine import open_engine
from edge_runtime.errors import EngineError
from edge_runtime.findings import Plan
from edge_runtime.tensorrt_engine import TensorRTEngine
from edge_runtime.tensorrt_library import plan_device

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DEVICE = "orin-8mp-sm87-trt10.3.0"
NAME = f"{DEVICE}/brightness.plan"
PROFILE = {"image": [(1, 4, 4, 3), (1, 8, 8, 3), (1, 16, 16, 3)]}

pytestmark = pytest.mark.usefixtures("own_cache")


def image(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(0).random(shape, np.float32)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> tensorrt_double.Gpu:
    return tensorrt_double.install(monkeypatch)


@pytest.fixture
def plan(mean_graph: bytes) -> bytes:
    return tensorrt_double.make_plan(mean_graph, PROFILE)


@pytest.fixture
def planned(bundle_path: Path, plan: bytes) -> Bundle:
    """A bundle, and in the cache a plan of it for the stand-in's GPU."""
    return with_plan(bundle_path, plan)


def with_plan(path: Path, content: bytes, device: str = DEVICE) -> Bundle:
    bundle = load_bundle(path)
    plan = Plan.model_validate({**PLAN, "precision": "int8", "shapes": PROFILE})
    DeviceCache(bundle).keep_plan(device, "brightness", plan, content)
    return bundle


@pytest.mark.parametrize("layout", ["bindings", "cudart"])
def test_a_plan_of_this_device_is_taken_first(
    monkeypatch: pytest.MonkeyPatch, planned: Bundle, layout: str
) -> None:
    tensorrt_double.install(monkeypatch, layout=layout)
    engine = open_engine(planned)
    engine.warm_up()
    for side in (4, 16, 5):
        given = image(1, side, side, 3)
        np.testing.assert_allclose(engine.run({"image": given})["mean"], given.mean(), rtol=1e-6)
    assert engine.describe() == {
        "provider": "tensorrt",
        "precision": "int8",
        "file": NAME,
        "library": "tensorrt 10.3.0",
        "device": "Orin",
    }


def test_arrays_of_any_layout_are_copied_as_they_read(
    gpu: tensorrt_double.Gpu, planned: Bundle
) -> None:
    engine = open_engine(planned, provider="tensorrt")
    crop = image(1, 16, 16, 3)[:, 3:9, ::2]
    first = engine.run({"image": crop})["mean"]
    np.testing.assert_allclose(first, crop.mean(), rtol=1e-6)
    engine.run({"image": np.zeros_like(crop)})
    np.testing.assert_allclose(first, crop.mean(), rtol=1e-6)
    assert gpu.allocations == 2


def test_buffers_of_the_largest_shape_serve_all_and_go_with_the_engine(
    gpu: tensorrt_double.Gpu, planned: Bundle
) -> None:
    engine = open_engine(planned)
    for side in (8, 4, 16, 8):
        engine.run({"image": image(1, side, side, 3)})
    assert gpu.allocations == 2
    assert max(map(len, gpu.buffers.values())) == 16 * 16 * 3 * 4
    del engine
    gc.collect()
    assert not gpu.buffers
    assert not gpu.streams


def test_threads_have_contexts_of_their_own_and_as_many_as_run_at_once(
    gpu: tensorrt_double.Gpu, planned: Bundle
) -> None:
    engine = open_engine(planned)
    both = threading.Barrier(2, timeout=20)
    gpu.on_run = both.wait  # which lets nobody by before two threads run

    def run(seed: int) -> None:
        for side in (4, 16, 8):
            given = np.random.default_rng(seed).random((1, side, side, 3), np.float32)
            np.testing.assert_allclose(engine.run({"image": given})["mean"], given.mean(), 1e-5)

    for _ in range(2):
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(run, (1, 2)))
    assert (gpu.contexts, gpu.allocations) == (2, 4)
    engine.close()
    assert not gpu.buffers
    assert not gpu.streams


def test_a_state_that_is_fed_back_stays_on_the_gpu(
    gpu: tensorrt_double.Gpu, loop_graph: bytes
) -> None:
    profile = {name: [(1, 4), (3, 4), (8, 4)] for name in ("net", "inp")}
    engine = TensorRTEngine(tensorrt_double.make_plan(loop_graph, profile))
    for edges in (3, 8, 2):
        given = image(edges, 4)
        net: Any = np.zeros_like(given)
        inp = engine.put("inp", given)
        for step in range(1, 5):
            outputs, kept = engine.run_keeping({"net": net, "inp": inp}, ["next_net"])
            net = kept["next_net"]
            np.testing.assert_allclose(outputs["sum"], step * given.sum(1), rtol=1e-5)
        np.testing.assert_allclose(net.numpy(), 4 * given, rtol=1e-5)
    # One of the first net and of the sums each; of inp and the next net what was and what is.
    assert gpu.allocations == 6
    engine.close()
    np.testing.assert_allclose(net.numpy(), 4 * given, rtol=1e-5)
    del net, kept, inp
    gc.collect()
    assert not gpu.buffers
    with pytest.raises(EngineError, match="is closed"):
        engine.put("inp", given)


def test_what_is_kept_or_put_must_be_there(gpu: tensorrt_double.Gpu, planned: Bundle) -> None:
    engine = open_engine(planned)
    with pytest.raises(EngineError, match="has the outputs mean, none to keep is median"):
        engine.run_keeping({"image": image(1, 8, 8, 3)}, ["median"])
    with pytest.raises(EngineError, match="takes the inputs image, not picture"):
        engine.put("picture", image(1, 8, 8, 3))
    assert not gpu.buffers


def test_a_closed_engine_has_no_memory_and_says_so(gpu: tensorrt_double.Gpu, plan: bytes) -> None:
    engine = TensorRTEngine(plan)
    engine.warm_up()
    engine.close()
    engine.close()
    assert not gpu.buffers
    assert not gpu.streams
    with pytest.raises(EngineError, match="is closed"):
        engine.run({"image": image(1, 8, 8, 3)})


def test_a_plan_of_another_device_is_passed_over_with_what_to_do(
    gpu: tensorrt_double.Gpu, planned: Bundle, plan: bytes
) -> None:
    with_plan(planned.path, plan, "other")
    gpu.multiprocessors = 16
    engine = open_engine(planned)
    assert engine.describe()["provider"] == "cpu"
    reason = engine.describe()["passed_over"]
    assert "no plan of brightness for orin-16mp-sm87-trt10.3.0" in reason
    assert f"only {DEVICE}, other" in reason
    assert f"`compress build {planned.path}`" in reason
    with pytest.raises(EngineError, match="orin-16mp"):
        open_engine(planned, provider="tensorrt")


def test_a_plan_in_a_manifest_of_schema_2_is_taken_as_before(
    gpu: tensorrt_double.Gpu, bundle_path: Path, plan: bytes
) -> None:
    assert not gpu.buffers
    name = f"plans/{DEVICE}.plan"
    path = make_old(bundle_path, plan=plan, plans={name: {**PLAN, "precision": "int8"}})
    engine = open_engine(load_bundle(path), provider="tensorrt")
    engine.warm_up()
    assert engine.describe()["precision"] == "int8"
    gpu.multiprocessors = 16
    with pytest.raises(EngineError, match=f"only {name}"):
        open_engine(load_bundle(path), provider="tensorrt")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:-40]), "is damaged"),
        (
            lambda file: file.write_bytes(file.read_bytes().replace(b"plan{", b"plan[", 1)),
            "damaged",
        ),
        (lambda file: file.write_bytes(b""), "is damaged"),
        (lambda file: file.with_name("other.zip").rename(file), "is of other"),
        (lambda file: (file.unlink(), os.mkfifo(file)), "not a regular file"),
    ],
)
@pytest.mark.timeout(20)
def test_a_damaged_or_foreign_plan_in_the_cache_is_passed_over_in_one_line(
    gpu: tensorrt_double.Gpu,
    planned: Bundle,
    plan: bytes,
    damage: Callable[[Path], None],
    words: str,
) -> None:
    assert not gpu.buffers
    with_plan(planned.path, plan, "other")
    damage(DeviceCache(planned).folder / f"{DEVICE}.zip")
    engine = open_engine(planned)
    assert engine.describe()["provider"] == "cpu"
    assert words in engine.describe()["passed_over"]
    assert "\n" not in engine.describe()["passed_over"]


def test_a_plan_is_of_one_bundle_only(
    gpu: tensorrt_double.Gpu,
    planned: Bundle,
    make_manifest: Callable[..., Any],
    mean_graph: bytes,
    own_cache: Path,
) -> None:
    assert not gpu.buffers
    other = write_bundle(planned.path, make_manifest(name="other"), {"fp32.onnx": mean_graph})
    with pytest.raises(EngineError, match=r"no plan of brightness .* only none"):
        open_engine(other, provider="tensorrt")
    (own_cache / planned.digest).rename(own_cache / other.digest)
    with pytest.raises(EngineError, match=f"of the bundle {planned.digest[:12]}"):
        open_engine(other, provider="tensorrt")


@pytest.mark.parametrize(
    ("version", "capability", "name"),
    [("10.7.0", (8, 7), b"Orin"), ("10.3.0", (10, 1), b"Orin"), ("10.3.0", (8, 7), b"Thor")],
)
def test_version_capability_and_name_must_match(
    monkeypatch: pytest.MonkeyPatch,
    planned: Bundle,
    version: str,
    capability: tuple[int, int],
    name: bytes,
) -> None:
    gpu = tensorrt_double.install(monkeypatch, version)
    gpu.capability, gpu.name = capability, name
    with pytest.raises(EngineError, match="compress build"):
        open_engine(planned, provider="tensorrt")


def test_names_of_gpus_become_names_of_files() -> None:
    gpu = Gpu("NVIDIA GeForce RTX 3080 (Ti)/x", 68, (8, 6))
    wanted = "nvidia-geforce-rtx-3080-ti-x-68mp-sm86-trt10.16.1.11"
    assert plan_device(gpu, "10.16.1.11") == wanted


def test_a_bundle_without_plans_says_so(gpu: tensorrt_double.Gpu, bundle_path: Path) -> None:
    assert gpu.name == b"Orin"
    with pytest.raises(EngineError, match=f"for {DEVICE} is known, only none: `compress build"):
        open_engine(load_bundle(bundle_path), provider="tensorrt")


def test_another_precision_than_the_plans_is_refused(
    gpu: tensorrt_double.Gpu, planned: Bundle
) -> None:
    assert not gpu.buffers
    with pytest.raises(EngineError, match=r"is int8, not fp16"):
        open_engine(planned, provider="tensorrt", precision="fp16")
    assert open_engine(planned, precision="fp32").describe()["provider"] == "cpu"


def test_a_plan_that_tensorrt_refuses_is_one_line_with_its_reason(
    gpu: tensorrt_double.Gpu, bundle_path: Path
) -> None:
    bundle = with_plan(bundle_path, b"rubbish")
    with pytest.raises(EngineError) as caught:
        open_engine(bundle, provider="tensorrt")
    assert f"{NAME} cannot be loaded by TensorRT (Serialization assertion" in str(caught.value)
    assert "odd" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert open_engine(bundle).describe()["provider"] == "cpu"
    assert not gpu.streams


def test_shapes_outside_the_plans_range_are_refused_with_the_range(
    gpu: tensorrt_double.Gpu, planned: Bundle
) -> None:
    engine = open_engine(planned)
    engine.warm_up()
    with pytest.raises(EngineError, match=r"from \(1, 4, 4, 3\) to \(1, 16, 16, 3\), not \(1, 32"):
        engine.run({"image": image(1, 32, 8, 3)})
    with pytest.raises(EngineError, match=r"float32 .*, not float64"):
        engine.run({"image": np.zeros((1, 8, 8, 3))})
    given = image(1, 8, 8, 3)
    np.testing.assert_allclose(engine.run({"image": given})["mean"], given.mean(), rtol=1e-6)
    assert len(gpu.buffers) == 2


@pytest.mark.parametrize(
    ("function", "status", "name"),
    [
        ("cudaMalloc", 2, "cudaErrorMemoryAllocation"),
        ("cudaMemcpyAsync", 700, "cudaErrorIllegalAddress"),
        ("cudaStreamSynchronize", 700, "cudaErrorIllegalAddress"),
    ],
)
def test_errors_of_cuda_are_one_line_and_the_next_frame_may_succeed(
    gpu: tensorrt_double.Gpu, planned: Bundle, function: str, status: int, name: str
) -> None:
    engine = open_engine(planned)
    gpu.failing = {function: status}
    with pytest.raises(EngineError, match=f"^CUDA's {function} failed: {name}$"):
        engine.run({"image": image(1, 8, 8, 3)})
    gpu.failing = {}
    given = image(1, 8, 8, 3)
    np.testing.assert_allclose(engine.run({"image": given})["mean"], given.mean(), rtol=1e-6)


def test_a_run_that_tensorrt_refuses_carries_its_reason(
    gpu: tensorrt_double.Gpu, planned: Bundle
) -> None:
    engine = open_engine(planned)
    gpu.refuses_to_run = True
    with pytest.raises(EngineError, match=r"failed on image \(1, 8, 8, 3\) \(enqueueV3: a kernel"):
        engine.run({"image": image(1, 8, 8, 3)})


def test_a_plan_that_breaks_the_manifests_promise_is_refused(
    gpu: tensorrt_double.Gpu, tmp_path: Path, make_manifest: Callable[..., Any], plan: bytes
) -> None:
    manifest = make_manifest(outputs=[{"name": "median", "shape": ["batch"], "dtype": "float32"}])
    path = write_bundle(tmp_path / "b", manifest, {"fp32.onnx": b""}).path
    with pytest.raises(EngineError, match="promises median"):
        open_engine(with_plan(path, plan), provider="tensorrt")
    assert not gpu.streams


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("tensorrt", "TensorRT is not installed here: .*python3-libnvinfer"),
        ("cuda.bindings.runtime", "cuda-python is not installed here: pip install"),
    ],
)
def test_what_is_not_installed_is_named(
    gpu: tensorrt_double.Gpu,
    monkeypatch: pytest.MonkeyPatch,
    planned: Bundle,
    module: str,
    words: str,
) -> None:
    assert not gpu.buffers
    monkeypatch.setitem(sys.modules, module, None)  # importing it then fails
    with pytest.raises(EngineError, match=words) as caught:
        open_engine(planned, provider="tensorrt")
    assert "\n" not in str(caught.value)
    assert open_engine(planned).describe()["provider"] == "cpu"
