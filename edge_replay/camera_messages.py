"""Messages of a camera, as `replay convert` writes them into a bag."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edge_replay.topics import CAMERA_INFO, COMPRESSED, IMAGE

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rosbags.typesys.store import Typestore

    from edge_runtime.calibration import Calibration

POSE = "geometry_msgs/msg/PoseStamped"

_SECOND = 1_000_000_000


class CameraMessages:
    """Makes the messages of one frame: all carry its stamp."""

    def __init__(self, types: Typestore, frame_id: str) -> None:
        """Take the types to make them of, and the name of the camera's optical frame."""
        self._types = types.types
        self._frame_id = frame_id

    def bgr(self, bgr: NDArray[np.uint8], stamp: int) -> Any:  # noqa: ANN401 (a class made at run time)
        """Image, bgr8, of (H, W, 3)."""
        return self._image(bgr, "bgr8", stamp)

    def depth(self, depth: NDArray[np.float32], stamp: int) -> Any:  # noqa: ANN401
        """Image, 32FC1, of (H, W) metres, NaN where unseen (REP 118)."""
        return self._image(depth.astype("<f4"), "32FC1", stamp)

    def compressed(self, data: NDArray[np.uint8], format_: str, stamp: int) -> Any:  # noqa: ANN401
        """CompressedImage of a file's bytes."""
        return self._types[COMPRESSED](header=self._header(stamp), format=format_, data=data)

    def camera_info(self, camera: Calibration, stamp: int) -> Any:  # noqa: ANN401
        """CameraInfo of an image as it was taken: not rectified.

        R and P are those of a stereo pair's camera, else P is K.
        """
        region = self._types["sensor_msgs/msg/RegionOfInterest"](
            x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
        )
        distortion = camera.distortion if camera.distortion.size else np.zeros(5)
        rotation, projection = camera.rotation, camera.projection
        if rotation is None or projection is None:
            rotation, projection = np.eye(3), np.hstack([camera.matrix, np.zeros((3, 1))])
        return self._types[CAMERA_INFO](
            header=self._header(stamp),
            height=camera.height,
            width=camera.width,
            distortion_model=camera.model,
            d=distortion.astype(np.float64),
            k=camera.matrix.astype(np.float64).reshape(-1),
            r=rotation.astype(np.float64).reshape(-1),
            p=projection.astype(np.float64).reshape(-1),
            binning_x=0,
            binning_y=0,
            roi=region,
        )

    def pose(self, pose: NDArray[np.float64], world: str, stamp: int) -> Any:  # noqa: ANN401
        """PoseStamped of the camera's optical frame in `world`: tx ty tz qx qy qz qw, metres."""
        x, y, z, *quaternion = pose.tolist()
        names = ("x", "y", "z", "w")
        return self._types[POSE](
            header=self._header(stamp, world),
            pose=self._types["geometry_msgs/msg/Pose"](
                position=self._types["geometry_msgs/msg/Point"](x=x, y=y, z=z),
                orientation=self._types["geometry_msgs/msg/Quaternion"](
                    **dict(zip(names, quaternion, strict=True))
                ),
            ),
        )

    def _image(self, pixels: NDArray[Any], encoding: str, stamp: int) -> Any:  # noqa: ANN401
        height, width = pixels.shape[:2]
        data = np.ascontiguousarray(pixels).reshape(-1).view(np.uint8)
        return self._types[IMAGE](
            header=self._header(stamp),
            height=height,
            width=width,
            encoding=encoding,
            is_bigendian=0,
            step=data.size // height,
            data=data,
        )

    def _header(self, stamp: int, frame_id: str | None = None) -> Any:  # noqa: ANN401
        seconds, nanoseconds = divmod(stamp, _SECOND)
        time = self._types["builtin_interfaces/msg/Time"](sec=seconds, nanosec=nanoseconds)
        return self._types["std_msgs/msg/Header"](
            stamp=time, frame_id=self._frame_id if frame_id is None else frame_id
        )
