"""Classical peers on SLAM's recordings, RGB-D: ORB + PnP of OpenCV, and Open3D's odometry.

Neither has a map beyond one picture, and neither refines. ORB + PnP: features matched with the
latest keyframe's, whose depth gives points; PnP by RANSAC. Open3D (`pip install open3d-cpu`, MIT):
`compute_rgbd_odometry`, intensity and depth together (Park et al. 2017), from picture to picture,
beginning with the motion before. Rows of `slam_sequences.py`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from compressed_slam.evaluation import absolute_error
from edge_runtime.trajectory import Trajectory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from compressed_slam.frame import Frame
    from compressed_slam.offline.recorded import Recording

FEATURES, RATIO, FEWEST, KEYFRAME_INLIERS = 1500, 0.8, 8, 150
FAST_THRESHOLD = 7  # grey levels; OpenCV's 20 finds too little where there is little to see
NEAREST, FARTHEST = 0.2, 8.0  # metres of depth that are believed


class Row(NamedTuple):
    """One line of the table."""

    ate: float
    share_of_way: float
    tracked: float
    ms: float


class Features(NamedTuple):
    """What ORB finds: pixels (N, 2) and descriptors (N, 32)."""

    pixels: NDArray[np.float32]
    descriptors: NDArray[np.uint8]


def orb_pnp(recording: Recording) -> Row:
    """Follow the camera by ORB and PnP against the latest keyframe."""
    matrix = recording.camera.matrix
    orb = cv2.ORB_create(FEATURES, fastThreshold=FAST_THRESHOLD)  # type: ignore[attr-defined]
    matcher = cv2.BFMatcher(cv2.NORM_HAMMING)
    key: tuple[NDArray[np.float64], NDArray[np.uint8], NDArray[np.float64]] | None = None
    pose = np.eye(4)  # world to camera
    stamps, poses, took, lost = [], [], [], 0
    for frame in recording.frames():
        start = time.perf_counter()
        found = _features(orb, frame)
        if key is None:
            key = _keyframe(found, frame, matrix, pose)
        else:
            points, descriptors, of_key = key
            pairs = matcher.knnMatch(found.descriptors, descriptors, k=2)
            good = [p[0] for p in pairs if len(p) > 1 and p[0].distance < RATIO * p[1].distance]
            relative, inliers = _solved(
                points[[match.trainIdx for match in good]],
                found.pixels[[match.queryIdx for match in good]],
                matrix,
            )
            if relative is None:
                lost += 1
                key = _keyframe(found, frame, matrix, pose)
            else:
                pose = relative @ of_key
                if inliers < KEYFRAME_INLIERS:
                    key = _keyframe(found, frame, matrix, pose)
        took.append(1e3 * (time.perf_counter() - start))
        stamps.append(frame.stamp)
        poses.append(np.linalg.inv(pose))
    return _row(recording, stamps, poses, lost, took)


def import_open3d() -> Any:  # noqa: ANN401 - a module
    """Return Open3D, or end in one line."""
    try:
        import open3d
    except (ImportError, OSError) as error:
        message = f"the peer open3d cannot be imported ({error}): pip install open3d-cpu"
        raise SystemExit(message) from error
    return open3d


def open3d_odometry(recording: Recording) -> Row:
    """Follow the camera by Open3D's RGB-D odometry from picture to picture."""
    open3d = import_open3d()
    odometry = open3d.pipelines.odometry
    matrix = recording.camera.matrix
    focal, centre = matrix[[0, 1], [0, 1]], matrix[:2, 2]
    size = recording.camera.width, recording.camera.height
    camera = open3d.camera.PinholeCameraIntrinsic(*size, *focal, *centre)
    option = odometry.OdometryOption(depth_min=NEAREST, depth_max=FARTHEST)
    term = odometry.RGBDOdometryJacobianFromHybridTerm()
    before: Any = None
    pose, motion = np.eye(4), np.eye(4)  # camera to world; this picture's to the one before's
    stamps, poses, took, lost = [], [], [], 0
    for frame in recording.frames():
        start = time.perf_counter()
        image = None if frame.depth is None else _rgbd(open3d.geometry, frame.bgr, frame.depth)
        if image is not None and before is not None:
            solved, motion, _ = odometry.compute_rgbd_odometry(
                image, before, camera, motion, term, option
            )
            motion = motion if solved else np.eye(4)
            lost += not solved
            pose = pose @ motion
        lost += image is None
        before = before if image is None else image
        took.append(1e3 * (time.perf_counter() - start))
        stamps.append(frame.stamp)
        poses.append(pose)
    return _row(recording, stamps, poses, lost, took)


def _rgbd(geometry: Any, bgr: NDArray[np.uint8], depth: NDArray[np.float32]) -> Any:  # noqa: ANN401
    return geometry.RGBDImage.create_from_color_and_depth(
        geometry.Image(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)),
        geometry.Image(np.nan_to_num(depth)),
        depth_scale=1.0,
        depth_trunc=FARTHEST,
    )


PEERS = {"orb": ("ORB + PnP", orb_pnp), "open3d": ("Open3D", open3d_odometry)}


def _row(
    recording: Recording,
    stamps: Sequence[int],
    poses: Sequence[NDArray[np.float64]],
    lost: int,
    took: Sequence[float],
) -> Row:
    """Score camera-to-world poses, of which those that were `lost` are the last known."""
    ours = Trajectory.from_matrices(np.array(stamps), np.stack(poses))
    error = absolute_error(recording.truth, ours, tolerance_s=0.02)
    ate, way = error.translation.rmse, _way(recording.truth, ours)
    return Row(ate, ate / way, 1 - lost / len(stamps), float(np.median(took)))


def _way(truth: Trajectory, ours: Trajectory) -> float:
    """Return the metres that the camera truly went while it was tracked."""
    inside = (truth.stamps >= ours.stamps[0]) & (truth.stamps <= ours.stamps[-1])
    return truth[inside].length


def _features(orb: cv2.ORB, frame: Frame) -> Features:
    keypoints, descriptors = orb.detectAndCompute(
        cv2.cvtColor(frame.bgr, cv2.COLOR_BGR2GRAY),
        None,  # type: ignore[call-overload]
    )
    if descriptors is None:
        return Features(np.zeros((0, 2), np.float32), np.zeros((0, 32), np.uint8))
    return Features(np.array([point.pt for point in keypoints], np.float32), descriptors)


def _keyframe(
    found: Features, frame: Frame, matrix: NDArray[np.float64], pose: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.uint8], NDArray[np.float64]]:
    """Return points (N, 3) in the camera's frame, their descriptors, and the camera's pose."""
    column, row = np.rint(found.pixels).astype(int).T
    seen = np.full(frame.bgr.shape[:2], np.nan) if frame.depth is None else frame.depth
    depth = seen[row, column]
    known = (depth > NEAREST) & (depth < FARTHEST)
    rays = np.concatenate([found.pixels, np.ones((len(depth), 1))], 1) @ np.linalg.inv(matrix).T
    return (depth[:, None] * rays)[known], found.descriptors[known], pose


def _solved(
    points: NDArray[np.float64], pixels: NDArray[np.float32], matrix: NDArray[np.float64]
) -> tuple[NDArray[np.float64] | None, int]:
    if len(points) < FEWEST:
        return None, 0
    solved, turn, shift, inliers = cv2.solvePnPRansac(
        points,
        pixels,
        matrix,
        None,  # type: ignore[arg-type]
        iterationsCount=200,
        reprojectionError=2.0,
    )
    if not solved or inliers is None or len(inliers) < FEWEST:
        return None, 0
    relative = np.eye(4)
    relative[:3, :3] = cv2.Rodrigues(turn)[0]
    relative[:3, 3] = shift[:, 0]
    return relative, len(inliers)
