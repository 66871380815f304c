"""EuRoC MAV (Burri et al., 2016): grey stereo pairs and the body's pose, under `mav0`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import yaml
from pydantic import BaseModel, Field, ValidationError

from edge_replay.datasets.sequence import FolderSequence, RightCamera
from edge_runtime.calibration import Calibration
from edge_runtime.errors import SettingError, first_problem
from edge_runtime.rows import read_poses, read_rows, read_stamps, read_text
from edge_runtime.trajectory import Trajectory

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_MODELS = {"radial-tangential": "plumb_bob", "equidistant": "equidistant"}
_CALIBRATION = "sensor.yaml"
_STATE_FORM = "timestamp px py pz qw qx qy qz"
_POSE_COLUMNS = (1, 2, 3, 5, 6, 7, 4)
_Four = tuple[float, float, float, float]


class _Transform(BaseModel):
    data: Annotated[list[float], Field(min_length=16, max_length=16)]


class _Sensor(BaseModel):
    """What is needed of a camera's `sensor.yaml`; `T_BS` takes its points to the body's frame."""

    T_BS: _Transform
    camera_model: Literal["pinhole"]
    resolution: tuple[int, int]
    intrinsics: _Four
    distortion_model: Literal["radial-tangential", "equidistant"]
    distortion_coefficients: _Four

    @property
    def body_from_camera(self) -> NDArray[np.float64]:
        return np.array(self.T_BS.data).reshape(4, 4)

    @property
    def calibration(self) -> Calibration:
        fx, fy, cx, cy = self.intrinsics
        return Calibration(
            *self.resolution,
            np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]),
            np.array(self.distortion_coefficients),
            _MODELS[self.distortion_model],
        )


def read_euroc(folder: Path) -> FolderSequence:
    """Read the lists and calibrations of the folder that holds `mav0`.

    Images of the second camera belong to those of the first with the same stamp. The ground truth,
    which is the body's, is moved into the first camera; without that camera's calibration it is
    left out.

    Raises:
        SettingError: a list or a calibration cannot be read.
    """
    mav = folder / "mav0"
    images = _listed(mav / "cam0")
    stamps, paths = np.array(list(images), np.int64), list(images.values())
    if not (mav / "cam0" / _CALIBRATION).is_file():
        return FolderSequence(
            stamps=stamps,
            images=paths,
            known_camera=None,
            camera_remedy=f"'{mav / 'cam0' / _CALIBRATION}' is missing: EuRoC has one there",
            ground_truth=None,
            notes=(f"poses and the right camera are left out: cam0 has no {_CALIBRATION}",),
        )
    left = _sensor(mav / "cam0")
    rights: list[Path | None] = []
    right_camera = None
    if (mav / "cam1" / "data.csv").is_file():
        listed = _listed(mav / "cam1")
        rights = [listed.get(stamp) for stamp in images]
        right = _sensor(mav / "cam1")
        from_left = np.linalg.inv(right.body_from_camera) @ left.body_from_camera
        right_camera = RightCamera(right.calibration, from_left)
    return FolderSequence(
        stamps=stamps,
        images=paths,
        known_camera=left.calibration,
        ground_truth=_ground_truth(mav, left.body_from_camera),
        rights=rights,
        right_camera=right_camera,
    )


def _listed(camera: Path) -> dict[int, Path]:
    """Stamp in ns -> image, in the order of time."""
    rows = read_rows(camera / "data.csv", "timestamp filename", comma=True)
    paths = [camera / "data" / row.words[1] for row in rows]
    return dict(zip(read_stamps(rows, "ns").tolist(), paths, strict=True))


def _sensor(camera: Path) -> _Sensor:
    path = camera / _CALIBRATION
    try:
        return _Sensor.model_validate(yaml.safe_load(read_text(path, "the calibration of EuRoC")))
    except yaml.YAMLError as error:
        message = f"calibration '{path}' is no YAML: {error}"
        raise SettingError(message) from None
    except ValidationError as error:
        message = f"calibration '{path}': {first_problem(error)}; it should be as EuRoC's"
        raise SettingError(message) from None


def _ground_truth(mav: Path, body_from_camera: NDArray[np.float64]) -> Trajectory | None:
    path = mav / "state_groundtruth_estimate0" / "data.csv"
    if not path.is_file():
        return None
    rows = read_rows(path, _STATE_FORM, comma=True, more=True)
    stamps = read_stamps(rows, "ns", repeats=True)
    body = Trajectory.of_known(stamps, read_poses(rows, _POSE_COLUMNS))
    camera = Trajectory.from_matrices(body.stamps, body.matrices() @ body_from_camera)
    return replace(camera, lost=body.lost)
