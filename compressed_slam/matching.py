"""What tracking and mapping ask of whoever finds out where pixels went: networks, or an oracle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from compressed_slam.frame import Frame

SURE = 0.4
"""Mean weight of a picture's matches under which features alone say as much, or more."""


class View(Protocol):
    """What an operator remembers of a picture; nobody else looks inside."""

    @property
    def right(self) -> View | None:
        """The other picture of a stereo pair; None for a single camera."""


@dataclass(frozen=True)
class Refinement:
    """One step's answer for E edges.

    Attributes:
        delta: (E, h, w, 2) from where the pixels were thought to be to where they are, map pixels.
        weight: (E, h, w, 2) in 0..1, how sure that is along x and y.
    """

    delta: Tensor
    weight: Tensor


@dataclass(frozen=True)
class Correspondences:
    """Pixels of two pictures that look most alike, found anywhere in them.

    Attributes:
        target: (h, w, 2) x y of the target's pixel that is most like each of the source's.
        mutual: (h, w) whether that one's most similar pixel is the same pair; others mean nothing.
    """

    target: Tensor
    mutual: Tensor


class Matcher(Protocol):
    """The matches of a set of edges, each from a source view's pixels to a target view."""

    def add(self, keys: Sequence[int], sources: Sequence[View], targets: Sequence[View]) -> None:
        """Take edges in, behind those that are there.

        Args:
            keys: of the sources; edges of one key have the same source.
            sources: one for each edge.
            targets: one for each edge.
        """

    def keep(self, mask: Tensor) -> None:
        """Forget the edges where `mask` (E,) is False."""

    def refine(self, coords: Tensor, target: Tensor) -> Refinement:
        """Look around `coords` (E, h, w, 2), where the geometry puts the pixels now.

        `target` (E, h, w, 2) is where the step before saw them.
        """

    def damping(self) -> Tensor:
        """Return (K, h, w) at least 0, of the inverse depth of the K sources, in rising order.

        As they are now known: ask where depth is adjusted to the matches, after the step.
        """


class Operator(Protocol):
    """Makes views of pictures, and matchers of views."""

    def view(self, frame: Frame) -> View:
        """Look at a frame once; is called for every frame."""

    def correspondences(self, source: View, target: View) -> Correspondences:
        """Compare all pixels of two views, without any guess of the motion between them."""

    def matcher(self, *, lasting: bool) -> Matcher:
        """Return an empty matcher.

        Args:
            lasting: whether edges are refined so often that their states are worth more memory.
        """
