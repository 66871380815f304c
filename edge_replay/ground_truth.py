"""What a recording knows of where things really were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from edge_replay.camera_messages import POSE
from edge_runtime.trajectory import Trajectory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_replay.storage.bag import Bag

TRUTH_TOPIC = "/ground_truth/pose"

_TRANSFORMS = "tf2_msgs/msg/TFMessage"
_SECOND = 1_000_000_000


def read_truth(bag: Bag) -> Trajectory | None:
    """Read the PoseStamped messages of `TRUTH_TOPIC`; None where there are none.

    Messages with a pose that is not finite, or with a quaternion of zeros, are `lost`.
    """
    stamps, poses = [], []
    for message in _read(bag, TRUTH_TOPIC, POSE):
        stamp, p, q = message.header.stamp, message.pose.position, message.pose.orientation
        stamps.append(stamp.sec * _SECOND + stamp.nanosec)
        poses.append((p.x, p.y, p.z, q.x, q.y, q.z, q.w))
    if not stamps:
        return None
    order = np.argsort(stamps, kind="stable")
    known = np.array(poses, float)
    known[~np.isfinite(known).all(1) | ~known[:, 3:].any(1)] = np.nan
    return Trajectory.of_known(np.array(stamps, np.int64)[order], known[order])


def read_transforms(bag: Bag) -> list[Any]:
    """Read the geometry_msgs/TransformStamped of /tf_static, then those of /tf, as recorded."""
    return [
        transform
        for topic in ("/tf_static", "/tf")
        for message in _read(bag, topic, _TRANSFORMS)
        for transform in message.transforms
    ]


def _read(bag: Bag, topic: str, type_: str) -> Iterator[Any]:
    names = [
        name
        for name, channel in bag.channels.items()
        if name.strip("/") == topic.strip("/") and channel.type == type_
    ]
    for _, _, raw in bag.messages(names):
        try:
            yield cast("Any", bag.deserialize(raw, type_))
        # Whatever rosbags comes upon in a damaged message.
        except Exception:  # noqa: BLE001, PERF203
            bag.note(f"messages of {topic} that are damaged are left out")
