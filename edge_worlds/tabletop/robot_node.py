"""The simulated robot's node; the only file of the worlds that needs ROS."""

from __future__ import annotations

import array
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import Trigger
from trajectory_msgs.msg import MultiDOFJointTrajectory

from edge_runtime.camera_poses import Broadcaster
from edge_runtime.errors import SettingError
from edge_runtime.trajectory import Trajectory
from edge_runtime.transform_text import format_pose
from edge_runtime.transport import profile_environment
from edge_worlds.tabletop.episode import Command, millimetres

if TYPE_CHECKING:
    from edge_worlds.tabletop.episode import Episode

FRAME, CAMERA_FRAME = "table", "camera_optical_frame"
_USELESS = 10  # actions in a row, as in VPG's routine
_NOTHING = 3  # looks in a row that the node found nothing to do about
_ASK_AGAIN_S = 2.0
_MOST_ACTIONS = 15  # an object


class Robot(Node):
    """Publishes what its camera sees, and does what `grasp/action` says about the newest look.

    It asks `grasp/decide` for an action as soon as it has looked; where the node answers every
    image by itself, it does without. `result` is set when the episode has ended.
    """

    def __init__(self, episode: Episode, *, rate: float, action_time: float) -> None:
        """Take an episode, the rate of the images [Hz], and how long an action takes [s]."""
        super().__init__("robot")
        self.result: str | None = None
        self._episode = episode
        self._action_time = action_time
        self._busy_until = 0.0
        self._nothing = 0
        self._asked: Any = None
        self._asked_at = 0.0
        self._transforms = Broadcaster(self)
        qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
        self._color = self.create_publisher(Image, "color", qos)
        self._depth = self.create_publisher(Image, "depth", qos)
        self._info = self.create_publisher(CameraInfo, "camera_info", qos)
        self.create_subscription(MultiDOFJointTrajectory, "grasp/action", self._on_action, 10)
        self._decide: Any = self.create_client(Trigger, "grasp/decide")
        self._new_look()
        self.create_timer(1 / rate, self._tick)

    def _new_look(self) -> None:
        """From now on only actions that answer the present picture are carried out."""
        self._since: Time | None = None
        picture = self._episode.picture
        depth = image_message(millimetres(picture.depth), "16UC1")
        self._images = (image_message(picture.color, "rgb8"), depth)
        height, width = picture.depth.shape
        self._camera = CameraInfo(
            height=height,
            width=width,
            distortion_model="plumb_bob",
            d=[0.0] * 5,
            k=picture.matrix.ravel(),
            p=np.hstack([picture.matrix, np.zeros((3, 1))]).ravel(),
        )

    def _tick(self) -> None:
        if self.result is not None or time.monotonic() < self._busy_until:
            return
        now = self.get_clock().now()
        stamp = now.to_msg()
        color, depth = self._images
        for message in (color, depth, self._camera):
            message.header.stamp, message.header.frame_id = stamp, CAMERA_FRAME
        self._transforms.send(stamp, FRAME, CAMERA_FRAME, self._episode.camera_pose)
        self._info.publish(self._camera)
        self._depth.publish(depth)
        self._color.publish(color)
        if self._since is None:
            # Asked at the next tick, when this image has arrived.
            self._since = now
        else:
            self._ask()

    def _ask(self) -> None:
        """Ask for an action, if the node is there and does not owe one."""
        overdue = time.monotonic() - self._asked_at > _ASK_AGAIN_S
        if self._asked is not None and overdue:
            self._decide.remove_pending_request(self._asked)
            self._asked = None
        if self._asked is None and overdue and self._decide.service_is_ready():
            self._asked = self._decide.call_async(Trigger.Request())
            self._asked_at = time.monotonic()

    def _on_action(self, message: MultiDOFJointTrajectory) -> None:
        if self.result is not None or self._since is None:
            return
        if Time.from_msg(message.header.stamp).nanoseconds < self._since.nanoseconds:
            return  # about what was there before the last action
        self._asked, self._asked_at = None, 0.0
        if not message.points:
            self._look_again("the node found nothing to do")
            return
        try:
            entry = self._episode.execute(_command(message))
        except SettingError as error:
            self.get_logger().error(f"action refused: {error}")
            self._look_again("the node's actions were refused")
            return
        self._nothing = 0
        said = "grasped" if entry["grasped"] else "moved" if entry["moved"] else "changed nothing"
        self.get_logger().info(f"{entry['kind']}: {said}; {entry['remaining']} objects remain")
        self._busy_until = time.monotonic() + self._action_time
        actions = len(self._episode.log["actions"])
        if not entry["remaining"]:
            self._end("cleared")
        elif self._episode.useless >= _USELESS:
            self._end(f"{_USELESS} actions in a row changed nothing")
        elif actions >= _MOST_ACTIONS * self._episode.log["objects"]:
            self._end(f"not cleared after {actions} actions")
        self._new_look()

    def _look_again(self, why: str) -> None:
        """Give the node another picture of the same, and up after some."""
        self._nothing += 1
        if self._nothing >= _NOTHING:
            self._end(why)
            return
        self._episode.look_again()
        self._new_look()

    def _end(self, result: str) -> None:
        self.result = result
        self._episode.end(result)


def image_message(pixels: np.ndarray[Any, Any], encoding: str) -> Image:
    """Make an image without a header of pixels (h, w) or (h, w, channels)."""
    height, width = pixels.shape[:2]
    data = np.ascontiguousarray(pixels).tobytes()
    return Image(
        height=height,
        width=width,
        encoding=encoding,
        step=len(data) // height,
        data=array.array("B", data),
    )


def _command(message: MultiDOFJointTrajectory) -> Command:
    """Read a trajectory of one joint.

    Raises:
        SettingError: it is of other joints, or of another frame than the table's.
    """
    names, frame = list(message.joint_names), message.header.frame_id
    if len(names) != 1 or frame != FRAME:
        text = f"action of the joints {names} in the frame {frame!r}; give one, in {FRAME!r}"
        raise SettingError(text)
    tools = [each for point in message.points for each in point.transforms]
    waypoints = [[t.translation.x, t.translation.y, t.translation.z] for t in tools]
    q = tools[0].rotation
    x_axis = (1 - 2 * (q.y**2 + q.z**2), 2 * (q.x * q.y + q.z * q.w))
    return Command(names[0], np.array(waypoints), float(np.arctan2(x_axis[1], x_axis[0])))


def clear_table(
    episode: Episode, *, rate: float = 10.0, action_time: float = 0.0, patience: float = 60.0
) -> str:
    """Let the node on `grasp/action` clear the table; return how it ended.

    Raises:
        SettingError: no action has come for `patience` seconds.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    os.environ.update(profile_environment())
    rclpy.init(args=None, signal_handler_options=SignalHandlerOptions.NO)
    robot = Robot(episode, rate=rate, action_time=action_time)
    executor = SingleThreadedExecutor()
    executor.add_node(robot)
    done, acted = 0, time.monotonic()
    try:
        while robot.result is None and not stop.is_set():
            executor.spin_once(timeout_sec=0.1)
            if len(episode.log["actions"]) > done:
                done, acted = len(episode.log["actions"]), time.monotonic()
            if time.monotonic() - acted > patience:
                message = (
                    f"no action came on {robot.resolve_topic_name('grasp/action')} for "
                    f"{patience:g} s; start grasp_node with this camera pose: "
                    f"{pose_text(episode.camera_pose)}"
                )
                raise SettingError(message)
    finally:
        executor.shutdown()
        robot.destroy_node()
        rclpy.shutdown()
    if robot.result is None:
        raise KeyboardInterrupt
    return robot.result


def pose_text(pose: np.ndarray[Any, Any]) -> str:
    """Write a (4, 4) transform as the parameter `camera_pose` has it: x y z qx qy qz qw."""
    [numbers] = Trajectory.from_matrices(np.zeros(1, np.int64), pose[None]).poses
    return format_pose(numbers)
