"""How far a trajectory is from the truth: ATE and RPE, by the definitions of the program evo."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from edge_runtime.errors import SettingError
from edge_runtime.trajectory import TOLERANCE_S, Trajectory, associate

if TYPE_CHECKING:
    from numpy.typing import NDArray

Alignment = Literal["none", "se3", "sim3"]
"""What the estimate is moved by onto the reference: nothing, a rigid motion, or also a scale."""

DeltaUnit = Literal["frames", "metres"]

_FEWEST = 3  # points that fix a rotation
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Statistics:
    """Of errors, in their unit; `sse` is the sum of their squares."""

    rmse: float
    mean: float
    median: float
    std: float
    min: float
    max: float
    sse: float

    @classmethod
    def of(cls, errors: NDArray[np.float64]) -> Statistics:
        """Summarise errors, (M,), at least one."""
        squares = errors**2
        return cls(
            rmse=float(np.sqrt(squares.mean())),
            mean=float(errors.mean()),
            median=float(np.median(errors)),
            std=float(errors.std()),
            min=float(errors.min()),
            max=float(errors.max()),
            sse=float(squares.sum()),
        )


@dataclass(frozen=True)
class AbsoluteError:
    """Distances of the estimate's positions from the reference's (ATE; evo calls it APE).

    Attributes:
        translation: of `errors`.
        scale: that the estimate was multiplied by.
        pairs: poses of both that belong together.
        errors: (pairs,) metres.
        aligned: (pairs,) poses of the estimate, moved into the reference's frame, with their own
            stamps. Where all positions lie on one line, its rotation about that line is arbitrary.
    """

    translation: Statistics
    scale: float
    pairs: int
    errors: NDArray[np.float64] = field(repr=False, compare=False)
    aligned: Trajectory = field(repr=False, compare=False)


@dataclass(frozen=True)
class RelativeError:
    """How the estimate's motions between two of its poses differ from the reference's (RPE).

    Attributes:
        translation: metres for each motion.
        rotation: degrees for each motion.
        motions: their number.
        translation_errors: (motions,) metres.
        rotation_errors: (motions,) degrees.
    """

    translation: Statistics
    rotation: Statistics
    motions: int
    translation_errors: NDArray[np.float64] = field(repr=False, compare=False)
    rotation_errors: NDArray[np.float64] = field(repr=False, compare=False)


def absolute_error(
    reference: Trajectory,
    estimate: Trajectory,
    alignment: Alignment = "se3",
    *,
    tolerance_s: float = TOLERANCE_S,
) -> AbsoluteError:
    """Measure positions after the best alignment.

    Args:
        reference: the truth.
        estimate: poses with stamps of the same clock, of the same or another rate.
        alignment: "se3" where the scale is known (RGB-D, stereo), "sim3" for a single camera.
        tolerance_s: largest difference of stamps that belong together.

    Raises:
        SettingError: too few stamps belong together, or no scale can be found.
    """
    truth, ours = _together(reference, estimate, tolerance_s)
    aligned, scale = _aligned(truth, ours, alignment)
    errors = np.linalg.norm(aligned.positions - truth.positions, axis=1)
    return AbsoluteError(Statistics.of(errors), scale, len(errors), errors, aligned)


def relative_error(
    reference: Trajectory,
    estimate: Trajectory,
    delta: float = 1,
    unit: DeltaUnit = "frames",
    alignment: Alignment = "none",
    *,
    tolerance_s: float = TOLERANCE_S,
) -> RelativeError:
    """Measure motions over a fixed number of frames or metres, each beginning where one ended.

    Args:
        reference: the truth.
        estimate: poses with stamps of the same clock; frames and metres are counted along it.
        delta: length of a motion. In metres, it ends at the first pose that far along the way.
        unit: of `delta`.
        alignment: beforehand; only a scale ("sim3") makes a difference.
        tolerance_s: largest difference of stamps that belong together.

    Raises:
        SettingError: too few stamps belong together, no scale can be found, or the trajectory is
            shorter than a motion.
    """
    truth, ours = _together(reference, estimate, tolerance_s)
    aligned, _ = _aligned(truth, ours, alignment)
    ends = _ends(aligned, delta, unit)
    theirs, own = _motions(truth, ends), _motions(aligned, ends)
    difference = np.linalg.inv(theirs) @ own
    translation = np.linalg.norm(difference[:, :3, 3], axis=1)
    rotation = np.degrees(_angles(difference[:, :3, :3]))
    return RelativeError(
        Statistics.of(translation), Statistics.of(rotation), len(rotation), translation, rotation
    )


def _together(
    reference: Trajectory, estimate: Trajectory, tolerance_s: float
) -> tuple[Trajectory, Trajectory]:
    theirs, ours = associate(reference.stamps, estimate.stamps, tolerance_s)
    if len(ours) < _FEWEST:
        message = (
            f"{len(ours)} stamps of the estimate ({_span(estimate)}) lie within {tolerance_s:g} s "
            f"of one of the reference ({_span(reference)}): at least {_FEWEST} are needed; check "
            "that both have the same clock, or allow a larger difference"
        )
        raise SettingError(message)
    return reference[theirs], estimate[ours]


def _span(trajectory: Trajectory) -> str:
    if not len(trajectory):
        return "no poses"
    first, last = trajectory.stamps[[0, -1]] / 1e9
    return f"{len(trajectory)} poses from {first:.3f} to {last:.3f} s"


def _aligned(truth: Trajectory, ours: Trajectory, alignment: Alignment) -> tuple[Trajectory, float]:
    """Return `ours` in the frame of `truth`, and the scale that it was multiplied by."""
    if alignment == "none":
        return ours, 1.0
    rotation, translation, scale = _similarity(
        truth.positions, ours.positions, with_scale=alignment == "sim3"
    )
    moved = ours.matrices()
    moved[:, :3, :3] = rotation @ moved[:, :3, :3]
    moved[:, :3, 3] = scale * ours.positions @ rotation.T + translation
    return Trajectory.from_matrices(ours.stamps, moved), scale


def _similarity(
    target: NDArray[np.float64], points: NDArray[np.float64], *, with_scale: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Least squares of target = scale * rotation @ points + translation (Umeyama, 1991)."""
    target_mean, mean = target.mean(axis=0), points.mean(axis=0)
    spread = points - mean
    u, singular, vt = np.linalg.svd((target - target_mean).T @ spread / len(points))
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])  # no reflection; eq. 43
    rotation = (u * sign) @ vt
    scale = 1.0
    if with_scale:
        variance = (spread**2).sum(axis=1).mean()
        if variance <= (_ROUNDING * np.abs(points).max()) ** 2:
            message = (
                f"all {len(points)} positions of the estimate are the same, which has no scale: "
                "align without it, by 'se3'"
            )
            raise SettingError(message)
        scale = float(singular @ sign / variance)
    return rotation, target_mean - scale * rotation @ mean, scale


def _ends(trajectory: Trajectory, delta: float, unit: DeltaUnit) -> NDArray[np.int64]:
    """Indices of the poses at which a motion begins or ends, at least two."""
    if unit == "frames":
        if delta < 1 or delta != int(delta):
            message = f"delta {delta:g}: frames are counted in whole numbers from 1"
            raise SettingError(message)
        ends = np.arange(0, len(trajectory), int(delta))
    else:
        if not delta > 0:
            message = f"delta {delta:g}: metres are above 0"
            raise SettingError(message)
        ends = _every(trajectory, delta)
    if len(ends) < 2:  # noqa: PLR2004 - a motion has two
        message = (
            f"delta {delta:g} {unit} is longer than the estimate, which has {len(trajectory)} "
            f"frames and {trajectory.length:.3g} metres: choose a shorter one"
        )
        raise SettingError(message)
    return ends


def _every(trajectory: Trajectory, metres: float) -> NDArray[np.int64]:
    """Index of the first pose, and of each that lies `metres` or more along the way after it."""
    ends, gone = [0], 0.0
    for index, step in enumerate(np.linalg.norm(np.diff(trajectory.positions, axis=0), axis=1), 1):
        gone += step
        if gone >= metres:
            ends.append(index)
            gone = 0.0
    return np.array(ends)


def _motions(trajectory: Trajectory, ends: NDArray[np.int64]) -> NDArray[np.float64]:
    """From each end to the next, in the frame of the first: (M, 4, 4)."""
    poses = trajectory[ends].matrices()
    motions: NDArray[np.float64] = np.linalg.inv(poses[:-1]) @ poses[1:]
    return motions


def _angles(rotations: NDArray[np.float64]) -> NDArray[np.float64]:
    """(M,) radians in 0..pi."""
    # The arc cosine of the trace alone would lose half of the digits of a small angle.
    twist = rotations - rotations.transpose(0, 2, 1)
    sine = np.linalg.norm(twist[:, [2, 0, 1], [1, 2, 0]], axis=1) / 2
    cosine = (np.trace(rotations, axis1=1, axis2=2) - 1) / 2
    angles: NDArray[np.float64] = np.arctan2(sine, cosine)
    return angles
