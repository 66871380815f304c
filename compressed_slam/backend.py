"""The whole map refined beside tracking: loops are closed, and nothing waits for it."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from compressed_slam import se3
from compressed_slam.factor_graph import FactorGraph
from compressed_slam.proximity import distance_table, nearby

if TYPE_CHECKING:
    from torch import Tensor

    from compressed_slam.keyframes import Keyframes
    from compressed_slam.matching import Operator
    from compressed_slam.settings import SlamSettings

_STEPS = 12
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
        motion: (7,) of the world's axes: a world-to-camera pose, composed with it, is the corrected
            pose of a camera that moves with the latest keyframe of the run.
    """

    map: Keyframes
    ids: list[int]
    poses: Tensor
    disps: Tensor
    motion: Tensor

    def apply(self) -> None:
        """Correct the map; keyframes that came since the run began move with the latest of it."""
        keyframes = self.map
        rows = {identity: row for row, identity in enumerate(self.ids)}
        for row, identity in enumerate(keyframes.ids):
            if identity in rows:
                keyframes.poses[row] = self.poses[rows[identity]]
                keyframes.disps[row] = self.disps[rows[identity]]
            else:
                keyframes.poses[row] = se3.compose(keyframes.poses[row], self.motion)


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
    ) -> None:
        """`metric`: whether a sensor or a baseline gives the scale."""
        self._settings = settings
        self._operator = operator
        self._intrinsics = intrinsics
        self._baseline = baseline
        self._metric = metric
        self._thread = ThreadPoolExecutor(1, "slam-backend")
        self._running: Future[Correction | None] | None = None

    @property
    def idle(self) -> bool:
        """Whether a run can begin."""
        return self._running is None

    def begin(self, keyframes: Keyframes) -> None:
        """Start a run on what is in memory now."""
        self._running = self._thread.submit(self._run, keyframes, keyframes.copy())

    def result(self, *, wait: bool = False) -> Correction | None:
        """Return what a run found, once, when it has ended; None also if it could not be solved."""
        if self._running is None or not (wait or self._running.done()):
            return None
        done, self._running = self._running, None
        return done.result()

    def close(self) -> None:
        """End; a run that is under way is waited for."""
        self._thread.shutdown()

    def _run(self, original: Keyframes, keyframes: Keyframes) -> Correction | None:
        count = len(keyframes)
        before = keyframes.poses[count - 1].clone()
        depth = keyframes.disps[count - 1].mean()
        graph = self._graph(keyframes)
        free = torch.arange(count, device=self._intrinsics.device) >= 1
        if not all(graph.refine(free) for _ in range(_STEPS)):
            return None
        if not self._metric:
            # The scale is anything; what tracking stands on stays as deep as it was.
            scale = keyframes.disps[count - 1].mean() / depth
            keyframes.disps /= scale
            keyframes.poses[:, :3] *= scale
        after = keyframes.poses[count - 1]
        return Correction(
            original,
            keyframes.ids,
            keyframes.poses[:count],
            keyframes.disps[:count],
            se3.compose(se3.inverse(before), after),
        )

    def _graph(self, keyframes: Keyframes) -> FactorGraph:
        """All keyframes with all that see the same, as far as the edges go."""
        settings, count = self._settings, len(keyframes)
        graph = FactorGraph(
            keyframes,
            self._operator.matcher(many=True),
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
