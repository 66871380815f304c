"""`grasp_node` as a process of its own, over DDS, on tables that are drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from grasp_bundle import write_grasp_bundle
from grasp_process import WIDTH, Client, grasp_node, image, table
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool
from visualization_msgs.msg import Marker, MarkerArray

from compressed_grasp.messages import read_action
from compressed_grasp.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("domain_id")]

WORKSPACE = Workspace.square(112)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_grasp_bundle(tmp_path_factory.mktemp("grasp") / "bundle")


@pytest.fixture
def client(bundle: Path, tmp_path: Path, domain_id: int) -> Iterator[Client]:
    """A client of a node that runs."""
    del domain_id
    with grasp_node(bundle, tmp_path / "log"), Client() as made:
        made.wait_for_node()
        yield made


def points(message: Any) -> np.ndarray:  # noqa: ANN401
    tools = [point.transforms[0].translation for point in message.points]
    return np.array([[tool.x, tool.y, tool.z] for tool in tools])


def test_the_action_is_at_the_object_and_another_one_where_it_changed_nothing(
    client: Client,
) -> None:
    poses = client.watch("/grasp/action/grasp", PoseStamped)
    heights = client.watch("/grasp/heightmap", Image)
    markers = client.watch("/grasp/markers", MarkerArray)
    pictures = client.watch("/grasp/q_map", Image)
    stamp = client.show(table((0.06, -0.08)), info=False)  # which comes when it is asked again
    first = client.decide()
    assert first.header.stamp.sec == stamp
    assert first.header.frame_id == "table"
    assert list(first.joint_names) == ["grasp"]
    above, at, after = points(first)
    assert np.abs(at[:2] - (0.06, -0.08)).max() < 0.03
    assert 0.004 <= at[2] < 0.05 < above[2] == after[2]
    times = [point.time_from_start.sec for point in first.points]
    assert times == sorted(times)
    client.spin_until(lambda: poses and heights and markers and pictures)
    q = poses[0].pose.orientation
    assert [q.x**2 + q.y**2, q.z, q.w] == pytest.approx([1, 0, 0])  # z points down
    assert poses[0].header == first.header
    height = np.frombuffer(heights[0].data, "<f4").reshape(112, 112)
    assert np.nanmax(height) == pytest.approx(0.05, abs=1e-4)
    row, column = np.unravel_index(np.nanargmax(height), height.shape)
    assert np.abs(WORKSPACE.position(int(row), int(column)) - (0.06, -0.08)).max() < 0.03
    assert {m.ns for m in markers[0].markers if m.action == Marker.ADD} >= {"workspace", "jaws"}
    assert pictures[0].encoding == "bgr8"
    assert client.said().startswith("grasp, Q ")

    # Asked twice at once about the same images, it says the same.
    client.actions.clear()
    assert [each.success for each in client.calls("decide", 2)] == [True, True]
    client.spin_until(lambda: len(client.actions) == 2)
    assert [each.points for each in client.actions] == [first.points] * 2
    # Asked about a new image of the same, it knows that the action changed nothing.
    done = [read_action(first, WORKSPACE)]
    for _ in range(30):
        client.show(table((0.06, -0.08)))
        action = read_action(client.decide(), WORKSPACE)
        if action is None:
            break
        for other in done:
            apart = np.linalg.norm(action.waypoints[1] - other.waypoints[1])
            turned = (action.angle_index - other.angle_index) % 8
            assert action.kind != other.kind or apart > 0.015 or 1 < turned < 7
        done.append(action)
    assert len(done) > 1
    said = client.said()
    assert "nothing left to try" in said or "no action is worth it" in said
    # The block was moved by hand: that one may be tried again.
    client.show(table((-0.06, 0.08)))
    assert np.abs(points(client.decide())[1, :2] - (-0.06, 0.08)).max() < 0.03
    # So it may after a reset.
    client.call("reset")
    client.show(table((0.06, -0.08)))
    assert client.decide().points == first.points


def test_bad_input_gets_no_action_and_a_reason(client: Client) -> None:
    def refused() -> str:
        response = client.call("decide")
        assert not response.success
        return str(response.message)

    assert "no image yet" in refused()
    block = table((0.0, 0.0))
    client.show(block, late=2)
    assert "no image yet" in refused()
    client.show(image(block[:120, :160].copy(), "32FC1"))
    assert "registered to the image" in refused()
    client.show(block)
    assert client.call("enabled", SetBool, data=False).success
    assert "disabled" in refused()
    assert client.call("enabled", SetBool, data=True).success
    assert client.decide().points

    reasons = {
        "nan": (np.full_like(block, np.nan), "too few cells seen: 0%"),
        "zero": (np.zeros_like(block), "too few cells seen: 0%"),
        "millimetres for metres": (block * 1000, "too few cells seen: 0%"),
        "metres for millimetres": (image(np.ones_like(block, "<u2"), "16UC1"), "too few cells"),
        "empty": (table(), "empty"),
        "half blind": (np.where(np.arange(WIDTH) < 270, np.nan, block), "too few cells"),
        "table too high": (block - 0.05, "no table: 100%"),
    }
    for name, (depth, reason) in reasons.items():
        stamp = client.show(depth)
        message = client.decide()
        assert (message.header.stamp.sec, len(message.points)) == (stamp, 0), name
        assert reason in client.said(), name

    # An arm over the block, seen by the same camera; and clouds that are none of an arm.
    arm = np.array([[-0.1, 0.0, 0.5], [0.1, 0.0, 0.5]])
    client.show_arm(arm, "uvw")
    client.show_arm(arm)
    client.show(block)
    assert not client.decide().points
    assert "empty" in client.said()
    client.show(block)  # 10 s later nobody knows where the arm is
    assert client.decide().points

    # Objects across the workspace's edge: grasps stay inside it.
    for place in ((0.23, 0.0), (0.0, -0.22), (-0.225, 0.17)):
        client.show(table(place, size=0.06))
        assert np.abs(points(client.decide())[:, :2]).max() < 0.224


def test_every_image_is_answered_in_continuous_mode(bundle: Path, tmp_path: Path) -> None:
    with (
        grasp_node(bundle, tmp_path / "log", mode="continuous", retry_after=15.0),
        Client() as client,
    ):
        client.wait_for_node()
        # Stamps are 10 s apart.
        stamps = [client.show(table((0.06, -0.08))) for _ in range(4)]
        client.spin_until(lambda: client.actions[-1:] and client.actions[-1].header.stamp.sec == 40)
        assert stamps == [10, 20, 30, 40]
        by_stamp = {each.header.stamp.sec: each.points for each in client.actions}
        if 10 in by_stamp:  # what is matched here may not yet be matched there
            assert by_stamp[10] == by_stamp[20]
            assert by_stamp[30] != by_stamp[20]
        assert "every image is answered" in client.call("decide").message


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"workspace_size": 0.0}, "'workspace_size' is 0.0: allowed are 0.1 to 0.448"),
        ({"camera_pose": "0 0 1 0 0 0 0"}, "quaternion of length 1"),
        ({"camera_pose": ""}, "where the camera 'camera' is in 'table' is not known"),
        ({"camera_pose": "0 0 0.7 0 0 0 1"}, "too few cells seen: 0%"),
    ],
)
def test_a_workspace_or_camera_pose_that_cannot_be_is_refused_in_one_line(
    bundle: Path, tmp_path: Path, parameters: dict[str, Any], said: str
) -> None:
    log = tmp_path / "log"
    with grasp_node(bundle, log, **parameters), Client() as client:
        # Refused when it is configured, or when it is asked.
        client.spin_until(lambda: "serving" in log.read_text() or said in log.read_text())
        if said not in log.read_text():
            client.wait_for_node()
            client.show(table((0.0, 0.0)))
            response = client.ask()
            assert said in (response.message if not response.success else client.said())
        assert "Traceback" not in log.read_text()
