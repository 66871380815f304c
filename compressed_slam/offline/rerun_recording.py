"""A played run as a recording for the viewer Rerun: camera, paths, points, errors."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from compressed_slam.evaluation import absolute_error
from compressed_slam.interface import DEPTH, IMAGE
from compressed_slam.offline.replaying import POSE, alignment_of, saved_trajectory, told
from edge_replay.decoding import decoded
from edge_runtime.calibration import Calibration
from edge_runtime.errors import MessageError, SettingError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_replay.bags import Recording
    from edge_replay.protocol import PlayedRun
    from edge_runtime.trajectory import Trajectory

_TIME = "image"
_CAMERA = "map/camera"
_SECOND = 1e9
_CLOUDS = 60  # images whose depth is shown as points
_STEP = 8  # pixels between points
_JPEG = 80
_OURS, _SAVED, _TRUTH = (20, 90, 200), (40, 150, 60), (130, 130, 130)  # RGB


def write_rerun(run: PlayedRun, path: Path) -> None:
    """Write what was told of every image that was answered, whole or not at all.

    Points are the recorded depth, placed by the poses that were told. The camera is drawn without
    its lens' distortion, and not where the node tells of its base instead.

    Raises:
        SettingError: no pose was known, or the file cannot be written.
    """
    import rerun as rr

    known = told(run.answers, POSE).trajectory
    if not len(known):
        message = f"--rerun {path}: the node knew no pose, so there is nothing to draw"
        raise SettingError(message)
    try:
        with TemporaryDirectory(dir=path.parent) as folder, rr.RecordingStream("slam") as stream:
            stream.save(f"{folder}/run.rrd")
            _log_paths(stream, run, known)
            if not run.parameters.get("base_frame"):
                _log_camera(stream, run.recording, known)
            stream.flush()
            stream.disconnect()
            Path(folder, "run.rrd").replace(path)
    except OSError as error:
        message = f"--rerun {path} cannot be written ({error}): give a file in a folder with space"
        raise SettingError(message) from error


def _log_paths(stream: Any, run: PlayedRun, known: Trajectory) -> None:  # noqa: ANN401
    import rerun as rr

    stream.log("map", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
    stream.log("map/told", rr.LineStrips3D([known.positions], colors=[_OURS]), static=True)
    if (saved := saved_trajectory(run)) is not None:
        line = rr.LineStrips3D([saved.positions], colors=[_SAVED])
        stream.log("map/saved", line, static=True)
    if run.recording.truth is None:
        return
    try:
        # The truth is moved onto the map, not the map onto the truth.
        moved = absolute_error(known, run.recording.truth, alignment_of(run.parameters)).aligned
    except SettingError:
        return
    stream.log("map/truth", rr.LineStrips3D([moved.positions], colors=[_TRUTH]), static=True)
    ours, theirs = known.nearest(moved.stamps)[::-1]
    errors = np.linalg.norm(known.positions[ours] - moved.positions[theirs], axis=1)
    for stamp, error in zip(known.stamps[ours].tolist(), errors.tolist(), strict=True):
        stream.set_time(_TIME, timestamp=stamp / _SECOND)
        stream.log("error [m]", rr.Scalars(error))


def _log_camera(stream: Any, recording: Recording, known: Trajectory) -> None:  # noqa: ANN401
    import rerun as rr

    info = recording.camera_infos.get("camera_info")
    camera = None if info is None else Calibration.from_camera_info(info)
    if camera is not None:
        size = [camera.width, camera.height]
        pinhole = rr.Pinhole(image_from_camera=camera.matrix, resolution=size)
        stream.log(_CAMERA, pinhole, static=True)
    rows = {stamp: row for row, stamp in enumerate(known.stamps.tolist())}
    matrices = known.matrices()
    every = max(1, -(-len(rows) // _CLOUDS))
    for frame in recording.frames():
        if (row := rows.get(frame.stamp)) is None:
            continue
        pose = matrices[row]
        stream.set_time(_TIME, timestamp=frame.stamp / _SECOND)
        stream.log(_CAMERA, rr.Transform3D(translation=pose[:3, 3], mat3x3=pose[:3, :3]))
        try:
            bgr, depth = (decoded(recording, frame, topic) for topic in (IMAGE, DEPTH))
        except MessageError:
            continue  # the node has left it out, too
        if bgr is None:
            continue
        jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG])[1]
        stream.log(_CAMERA, rr.EncodedImage(contents=jpeg.tobytes(), media_type="image/jpeg"))
        if camera is not None and depth is not None and row % every == 0:
            points, colours = _cloud(camera, bgr, depth)
            placed = points @ pose[:3, :3].T + pose[:3, 3]
            stream.log(f"map/points/{row}", rr.Points3D(placed, colors=colours, radii=0.005))


def _cloud(
    camera: Calibration, bgr: NDArray[np.uint8], depth: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Return points (n, 3) in the camera's optical frame and their colours (n, 3) RGB."""
    rows, columns = np.mgrid[: depth.shape[0] : _STEP, : depth.shape[1] : _STEP]
    metres = depth[rows, columns]
    seen = np.isfinite(metres) & (metres > 0)
    pixels = np.stack([columns[seen], rows[seen], np.ones(seen.sum())], axis=1)
    points = pixels @ np.linalg.inv(camera.matrix).T * metres[seen, None]
    return points, bgr[rows, columns][seen][:, ::-1]
