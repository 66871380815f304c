"""The whole map refined beside tracking: loops are closed, and nothing waits for it."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from compressed_slam import se3
from compressed_slam.factor_graph import FactorGraph
from compressed_slam.priority import yield_processor
from compressed_slam.proximity import distance_table, nearby

if TYPE_CHECKING:
    from torch import Tensor

    from compressed_slam.keyframes import Keyframes
    from compressed_slam.matching import Operator
    from compressed_slam.settings import SlamSettings

_LOG = logging.getLogger(__name__)
_STEPS = 12
_SETTLED = 0.2  # map pixels, see `FactorGraph.changes`, under which an edge is matched no more
_LEAST_CONFIDENCE = 0.25  # median over neighbours, under which the networks know no better
_EDGES_PER_KEYFRAME = 16
_LM, _EP = 1e-5, 1e-2


@dataclass(frozen=True)
class Correction:
    """What the backend found.

    Attributes:
        map: that the run was begun for.
        ids: identities of the n keyframes that were in it.
        poses: (n, 7) theirs now.
        disps: (n, h, w) theirs now.
        metric: whether their scale means anything.
    """

    map: Keyframes
    ids: list[int]
    poses: Tensor
    disps: Tensor
    metric: bool

    def apply(self) -> Tensor:
        """Correct the map; keyframes that came since the run began move with the latest of it.

        Returns:
            (7,) motion of the world's axes: a world-to-camera pose, composed with it, is the
            corrected pose of a camera that moves with that latest keyframe.
        """
        keyframes = self.map
        rows = {identity: row for row, identity in enumerate(self.ids)}
        known = [row for row, identity in enumerate(keyframes.ids) if identity in rows]
        poses = self.poses[[rows[keyframes.ids[row]] for row in known]]
        disps = self.disps[[rows[keyframes.ids[row]] for row in known]]
        if not self.metric:
            # The scale is anything: what tracking stands on stays as deep as it is.
            scale = disps[-1].mean() / keyframes.disps[known[-1]].mean()
            disps = disps / scale
            before, after = (maps.mean(dim=(1, 2)) for maps in (keyframes.disps[known], disps))
            keyframes.scales[known] *= (before / after).cpu()
            poses = torch.cat([poses[:, :3] * scale, poses[:, 3:]], dim=1)
        motion = se3.compose(se3.inverse(keyframes.poses[known[-1]]), poses[-1])
        keyframes.poses[: len(keyframes)] = se3.compose(keyframes.poses[: len(keyframes)], motion)
        keyframes.poses[known] = poses
        keyframes.disps[known] = disps
        return motion


class Backend:
    """Refines copies of the keyframes in a thread of its own, one run at a time."""

    def __init__(
        self,
        settings: SlamSettings,
        operator: Operator,
        intrinsics: Tensor,
        baseline: Tensor | None,
        *,
        metric: bool,
        yields: bool = False,
    ) -> None:
        """Begin with nothing to do.

        Args:
            settings: see there.
            operator: finds out where pixels went.
            intrinsics: (4,) of the maps.
            baseline: see `Tracker`.
            metric: whether a sensor or a baseline gives the scale.
            yields: whether its thread lets the one that begins runs have the processor first.
        """
        self._settings = settings
        self._operator = operator
        self._intrinsics = intrinsics
        self._baseline = baseline
        self._metric = metric
        self._thread = ThreadPoolExecutor(1, "slam-backend", yield_processor if yields else None)
        self._closed = threading.Event()
        self._running: Future[Correction | None] | None = None

    @property
    def idle(self) -> bool:
        """Whether a run can begin."""
        return self._running is None

    @property
    def done(self) -> bool:
        """Whether a run has ended whose result was not taken yet."""
        running = self._running
        return running is not None and running.done()

    def begin(self, keyframes: Keyframes, *, thorough: bool = False) -> None:
        """Start a run on what is in memory now; a `thorough` one matches all edges in every step.

        Others stop matching those that have settled, which are most of them after a few steps.
        """
        settled = 0.0 if thorough else _SETTLED
        self._running = self._thread.submit(self._run, keyframes, keyframes.copy(), settled)

    def result(self, *, wait: bool = False) -> Correction | None:
        """Return what a run found, once, when it has ended; None if it found nothing.

        A run that failed (there may have been no memory left for it) is logged, and the next one
        tries again: tracking does not depend on it.
        """
        if self._running is None or not (wait or self._running.done()):
            return None
        done, self._running = self._running, None
        try:
            return done.result()
        except (RuntimeError, MemoryError):
            _LOG.exception("the backend failed; the map stays as tracking made it")
            return None

    def close(self) -> None:
        """End, after the present step of a run that is under way."""
        self._closed.set()
        self._thread.shutdown()

    def _run(self, original: Keyframes, keyframes: Keyframes, settled: float) -> Correction | None:
        count = len(keyframes)
        graph = self._graph(keyframes)
        free = torch.arange(count, device=self._intrinsics.device) >= 1
        solved = False
        for step in range(_STEPS):
            if self._closed.is_set():
                break
            solved |= graph.refine(free)
            if step == 0 and _unsure(graph):
                return None
            graph.deactivate(graph.changes < settled, 0)
        if not solved:
            return None
        poses, disps = keyframes.poses[:count], keyframes.disps[:count]
        return Correction(original, keyframes.ids, poses, disps, self._metric)

    def _graph(self, keyframes: Keyframes) -> FactorGraph:
        """All keyframes with all that see the same, as far as the edges go."""
        settings, count = self._settings, len(keyframes)
        graph = FactorGraph(
            keyframes,
            self._operator.matcher(lasting=False),
            self._intrinsics,
            self._baseline,
            depth_weight=settings.depth_weight,
            lm=_LM,
            ep=_EP,
        )
        distances = distance_table(
            keyframes.poses[:count],
            keyframes.disps[:count],
            self._intrinsics,
            beta=settings.beta,
        )
        stereo = [(row, row) for row in range(count) if keyframes.views[row].right is not None]
        room = min(_EDGES_PER_KEYFRAME * count, settings.max_backend_edges) - len(stereo)
        graph.add(nearby(distances, settings.backend, [], room) + stereo)
        return graph


def _unsure(graph: FactorGraph) -> bool:
    """Whether the networks are unsure even of keyframes that follow each other.

    Where features had to be matched anywhere, what tracking knows is better than their matches.
    """
    neighbours = (graph.ii - graph.jj).abs() == 1
    confidences = graph.confidences[neighbours]
    return bool(len(confidences)) and confidences.median().item() < _LEAST_CONFIDENCE
