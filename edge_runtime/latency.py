"""How long each stage of a frame took, and percentiles over the last frames."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}


class Stopwatch:
    """The stages of one frame: name -> milliseconds, in the order in which they first ran."""

    def __init__(self) -> None:
        """Start with no stage."""
        self.stages: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block; a stage that runs several times adds up. Nothing is kept if it raises."""
        start = time.perf_counter()
        yield
        self.add(name, (time.perf_counter() - start) * 1e3)

    def add(self, name: str, milliseconds: float) -> None:
        """Add a time measured elsewhere."""
        self.stages[name] = self.stages.get(name, 0.0) + milliseconds


class LatencyWindow:
    """Stage times of the last frames. One thread may add while another asks for percentiles."""

    def __init__(self, size: int) -> None:
        """Keep the last `size` values of every stage."""
        self._size = size
        self._values: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def add(self, stages: Mapping[str, float]) -> None:
        """Take the stages of one frame, in milliseconds."""
        with self._lock:
            for name, milliseconds in stages.items():
                self._values.setdefault(name, deque(maxlen=self._size)).append(milliseconds)

    def clear(self) -> None:
        """Forget all frames."""
        with self._lock:
            self._values.clear()

    def percentiles(self) -> dict[str, dict[str, float]]:
        """Return p50, p95, p99 and max in milliseconds by stage; empty before the first frame."""
        with self._lock:
            values = {name: np.array(times) for name, times in self._values.items()}
        return {
            name: dict(
                zip(
                    _QUANTILES,
                    np.quantile(times, list(_QUANTILES.values())).tolist(),
                    strict=True,
                )
            )
            for name, times in values.items()
        }
