"""The map as it grows: keyframes are taken in and refined, loops closed, old ones retired."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from compressed_slam.backend import Backend
from compressed_slam.frontend import Frontend
from compressed_slam.keyframes import Keyframes, Placed
from compressed_slam.projection import frame_distance
from compressed_slam.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from compressed_slam.frame import Frame
    from compressed_slam.matching import Operator, View
    from compressed_slam.settings import SlamSettings


@dataclass(frozen=True)
class Candidate:
    """A frame that is to become a keyframe.

    Attributes:
        identity: that the keyframe gets, above those before it.
        frame: with its picture.
        view: of it.
        anchor: identity of the keyframe that its pose was found by; None for the first of a map.
        relative: (7,) its pose times the inverse of the anchor's; of the first its pose.
        scale: of the anchor then, as in `Keyframes`.
        partner: identity of an older keyframe that sees the same, where it does not follow those
            before it.
        anywhere: whether its pose was found by features matched anywhere.
    """

    identity: int
    frame: Frame
    view: View
    anchor: int | None
    relative: Tensor
    scale: float = 1.0
    partner: int | None = None
    anywhere: bool = False


class Mapper:
    """One map after the other, each of the keyframes that tracking gives it.

    One thread works at a time; `snapshot` and `correction_waits` may be read from any.

    Attributes:
        keyframes: of the present map.
        snapshot: of them, after the last thing that was done.
        first_map: the snapshot when the present map was started, or taken over; None before.
    """

    keyframes: Keyframes
    snapshot: Snapshot
    first_map: Snapshot | None

    def __init__(
        self,
        settings: SlamSettings,
        operator: Operator,
        intrinsics: Tensor,
        size: tuple[int, int],
        baseline: Tensor | None,
        *,
        metric: bool,
        live: bool,
    ) -> None:
        """Begin with an empty map.

        Args:
            settings: see there.
            operator: finds out where pixels went.
            intrinsics: (4,) of the maps.
            size: (h, w) of the maps.
            baseline: see `Tracker`.
            metric: whether a sensor or a baseline gives the scale.
            live: whether the refinement of the whole map yields to tracking.
        """
        self._settings = settings
        self._operator = operator
        self._intrinsics = intrinsics
        self._size = size
        self._baseline = baseline
        self._metric = metric
        self._backend = Backend(
            settings, operator, intrinsics, baseline, metric=metric, yields=live
        )
        self._since_backend = 0
        self._number = self._newest = -1
        self.begin_map()

    @property
    def correction_waits(self) -> bool:
        """Whether the backend has found something that is still to be applied."""
        return self._backend.done

    def begin_map(self, saved: Keyframes | None = None) -> None:
        """Give the present map up for an empty one, or for the keyframes of one that was saved."""
        self._number += 1
        if saved is None:
            most, device = self._settings.max_keyframes, self._intrinsics.device
            saved = Keyframes(most, self._size, device=device)
        self.keyframes = saved
        self._frontend = Frontend(
            self._settings, self.keyframes, self._operator, self._intrinsics, self._baseline
        )
        self.first_map = None
        if len(saved):
            self._newest = saved.ids[-1]
            self.first_map = Snapshot.of(saved, self._number, self._newest, started=True)
        self._tell()

    def take_in(self, candidate: Candidate, behind: Callable[[], bool] = lambda: False) -> None:
        """Make a keyframe, and refine the latest ones with it; less where mapping is `behind`."""
        try:
            self._apply(wait=False)
            if self.first_map is None:
                self._begin_with(candidate)
            else:
                self._go_on_with(candidate, behind)
        finally:
            self._tell()

    def correct(self) -> None:
        """Apply what the backend has found, if it has."""
        self._apply(wait=False)
        self._tell()

    def finish(self) -> None:
        """Refine the whole map once more."""
        self._apply(wait=True)
        if self.first_map is not None:
            self._backend.begin(self.keyframes, thorough=True)
            self._apply(wait=True)
        self._tell()

    def close(self) -> None:
        """End the backend's thread."""
        self._backend.close()

    def _tell(self) -> None:
        started = self.first_map is not None
        self.snapshot = Snapshot.of(self.keyframes, self._number, self._newest, started=started)

    def _begin_with(self, candidate: Candidate) -> None:
        keyframes, measured = self.keyframes, candidate.frame.disp
        sensed = measured is not None and bool((measured > 0).any())
        depth = measured[measured > 0].mean() if measured is not None and sensed else 1.0
        self._append(candidate, self._pose(candidate), depth)
        if self._metric or len(keyframes) == self._settings.warm_up:
            if self._frontend.start():
                self.first_map = Snapshot.of(keyframes, self._number, self._newest, started=True)
            else:
                self.begin_map()

    def _go_on_with(self, candidate: Candidate, behind: Callable[[], bool]) -> None:
        keyframes = self.keyframes
        pose, latest = self._pose(candidate), keyframes.disps[len(keyframes) - 1]
        if keyframes.full:
            self._make_room(candidate.partner)
        self._append(candidate, pose, latest.mean())
        ids = keyframes.ids
        partner = ids.index(candidate.partner) if candidate.partner in ids else None
        # Where the networks were unsure, a keyframe with measured depth stays as it was tracked.
        if partner is not None or not candidate.anywhere or candidate.frame.disp is None:
            self._frontend.step(partner, behind)
        self._since_backend += 1
        if self._since_backend >= self._settings.backend_every and self._backend.idle:
            self._since_backend = 0
            self._backend.begin(keyframes)

    def _append(self, candidate: Candidate, pose: Tensor, depth: Tensor | float) -> None:
        self.keyframes.next_id = self._newest = candidate.identity
        self.keyframes.append(candidate.frame, candidate.view, pose, depth)

    def _pose(self, candidate: Candidate) -> Tensor:
        """Return its pose by what is known of the anchor now."""
        keyframes, anchor = self.keyframes, candidate.anchor
        if anchor is None:
            return candidate.relative
        if anchor in keyframes.retired:
            placed = keyframes.all()[anchor]
        elif len(keyframes):
            # Of a map that could not be started the anchor is gone, and all were in one place.
            row = keyframes.ids.index(anchor) if anchor in keyframes.ids else len(keyframes) - 1
            placed = Placed(keyframes.poses[row], keyframes.scales[row].item())
        else:
            return candidate.relative
        return placed.carry(candidate.relative, candidate.scale)

    def _make_room(self, partner: int | None) -> None:
        """Retire the oldest keyframe that the latest one does not overlap; else the oldest."""
        keyframes = self.keyframes
        latest = len(keyframes) - 1
        rows = [
            row for row in range(latest - self._settings.window) if keyframes.ids[row] != partner
        ]
        old = torch.tensor(rows, device=self._intrinsics.device)
        apart = frame_distance(
            keyframes.poses,
            keyframes.disps,
            self._intrinsics,
            old,
            torch.full_like(old, latest),
            beta=self._settings.beta,
        )
        unseen = old[apart > self._settings.backend.threshold]
        self._frontend.retire(int(unseen[0] if len(unseen) else old[0]))

    def _apply(self, *, wait: bool) -> None:
        correction = self._backend.result(wait=wait)
        if correction is not None and correction.map is self.keyframes:
            correction.apply()
