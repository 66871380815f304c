"""A network that can be run, whatever runs it; providers are tried in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from edge_runtime import onnx_engine, tensorrt_engine
from edge_runtime.errors import EngineError, SettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from edge_runtime.bundle import Bundle

    Provider = Callable[[Bundle, int, str | None], "Engine"]
    """Opens (bundle, threads, precision); raises EngineError with the reason if it cannot."""

AUTO = "auto"


class Engine(Protocol):
    """A loaded network. One thread runs it at a time."""

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return every output by name.

        Raises:
            EngineError: a name, dtype or shape that the manifest does not allow, a failure of the
                run-time library, or outputs that are not finite.

        """
        ...

    def warm_up(self) -> None:
        """Run once on zeros of the bundle's example shapes: what fails there fails at the start.

        Nor does the first frame pay for set-up.

        Raises:
            EngineError: see `run`.

        """
        ...

    def describe(self) -> dict[str, str]:
        """Return what runs: provider, precision, file, threads, library."""
        ...


PROVIDERS: dict[str, Provider] = {
    "tensorrt": tensorrt_engine.open_tensorrt,
    "cuda": onnx_engine.open_cuda,
    "cpu": onnx_engine.open_cpu,
}


def open_engine(
    bundle: Bundle, provider: str = AUTO, threads: int = 0, precision: str | None = None
) -> Engine:
    """Open a bundle with the first provider that can, or with the one that is named.

    Args:
        bundle: as `load_bundle` returns it.
        provider: "auto" or a key of `PROVIDERS`.
        threads: of the processor; 0 takes every core this process may use.
        precision: "fp32", "fp16" or "int8" to choose among the bundle's engines; None takes what
            `compress build` found best on this device, else each provider's usual one.

    Returns:
        An engine whose `describe()` also says why others were passed over ("passed_over").

    Raises:
        SettingError: no such provider.
        EngineError: no provider can run the bundle; the message has each one's reason.

    """
    if provider != AUTO and provider not in PROVIDERS:
        allowed = ", ".join([AUTO, *PROVIDERS])
        msg = f"unknown provider {provider!r}: choose one of {allowed}"
        raise SettingError(msg)
    reasons = []
    for name in PROVIDERS if provider == AUTO else [provider]:
        try:
            engine = PROVIDERS[name](bundle, threads, precision)
        except EngineError as error:  # noqa: PERF203 - three turns
            reasons.append(f"{name}: {error}")
        else:
            return _Chosen(engine, "; ".join(reasons))
    msg = f"bundle {bundle.path} cannot run here: {'; '.join(reasons)}"
    raise EngineError(msg)


class _Chosen:
    """An engine whose answers are looked at, and that knows who was passed over for it, and why."""

    def __init__(self, engine: Engine, passed_over: str) -> None:
        self.warm_up = engine.warm_up
        self._engine = engine
        self._passed_over = passed_over

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return every output by name, all of them finite."""
        outputs = self._engine.run(inputs)
        for name, values in outputs.items():
            if not np.isfinite(values).all():
                msg = (
                    f"{self._engine.describe()['file']} answers NaN or infinite numbers in "
                    f"{name!r}: choose another precision, or build the bundle again"
                )
                raise EngineError(msg)
        return outputs

    def describe(self) -> dict[str, str]:
        """Return the engine's own description, and the reasons where there are any."""
        description = self._engine.describe()
        if self._passed_over:
            description["passed_over"] = self._passed_over
        return description
