from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pytest
from old_bundle import CHOICE, make_old

from edge_runtime.bundle import Bundle, Model, TensorSpec, load_bundle, write_bundle
from edge_runtime.device_cache import DeviceCache
from edge_runtime.engine import open_engine, open_engines
from edge_runtime.errors import BundleError, EngineError, SettingError
from edge_runtime.findings import Choice
from edge_runtime.host import describe_host, resident_bytes
from edge_runtime.onnx_engine import OnnxEngine, processor_of_this_device

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("own_cache")

HAS_CUDA = "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def test_a_bundle_runs_at_any_size_it_promises(bundle_path: Path) -> None:
    engine = open_engine(load_bundle(bundle_path), provider="cpu", threads=1)
    engine.warm_up()
    for shape in [(1, 4, 6, 3), (2, 9, 5, 3)]:
        image = np.random.default_rng(0).random(shape, np.float32)
        mean = engine.run({"image": image})["mean"]
        np.testing.assert_allclose(mean, image.mean(axis=(1, 2, 3)), rtol=1e-5)
    described = engine.describe()
    assert described["provider"] == "cpu"
    assert (described["precision"], described["file"]) == ("fp32", "fp32.onnx")


def test_it_is_tried_out_on_the_shapes_of_the_bundles_examples_the_largest_first(
    bundle_path: Path, make_manifest: Callable[..., Any], mean_graph: bytes
) -> None:
    def tried(*shapes: tuple[int, ...]) -> None:
        examples = [{"image": shape} for shape in shapes]
        write_bundle(bundle_path, make_manifest(examples=examples), {"fp32.onnx": mean_graph})
        open_engine(load_bundle(bundle_path)).warm_up()

    tried((1, 4, 4, 3), (2, 8, 8, 3))
    with pytest.raises(EngineError, match=r"not float32 \(1, 4, 4, 5\)"):
        tried((1, 8, 8, 3), (1, 4, 4, 5))
    with pytest.raises(EngineError, match=r"fp32\.onnx cannot be tried out .*10000000"):
        tried((1, 4, 4, 5), (1, 10**7, 10**7, 3))


@pytest.fixture
def three(
    tmp_path: Path, make_manifest: Callable[..., Any], mean_graph: bytes, loop_graph: bytes
) -> Bundle:
    """A bundle of two networks for images, and one for a changing number of edges."""
    one = make_manifest().model
    edges = {"shape": ("edges", 4), "dtype": "float32"}
    engines = {"update/fp32.onnx": one.engines["fp32.onnx"]}
    update = Model(
        inputs=[TensorSpec(name=name, **edges) for name in ("net", "inp")],
        outputs=[TensorSpec(name="next_net", **edges)],
        engines=engines,
        examples=[{"net": (n, 4), "inp": (n, 4)} for n in (64, 1, 4000)],
        calls=4,
    )
    of_images = {
        name: one.model_copy(update={"engines": {f"{name}/fp32.onnx": one.engines["fp32.onnx"]}})
        for name in ("fnet", "cnet")
    }
    manifest = make_manifest(models={**of_images, "update": update})
    files = {f"{name}/fp32.onnx": mean_graph for name in of_images}
    return write_bundle(tmp_path / "three", manifest, {**files, "update/fp32.onnx": loop_graph})


def test_each_model_of_a_bundle_has_an_engine(three: Bundle) -> None:
    engines = open_engines(load_bundle(three.path), provider="cpu", threads=1)
    assert {name: engine.describe()["file"] for name, engine in engines.items()} == {
        name: f"{name}/fp32.onnx" for name in ("fnet", "cnet", "update")
    }
    with pytest.raises(BundleError, match="fnet, cnet, update, where one is expected"):
        open_engine(three)
    with pytest.raises(EngineError, match=r"^fnet of bundle .* cannot run here"):
        open_engines(three, precision="int8")
    for engine in engines.values():
        engine.warm_up()
        engine.close()
    with pytest.raises(EngineError, match=r"fnet/fp32\.onnx is closed"):
        engines["fnet"].run({"image": np.ones((1, 2, 2, 3), np.float32)})


def test_threads_share_the_engines_while_shapes_change_and_memory_does_not_grow(
    three: Bundle,
) -> None:
    engines = open_engines(three, provider="cpu", threads=1)
    for engine in engines.values():
        engine.warm_up()

    def work(seed: int, rounds: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(rounds):
            count = int(rng.integers(1, 4000))
            image = rng.random((1, 1 + count % 50, 40, 3), np.float32)
            mean = engines["fnet"].run({"image": image})["mean"]
            np.testing.assert_allclose(mean, image.mean(axis=(1, 2, 3)), rtol=1e-5)
            given = rng.random((count, 4), np.float32)
            inp, net = engines["update"].put("inp", given), np.zeros_like(given)
            for step in range(1, 4):
                outputs, kept = engines["update"].run_keeping(
                    {"net": net, "inp": inp}, ["next_net"]
                )
                net = kept["next_net"]
                np.testing.assert_allclose(outputs["sum"], step * given.sum(1), rtol=1e-5)
            del kept
            result = net.numpy()
            assert np.shares_memory(result, net.numpy())  # no copy on the processor
            del net
            np.testing.assert_allclose(result, 3 * given, rtol=1e-5)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, (1, 2), (100, 100)))
        before = resident_bytes()
        list(pool.map(work, (3, 4), (400, 400)))
    assert resident_bytes() - before < 2 * 1024**2


def test_answers_that_are_not_finite_are_a_failure(bundle_path: Path) -> None:
    run = open_engine(load_bundle(bundle_path)).run
    image = np.ones((1, 4, 4, 3), np.float32)
    run({"image": image})
    for value in (np.nan, np.inf):
        image[0, 2, 1, 0] = value
        with pytest.raises(EngineError, match=r"fp32\.onnx answers NaN or infinite .*'mean'"):
            run({"image": image})


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"picture": np.zeros((1, 4, 4, 3), np.float32)}, ["image", "picture"]),
        ({}, ["image"]),
        ({"image": np.zeros((1, 4, 4, 3))}, ["float32", "float64"]),
        ({"image": np.zeros((1, 4, 4), np.float32)}, ["(1, 4, 4)", "height, width, 3"]),
        ({"image": np.zeros((1, 4, 4, 1), np.float32)}, ["(1, 4, 4, 1)"]),
        ({"image": np.zeros((1, 0, 4, 3), np.float32)}, ["(1, 0, 4, 3)"]),
    ],
)
def test_inputs_that_do_not_fit_are_refused_in_one_line(
    bundle_path: Path, inputs: dict[str, Any], words: list[str]
) -> None:
    engine = open_engine(load_bundle(bundle_path), provider="cpu")
    with pytest.raises(EngineError) as caught:
        engine.run(inputs)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_unknown_providers_and_missing_precisions_are_refused(bundle_path: Path) -> None:
    bundle = load_bundle(bundle_path)
    with pytest.raises(SettingError, match=r"'tpu'.*auto, tensorrt, cuda, cpu"):
        open_engine(bundle, provider="tpu")
    with pytest.raises(EngineError, match=r"int8, only fp32\.onnx \(fp32\)"):
        open_engine(bundle, provider="cpu", precision="int8")


@pytest.mark.skipif(HAS_CUDA, reason="shows what happens without CUDA")
def test_auto_says_why_others_were_passed_over(bundle_path: Path) -> None:
    bundle = load_bundle(bundle_path)
    reasons = open_engine(bundle).describe()["passed_over"]
    assert reasons.index("tensorrt: TensorRT is not installed here") < reasons.index("cuda: ")
    assert "onnxruntime-gpu" in reasons
    with pytest.raises(EngineError, match="onnxruntime-gpu"):
        open_engine(bundle, provider="cuda")


@pytest.mark.gpu
@pytest.mark.skipif(not HAS_CUDA, reason="needs CUDA")
def test_cuda_agrees_with_the_processor(bundle_path: Path) -> None:
    bundle = load_bundle(bundle_path)
    image = np.random.default_rng(0).random((1, 48, 64, 3), np.float32)
    results = [
        open_engine(bundle, provider=p).run({"image": image})["mean"] for p in ("cpu", "cuda")
    ]
    np.testing.assert_allclose(*results, rtol=1e-4)


@pytest.fixture
def several(tmp_path: Path, make_manifest: Callable[..., Any], mean_graph: bytes) -> Path:
    """A bundle with every flavour, all of them the same graph."""
    figures = {"parameters": 0, "macs": 0, "bytes": 0, "accuracy": {}, "latency_ms": {}}
    precisions = {"fp32.onnx": "fp32", "fp16.onnx": "fp16"}
    precisions |= {"cpu.onnx": "int8", "trt.onnx": "int8"}
    engines = {name: {**figures, "precision": kind} for name, kind in precisions.items()}
    files = dict.fromkeys(engines, mean_graph)
    return write_bundle(tmp_path / "several", make_manifest(engines=engines), files).path


def taken(path: Path, precision: str | None = None) -> str:
    engine = open_engine(load_bundle(path), provider="cpu", precision=precision)
    return engine.describe()["file"]


def chosen(path: Path, device: str, file: str) -> None:
    choice = Choice.model_validate({**CHOICE, "file": file})
    DeviceCache(load_bundle(path)).keep_choice(device, "brightness", choice)


def test_the_processor_takes_what_was_found_the_fastest_on_its_kind(
    several: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (taken(several), taken(several, "fp32")) == ("cpu.onnx", "fp32.onnx")
    chosen(several, "another-processor", "fp32.onnx")
    assert taken(several) == "cpu.onnx"
    chosen(several, processor_of_this_device(), "trt.onnx")
    assert (taken(several), taken(several, "int8")) == ("trt.onnx", "trt.onnx")
    assert taken(several, "fp32") == "fp32.onnx"
    # Only when it is asked for.
    assert taken(several, "fp16") == "fp16.onnx"
    monkeypatch.setattr(onnxruntime, "__version__", "1.0.0")
    assert taken(several) == "cpu.onnx"


def test_a_choice_in_a_manifest_of_schema_2_holds_until_the_cache_has_another(
    several: Path,
) -> None:
    make_old(several, choices={describe_host()["cpu"]: {**CHOICE, "file": "trt.onnx"}})
    assert taken(several) == "trt.onnx"
    chosen(several, processor_of_this_device(), "fp32.onnx")
    assert taken(several) == "fp32.onnx"


def test_a_choice_that_cannot_be_used_is_passed_over_in_one_line(
    several: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def passed_over() -> str:
        description = open_engine(load_bundle(several), provider="cpu").describe()
        assert description["file"] == "cpu.onnx"
        return description["passed_over"]

    chosen(several, processor_of_this_device(), "lost.onnx")
    assert "the bundle has no lost.onnx" in passed_over()
    chosen(several, processor_of_this_device(), "fp32.onnx")
    [file] = own_cache.rglob("*.zip")
    file.write_bytes(b"PK")
    assert f"{file} is damaged" in passed_over()
    assert "\n" not in passed_over()
    for name in ("XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    assert "set XDG_CACHE_HOME" in passed_over()


def test_an_engine_without_optimisations_computes_the_same(mean_graph: bytes) -> None:
    image = np.random.default_rng(0).random((1, 4, 5, 3), np.float32)
    results = [
        OnnxEngine.from_file(mean_graph, disable_optimisations=disable_optimisations).run(
            {"image": image}
        )["mean"]
        for disable_optimisations in (False, True)
    ]
    np.testing.assert_allclose(*results, rtol=1e-6)


def test_a_graph_that_breaks_the_manifests_promise_is_refused(
    tmp_path: Path, make_manifest: Callable[..., Any], mean_graph: bytes
) -> None:
    promised = [TensorSpec(name="image", shape=("batch", "height", "width", 4), dtype="float32")]
    bundle = write_bundle(tmp_path / "b", make_manifest(inputs=promised), {"fp32.onnx": mean_graph})
    with pytest.raises(EngineError, match="promises image"):
        open_engine(bundle)


def test_a_graph_that_is_none_is_refused_in_one_line(tmp_path: Path) -> None:
    for graph in (b"no graph", tmp_path / "missing.onnx"):
        with pytest.raises(EngineError, match="cannot be loaded") as caught:
            OnnxEngine.from_file(graph)
        assert "\n" not in str(caught.value)


def test_a_graph_in_memory_tells_its_shapes(mean_graph: bytes) -> None:
    engine = OnnxEngine.from_file(mean_graph, threads=1)
    assert engine.inputs == [
        TensorSpec(name="image", shape=("batch", "height", "width", 3), dtype="float32")
    ]
    assert engine.describe()["threads"] == "1"
