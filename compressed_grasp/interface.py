"""What the node `grasp` listens to and says."""

from __future__ import annotations

from edge_runtime.interface import DECIDE, RESET, Input, NodeInterface, Output, Service
from edge_runtime.setting import Setting

ACTION = "~/action"
PUSH = "~/action/push"
GRASP_POSE = "~/action/grasp"
HEIGHT_MAP = "~/heightmap"
ARM = "arm_pose/keypoints"
MARKERS = "~/markers"
Q_MAP = "~/q_map"

ENABLED = Service(
    "~/enabled", "data false: no actions until it is called with true", "std_srvs/srv/SetBool"
)

_LARGEST = 0.448  # metres; as many cells as the network takes

GRASP = NodeInterface(
    name="grasp",
    executable="grasp_node",
    skill="grasp",
    inputs=(
        Input("color", "colour", description="topic of the colour image"),
        Input("depth", "depth", description="topic of the depth image registered to it"),
        Input(
            "camera_info",
            "camera_info",
            of="color",
            description="camera info topic of the colour image",
        ),
    ),
    outputs=(
        Output(
            ACTION,
            "trajectory_msgs/msg/MultiDOFJointTrajectory",
            description="joint name push or grasp, and the tool's way points; none where there is "
            "nothing to do",
        ),
        Output(
            PUSH,
            "geometry_msgs/msg/PoseStamped",
            watched=True,
            description="the tool where a push begins: z approach, x along the push",
        ),
        Output(
            GRASP_POSE,
            "geometry_msgs/msg/PoseStamped",
            watched=True,
            description="the tool where the jaws close: z approach, x across the jaws",
        ),
        Output(
            HEIGHT_MAP,
            "sensor_msgs/msg/Image",
            watched=True,
            depth=1,
            description="32FC1: metres above the table, NaN where unseen; rows along y, columns "
            "along x of the workspace frame",
        ),
        Output(
            MARKERS,
            "visualization_msgs/msg/MarkerArray",
            watched=True,
            description="workspace and action in space",
        ),
    ),
    pictures=(Q_MAP,),
    services=(DECIDE, RESET, ENABLED),
    camera_pose=True,
    settings=(
        Setting(
            "workspace_frame",
            default="table",
            description="frame of workspace and actions, z up against gravity; TF or camera_pose "
            "says where the camera is in it",
        ),
        Setting(
            "workspace_x",
            default=0.0,
            description="x of the workspace's middle in metres",
            low=-100.0,
            high=100.0,
        ),
        Setting(
            "workspace_y",
            default=0.0,
            description="y of the workspace's middle in metres",
            low=-100.0,
            high=100.0,
        ),
        Setting(
            "workspace_size",
            default=_LARGEST,
            description="side of the square workspace in metres",
            low=0.1,
            high=_LARGEST,
        ),
        Setting(
            "table_height",
            default=0.0,
            description="z of the table's surface in the workspace frame in metres",
            low=-100.0,
            high=100.0,
        ),
        Setting(
            "push_below",
            default=0.45,
            description="objects are pushed only where the best grasp is worth less; 0: never",
            low=0.0,
            high=1.0,
        ),
        Setting(
            "min_q",
            default=0.1,
            description="actions of which the network expects less than this are not done",
            low=0.0,
            high=1.0,
        ),
        Setting(
            "min_coverage",
            default=0.2,
            description="share of the workspace that the camera must have seen",
            low=0.0,
            high=1.0,
        ),
        Setting(
            "max_object_height",
            default=0.2,
            description="metres above the table; what reaches higher is an arm, a frame or a "
            "wall, and is kept clear of by 30 mm",
            low=0.01,
            high=0.4,
        ),
        Setting(
            "arm_radius",
            default=0.08,
            description="metres about the keypoints of a node arm_pose, and the lines between "
            "them, that are kept clear of; 0: it is not listened to",
            low=0.0,
            high=0.5,
        ),
        Setting(
            "retry_after",
            default=10.0,
            description="with mode continuous: seconds after which an action is taken as done; "
            "where nothing has moved since, another one is chosen",
            low=0.0,
            high=3600.0,
        ),
    ),
)
