"""`compress build`: what can be made and found out only on the device that runs a bundle."""

from __future__ import annotations

from datetime import datetime, timezone
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from edge_compression.agreement import difference, literally, samples
from edge_compression.console import say, show, show_table
from edge_compression.measure import latencies
from edge_compression.tensorrt_builder import build_plan, profile_shapes
from edge_runtime.bundle import Choice, Plan, add_choice, add_plan, load_bundle
from edge_runtime.errors import EngineError, SettingError
from edge_runtime.host import describe_host
from edge_runtime.locking import alone_in
from edge_runtime.onnx_engine import OnnxEngine
from edge_runtime.tensorrt_engine import TensorRTEngine, plan_of_this_device

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge_compression.protocol import Arrays
    from edge_runtime.bundle import Bundle

PROVIDERS = ("cpu", "tensorrt")
"""Those for which there is something to build or to choose."""

_FOR_CPU = ("fp32.onnx", "cpu.onnx", "arm.onnx")
_FOR_TENSORRT = ("trt.onnx", "fp16.onnx", "fp32.onnx")

Row = dict[str, object]


def build(path: Path, *, provider: str | None = None, force: bool = False) -> Bundle:
    """Fit a bundle to this device, and print what was found out.

    On the processor, the ONNX engines are timed in turns, and the fastest is noted as the choice
    for this kind of processor: which kernels for eight bits are fast differs between them (U8/S8
    on x86 with VNNI, S8/S8 on Arm). On a GPU with TensorRT, a plan is built. Each result goes into
    the bundle as soon as it is there; until then the bundle stays as it was.

    Whether quantisation spoils the accuracy is not asked here, where no labelled data is: the
    export has judged every engine. Refused is an engine whose kernels on this device compute
    something else than its own graph says.

    Args:
        path: the bundle.
        provider: "cpu" or "tensorrt"; None takes the processor, and TensorRT where it is there.
        force: also where the bundle has the result for this device already.

    Raises:
        SettingError: another provider, or another `compress` is at work on the bundle.
        BundleError: see `load_bundle`.
        EngineError: TensorRT was asked for and is not there, of no graph a right plan can be built,
            or no engine can be used on the processor and no plan is built either.
    """
    if provider not in {None, *PROVIDERS}:
        message = f"unknown provider '{provider}': choose one of {', '.join(PROVIDERS)}"
        raise SettingError(message)
    load_bundle(path)  # if it is none, that is what is to be said
    with alone_in(path.resolve().parent, f"the folder of bundle {path}"):
        return _build(path, provider, force=force)


def _build(path: Path, provider: str | None, *, force: bool) -> Bundle:
    bundle = load_bundle(path)
    rows: list[Row] = []
    try:
        name = None if provider == "cpu" else _wanted_plan(provider)
        if provider != "tensorrt":
            try:
                bundle = _choose(bundle, rows, force=force)
            except EngineError as error:
                if name is None:
                    raise
                show(f"no engine is chosen: {error}")
        if name is not None:
            bundle = _plan(bundle, name, rows, force=force)
    finally:
        if rows:
            show_table(rows)
    return bundle


def _wanted_plan(provider: str | None) -> str | None:
    try:
        return plan_of_this_device()
    except EngineError as error:
        if provider is not None:
            raise
        show(f"no plan is built: {error}")
        return None


def _choose(bundle: Bundle, rows: list[Row], *, force: bool) -> Bundle:
    """Time the engines for the processor and note the fastest."""
    host = describe_host()
    known = bundle.manifest.choices.get(host["cpu"])
    if known is not None and not force:
        show(f"{known.file} was the fastest on {host['cpu']} before; --force times again")
        return bundle
    inputs = samples(bundle)
    engines: dict[str, OnnxEngine] = {}
    refused: dict[str, str] = {}
    for file in _FOR_CPU:
        if file in bundle.manifest.engines:
            try:
                engines[file] = _for_this_processor(bundle, file, inputs)
            except EngineError as error:
                refused[file] = str(error)
    if not engines:
        reasons = "; ".join(refused.values()) or f"none of {', '.join(_FOR_CPU)}"
        message = f"bundle {bundle.path} has no engine for this processor: {reasons}"
        raise EngineError(message)
    say(f"timing {', '.join(engines)}")
    times = latencies({file: partial(engine.run, inputs[0]) for file, engine in engines.items()})
    medians = {file: percentiles["p50"] for file, percentiles in times.items()}
    fastest = min(medians, key=medians.__getitem__)
    for file, engine in engines.items():
        note = "taken on this processor" if file == fastest else ""
        rows.append(_row(file, engine.describe()["precision"], times[file], note))
    rows += [{"engine": file, "note": f"refused: {reason}"} for file, reason in refused.items()]
    choice = Choice(
        file=fastest,
        latency_ms=medians,
        library=engines[fastest].describe()["library"],
        host=host,
        created=_now(),
    )
    return add_choice(bundle.path, host["cpu"], choice)


def _for_this_processor(bundle: Bundle, file: str, inputs: Sequence[Arrays]) -> OnnxEngine:
    graph = bundle.path / file
    engine = OnnxEngine.from_file(graph, precision=bundle.manifest.engines[file].precision)
    difference(engine, inputs, literally(graph, inputs))
    return engine


def _plan(bundle: Bundle, name: str, rows: list[Row], *, force: bool) -> Bundle:
    """Build the plan for this device, check it, and put it into the bundle.

    It is of the first graph, from eight bits to float32, that can be built and computes right.
    """
    if name in bundle.manifest.plans and not force:
        show(f"the bundle has {name} already; --force builds it again")
        return bundle
    files = [file for file in _FOR_TENSORRT if file in bundle.manifest.engines]
    if not files:
        message = f"bundle {bundle.path} has none of {', '.join(_FOR_TENSORRT)} to build a plan of"
        raise EngineError(message)
    refused: dict[str, str] = {}
    for file in files:
        try:
            plan, content = _plan_of(bundle, file, name)
        except EngineError as error:
            # Some GPUs have no kernels for some eight-bit operators; half precision runs on all.
            refused[file] = str(error)
            continue
        rows.append(_row(name, plan.precision, plan.latency_ms, "taken on this GPU"))
        rows += [{"engine": each, "note": f"no plan: {why}"} for each, why in refused.items()]
        return add_plan(bundle.path, name, plan, content)
    raise EngineError("; ".join(f"{file}: {reason}" for file, reason in refused.items()))


def _plan_of(bundle: Bundle, file: str, name: str) -> tuple[Plan, bytes]:
    precision = bundle.manifest.engines[file].precision
    inputs = samples(bundle)
    # Before the build, because a plan that can be compared with nothing is not worth the minutes.
    expected = literally(bundle.path / file, inputs)
    shapes = profile_shapes(bundle.manifest.inputs, bundle.manifest.example)
    say(f"building {name} of {file}")
    content = build_plan((bundle.path / file).read_bytes(), shapes, PurePosixPath(name).stem)
    engine = TensorRTEngine(content, precision, name)
    try:
        off = difference(engine, inputs, expected)
        times = latencies({name: partial(engine.run, inputs[0])})[name]
    finally:
        engine.close()
    plan = Plan(
        graph=file,
        precision=precision,
        shapes=dict(shapes),
        difference=off,
        latency_ms=times,
        host=describe_host(),
        created=_now(),
    )
    return plan, content


def _row(name: str, precision: str, times: dict[str, float], note: str) -> Row:
    shown = {f"{percentile} ms": round(value, 2) for percentile, value in times.items()}
    return {"engine": name, "precision": precision, **shown, "note": note}


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
