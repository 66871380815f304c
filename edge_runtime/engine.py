"""A network that can be run, whatever runs it; providers are tried in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from edge_runtime import onnx_engine, tensorrt_engine
from edge_runtime.errors import EngineError, SettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from numpy.typing import NDArray

    from edge_runtime.bundle import Bundle
    from edge_runtime.device_array import DeviceArray, Tensor

    Provider = Callable[[Bundle, str, int, str | None], "Engine"]
    """Opens (bundle, model, threads, precision); raises EngineError, with why, if it cannot."""

AUTO = "auto"


class Engine(Protocol):
    """A loaded network. Several threads may run it at the same time."""

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return every output by name.

        Raises:
            EngineError: a name, dtype or shape that the manifest does not allow, a failure of the
                run-time library, outputs that are not finite, or the engine is closed.

        """
        ...

    def run_keeping(
        self, inputs: Mapping[str, Tensor], keep: Collection[str]
    ) -> tuple[dict[str, NDArray[Any]], dict[str, DeviceArray]]:
        """Run, and leave the outputs `keep` on the device, for loops that feed them back.

        Inputs may be what `put` or an earlier run left there; another device's are copied. A kept
        output is valid for as long as it is referenced, and what is in it is not looked at.

        Returns:
            The other outputs, and those that are kept, by name; errors as of `run`.

        """
        ...

    def put(self, name: str, array: NDArray[Any]) -> DeviceArray:
        """Bring an input to the device, for several runs; not to be changed until it is let go."""
        ...

    def warm_up(self) -> None:
        """Run once on zeros of each of the bundle's example shapes, the largest first.

        What fails there fails at the start, nor does the first frame pay for set-up and memory.

        Raises:
            EngineError: see `run`.

        """
        ...

    def describe(self) -> dict[str, str]:
        """Return what runs: provider, precision, file, threads, library."""
        ...

    def close(self) -> None:
        """Give back what the engine holds; it cannot be run after that."""
        ...


PROVIDERS: dict[str, Provider] = {
    "tensorrt": tensorrt_engine.open_tensorrt,
    "cuda": onnx_engine.open_cuda,
    "cpu": onnx_engine.open_cpu,
}


def open_engines(
    bundle: Bundle, provider: str = AUTO, threads: int = 0, precision: str | None = None
) -> dict[str, Engine]:
    """Open every model of a bundle with the first provider that can, or with the one named.

    Args:
        bundle: as `load_bundle` returns it.
        provider: "auto" or a key of `PROVIDERS`.
        threads: of the processor, of each engine; 0 takes every core this process may use.
        precision: "fp32", "fp16" or "int8" to choose among the bundle's engines; None takes what
            `compress build` found best on this device, else each provider's usual one.

    Returns:
        By model, engines whose `describe()` also says why others were passed over ("passed_over").

    Raises:
        SettingError: no such provider.
        EngineError: no provider can run a model; the message has each one's reason.

    """
    if provider != AUTO and provider not in PROVIDERS:
        allowed = ", ".join([AUTO, *PROVIDERS])
        msg = f"unknown provider {provider!r}: choose one of {allowed}"
        raise SettingError(msg)
    engines: dict[str, Engine] = {}
    try:
        for model in bundle.manifest.models:
            engines[model] = _open(bundle, model, provider, threads, precision)
    except EngineError:
        for engine in engines.values():
            engine.close()
        raise
    return engines


def describe_engines(engines: Mapping[str, Engine]) -> dict[str, str]:
    """Return what runs, as `Engine.describe`; of several engines, each key after its model."""
    told = {model: engine.describe() for model, engine in engines.items()}
    return {
        key if len(told) == 1 else f"{model} {key}": value
        for model, description in told.items()
        for key, value in description.items()
    }


def open_engine(
    bundle: Bundle, provider: str = AUTO, threads: int = 0, precision: str | None = None
) -> Engine:
    """Open a bundle of one model; otherwise as `open_engines`.

    Raises:
        BundleError: there are several models.

    """
    _ = bundle.manifest.model
    [engine] = open_engines(bundle, provider, threads, precision).values()
    return engine


def _open(bundle: Bundle, model: str, provider: str, threads: int, precision: str | None) -> Engine:
    reasons = []
    for name in PROVIDERS if provider == AUTO else [provider]:
        try:
            engine = PROVIDERS[name](bundle, model, threads, precision)
        except EngineError as error:  # noqa: PERF203 - three turns
            reasons.append(f"{name}: {error}")
        else:
            return _Chosen(engine, reasons)
    what = f"bundle {bundle.path}"
    if len(bundle.manifest.models) > 1:
        what = f"{model} of {what}"
    msg = f"{what} cannot run here: {'; '.join(reasons)}"
    raise EngineError(msg)


class _Chosen:
    """An engine whose answers are looked at, and that knows who was passed over for it, and why."""

    def __init__(self, engine: Engine, passed_over: list[str]) -> None:
        self.put = engine.put
        self.warm_up = engine.warm_up
        self.close = engine.close
        self._engine = engine
        self._passed_over = passed_over

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return every output by name, all of them finite."""
        return self._finite(self._engine.run(inputs))

    def run_keeping(
        self, inputs: Mapping[str, Tensor], keep: Collection[str]
    ) -> tuple[dict[str, NDArray[Any]], dict[str, DeviceArray]]:
        """Return the outputs that are not kept, all of them finite, and those that are."""
        outputs, kept = self._engine.run_keeping(inputs, keep)
        return self._finite(outputs), kept

    def describe(self) -> dict[str, str]:
        """Return the engine's own description, and the reasons where there are any."""
        description = self._engine.describe()
        own = description.pop("passed_over", "")
        if reasons := [*self._passed_over, *([own] if own else [])]:
            description["passed_over"] = "; ".join(reasons)
        return description

    def _finite(self, outputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        for name, values in outputs.items():
            if not np.isfinite(values).all():
                msg = (
                    f"{self._engine.describe()['file']} answers NaN or infinite numbers in "
                    f"{name!r}: choose another precision, or build the bundle again"
                )
                raise EngineError(msg)
        return outputs
