"""`compress build`: what can be made and found out only on the device that runs a bundle."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from edge_compression.agreement import difference, run_unoptimised, samples
from edge_compression.console import say, show, show_table
from edge_compression.measure import latencies
from edge_compression.tensorrt_builder import build_plan, profile_shapes
from edge_runtime.bundle import load_bundle
from edge_runtime.device_cache import DeviceCache, known_choice, old_plan
from edge_runtime.errors import BundleError, EngineError, SettingError
from edge_runtime.findings import Choice, Plan
from edge_runtime.host import describe_host, now
from edge_runtime.locking import alone_in
from edge_runtime.onnx_engine import OnnxEngine, processor_of_this_device
from edge_runtime.tensorrt_engine import TensorRTEngine
from edge_runtime.tensorrt_library import plan_of_this_device

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


def build(path: Path, *, provider: str | None = None, force: bool = False) -> DeviceCache:
    """Fit a bundle to this device, and print what was found out.

    On the processor, the ONNX engines of each model are timed in turns, and the fastest is noted as
    the choice for this kind of processor: which kernels for eight bits are fast differs between
    them (U8/S8 on x86 with VNNI, S8/S8 on Arm). On a GPU with TensorRT, plans are built. Each
    result goes into this device's cache as soon as it is there; the bundle stays as it is.

    Whether quantisation spoils the accuracy is not asked here, where no labelled data is: the
    export has evaluated every engine. Refused is an engine whose kernels on this device compute
    something else than its own graph says.

    Args:
        path: the bundle; it may be read-only.
        provider: "cpu" or "tensorrt"; None takes the processor, and TensorRT where it is there.
        force: also where the result is known already.

    Returns:
        What is in the cache then.

    Raises:
        SettingError: another provider, another `compress` is at work on the bundle, or the cache
            cannot be written.
        BundleError: see `load_bundle`.
        EngineError: TensorRT was asked for and is not there, of no graph a right plan can be built,
            or no engine can be used on the processor and no plan is built either.
    """
    if provider not in {None, *PROVIDERS}:
        message = f"unknown provider '{provider}': choose one of {', '.join(PROVIDERS)}"
        raise SettingError(message)
    bundle = load_bundle(path)
    cache = DeviceCache(bundle)
    cache.require_writable()
    with alone_in(cache.folder, f"the cache of bundle {path}"):
        _Building(bundle, cache, force=force).run(provider)
    return cache


def pack(path: Path, file: Path) -> None:
    """Write the plans for this device into a file, for other robots of the same kind.

    Raises:
        EngineError: there is no TensorRT here.
        BundleError: they were not built, or the cache is damaged.
        SettingError: the file cannot be written.
    """
    DeviceCache(load_bundle(path)).pack(plan_of_this_device(), file)


def unpack(path: Path, file: Path) -> DeviceCache:
    """Put what `pack` wrote into this device's cache.

    Raises:
        BundleError: the file is damaged, or of another bundle.
        SettingError: there is no such file, or the cache cannot be written.
    """
    cache = DeviceCache(load_bundle(path))
    entry = cache.unpack(file)
    show(f"unpacked the plans of {', '.join(entry.plans)} for {entry.device}")
    return cache


def show_cache(cache: DeviceCache) -> None:
    """Print where a cache lies, and what is in it."""
    show(f"\ncache  {cache.folder}")
    rows: list[Row] = []
    for device, entry in cache.entries().items():
        found = [
            (name, f"plan of {plan.graph}", plan.created) for name, plan in entry.plans.items()
        ]
        found += [
            (name, f"fastest is {choice.file}", choice.created)
            for name, choice in entry.choices.items()
        ]
        rows += [
            {"device": device, "model": name, "found out": what, "on": created}
            for name, what, created in found
        ]
    if rows:
        show_table(rows)


class _Building:
    """One turn of `build`; `rows` is what it prints at the end."""

    def __init__(self, bundle: Bundle, cache: DeviceCache, *, force: bool) -> None:
        self._bundle = bundle
        self._cache = cache
        self._force = force
        self._rows: list[Row] = []

    def run(self, provider: str | None) -> None:
        try:
            device = None if provider == "cpu" else _gpu(provider)
            if provider != "tensorrt":
                try:
                    for model in self._bundle.manifest.models:
                        self._choose(model)
                except EngineError as error:
                    if device is None:
                        raise
                    show(f"no engine is chosen: {error}")
            if device is not None:
                for model in self._bundle.manifest.models:
                    self._plan(model, device)
        finally:
            if self._rows:
                show_table(self._rows)

    def _choose(self, model: str) -> None:
        """Time the engines for the processor and note the fastest."""
        host, device = describe_host(), processor_of_this_device()
        if not self._force:
            known, passed_over = known_choice(self._bundle, model, device, host["cpu"])
            if passed_over:
                show(passed_over)
            if known:
                show(f"{known} was the fastest on {host['cpu']} before; --force times again")
                return
        inputs = samples(self._bundle, model)
        engines: dict[str, OnnxEngine] = {}
        refused: dict[str, str] = {}
        flavours = self._bundle.manifest.models[model].flavours
        for file in (flavours[name] for name in _FOR_CPU if name in flavours):
            try:
                engines[file] = self._for_this_processor(model, file, inputs)
            except EngineError as error:  # noqa: PERF203 - three turns
                refused[file] = str(error)
        if not engines:
            reasons = "; ".join(refused.values()) or f"none of {', '.join(_FOR_CPU)}"
            message = f"bundle {self._bundle.path} has no engine for this processor: {reasons}"
            raise EngineError(message)
        say(f"timing {', '.join(engines)}")
        times = latencies(
            {file: partial(engine.run, inputs[0]) for file, engine in engines.items()}
        )
        medians = {file: percentiles["p50"] for file, percentiles in times.items()}
        fastest = min(medians, key=medians.__getitem__)
        for file, engine in engines.items():
            note = "taken on this processor" if file == fastest else ""
            self._rows.append(_row(file, engine.describe()["precision"], times[file], note))
        self._rows += [{"engine": f, "note": f"refused: {why}"} for f, why in refused.items()]
        choice = Choice(
            file=fastest,
            latency_ms=medians,
            library=engines[fastest].describe()["library"],
            host=host,
            created=now(),
        )
        self._require_same_bundle()
        self._cache.keep_choice(device, model, choice)

    def _for_this_processor(self, model: str, file: str, inputs: Sequence[Arrays]) -> OnnxEngine:
        graph, described = self._bundle.path / file, self._bundle.manifest.models[model]
        engine = OnnxEngine.from_file(
            graph,
            precision=described.engines[file].precision,
            examples=described.examples,
            described={"file": file},
        )
        difference(engine, inputs, run_unoptimised(graph, inputs))
        return engine

    def _plan(self, model: str, device: str) -> None:
        """Build a model's plan for this device, check it, and put it into the cache.

        It is of the first graph, from eight bits to float32, that can be built and computes right.
        """
        name = f"{device}/{model}.plan"
        if not self._force and self._is_there(model, device):
            show(f"{name} is there already; --force builds it again")
            return
        flavours = self._bundle.manifest.models[model].flavours
        files = [flavours[each] for each in _FOR_TENSORRT if each in flavours]
        if not files:
            message = (
                f"bundle {self._bundle.path} has none of {', '.join(_FOR_TENSORRT)} to build a "
                "plan of"
            )
            raise EngineError(message)
        refused: dict[str, str] = {}
        for file in files:
            try:
                plan, content = self._plan_of(model, file, device)
            except EngineError as error:
                # Some GPUs have no kernels for some eight-bit operators; all have half precision.
                refused[file] = str(error)
                continue
            self._rows.append(_row(name, plan.precision, plan.latency_ms, "taken on this GPU"))
            self._rows += [{"engine": f, "note": f"no plan: {why}"} for f, why in refused.items()]
            self._require_same_bundle()
            self._cache.keep_plan(device, model, plan, content)
            return
        raise EngineError("; ".join(f"{file}: {reason}" for file, reason in refused.items()))

    def _is_there(self, model: str, device: str) -> bool:
        try:
            cached = self._cache.plan(device, model)
        except BundleError as error:
            show(str(error))
            return False
        return cached is not None or bool(old_plan(self._bundle, device))

    def _plan_of(self, model: str, file: str, device: str) -> tuple[Plan, bytes]:
        described, name = self._bundle.manifest.models[model], f"{device}/{model}.plan"
        precision = described.engines[file].precision
        inputs = samples(self._bundle, model)
        # Before the build: a plan that can be compared with nothing is not worth the minutes.
        expected = run_unoptimised(self._bundle.path / file, inputs)
        shapes = profile_shapes(described.inputs, described.examples)
        say(f"building {name} of {file}")
        content = build_plan((self._bundle.path / file).read_bytes(), shapes, device)
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
            created=now(),
        )
        return plan, content

    def _require_same_bundle(self) -> None:
        """Refuse to note of one bundle what was found out about files of another."""
        if load_bundle(self._bundle.path).digest != self._bundle.digest:
            message = f"bundle {self._bundle.path} was made anew meanwhile: build it again"
            raise SettingError(message)


def _gpu(provider: str | None) -> str | None:
    try:
        return plan_of_this_device()
    except EngineError as error:
        if provider is not None:
            raise
        show(f"no plan is built: {error}")
        return None


def _row(name: str, precision: str, times: dict[str, float], note: str) -> Row:
    shown = {f"{percentile} ms": round(value, 2) for percentile, value in times.items()}
    return {"engine": name, "precision": precision, **shown, "note": note}
