"""Camera poses from TF and from the parameter; tf2_ros, which has no wheel, is stood in for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from std_msgs.msg import Header

from edge_runtime import optional_ros
from edge_runtime.camera_poses import Broadcaster, CameraPoses
from edge_runtime.errors import MessageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from geometry_msgs.msg import TransformStamped

HEADER = Header(stamp=Time(sec=5), frame_id="camera")
GIVEN = "0 0 1.5 1 0 0 0"
DOWN = np.array([[1, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 1.5], [0, 0, 0, 1]])


class Tf2Double:
    """Of tf2_ros, what is used: transforms sent are found under their very stamp."""

    class TransformException(Exception):  # noqa: N818 - its name in tf2_ros
        pass

    def __init__(self) -> None:
        self.sent: list[TransformStamped] = []

    def Buffer(self) -> Any:  # noqa: ANN401, N802
        return SimpleNamespace(lookup_transform=self._look_up)

    def TransformListener(self, buffer: object, node: object) -> object:  # noqa: N802
        return buffer, node

    def TransformBroadcaster(self, node: object) -> Any:  # noqa: ANN401, N802
        del node
        return SimpleNamespace(sendTransform=self.sent.append)

    def _look_up(self, target: str, source: str, time: Any, timeout: Any) -> TransformStamped:  # noqa: ANN401
        assert 0 < timeout.nanoseconds < 1e9
        for one in self.sent:
            names = (one.header.frame_id, one.child_frame_id)
            if names == (target, source) and one.header.stamp == time.to_msg():
                return one
        message = f"{target!r} passed to lookupTransform does not exist"
        raise self.TransformException(message)


@pytest.fixture
def node() -> Any:  # noqa: ANN401
    lines: list[str] = []
    say: Callable[[], Any] = lambda: SimpleNamespace(info=lines.append)  # noqa: E731
    return SimpleNamespace(get_logger=say, lines=lines)


def test_the_parameter_tells_where_tf_is_not_installed(node: Any) -> None:  # noqa: ANN401
    poses = CameraPoses(node)
    with pytest.raises(MessageError, match=r"'camera' is in 'table' is not known .tf2_ros is"):
        poses.at(HEADER, "table")
    poses.given = GIVEN
    np.testing.assert_allclose(poses.at(HEADER, "table"), DOWN, atol=1e-12)
    broadcaster = Broadcaster(node)
    for _ in range(3):
        broadcaster.send(HEADER.stamp, "table", "camera", np.eye(4))
    assert node.lines == ["tf2_ros is not installed: no transforms are published"]


def test_tf_tells_first_and_what_is_sent_is_what_was_meant(
    node: Any,  # noqa: ANN401
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(optional_ros, "tf2_ros", Tf2Double())
    poses = CameraPoses(node)
    with pytest.raises(MessageError, match=r"does not exist.: publish it on TF, or set the param"):
        poses.at(HEADER, "table")
    poses.given = "0 0 9 0 0 0 1"
    assert poses.at(HEADER, "table")[2, 3] == 9
    Broadcaster(node).send(HEADER.stamp, "table", "camera", DOWN)
    np.testing.assert_allclose(poses.at(HEADER, "table"), DOWN, atol=1e-12)
    assert node.lines == []
