"""What the node `slam` listens to and says."""

from __future__ import annotations

from typing import Literal

from edge_runtime.interface import RESET, Input, NodeInterface, Output, Service
from edge_runtime.setting import Setting

CameraMode = Literal["mono", "rgbd", "stereo"]

IMAGE, DEPTH, RIGHT = "image", "depth", "right/image"
ODOMETRY = "~/odometry"
POSE = "~/pose"
PATH = "~/path"
POINTS = "~/points"
SAVE_MAP = Service(
    "~/save_map",
    "write trajectory, points and keyframes into the folder of the parameter map_folder",
)
LOAD_MAP = Service(
    "~/load_map", "go on in the map of that folder, once a keyframe of it is recognised"
)
IMAGES_OF_MODE: dict[str, tuple[str, ...]] = {
    "mono": (IMAGE,),
    "rgbd": (IMAGE, DEPTH),
    "stereo": (IMAGE, RIGHT),
}
"""Topics of the images that each `camera_mode` uses."""

_PRESETS = ("tum", "euroc", "eth3d")  # as `compressed_slam.settings.PRESETS`, which needs pydantic

SLAM = NodeInterface(
    name="slam",
    executable="slam_node",
    skill="slam",
    models=("fnet", "cnet", "update", "damping"),
    inputs=(
        Input(IMAGE, "colour", description="topic of the colour image, of the left camera"),
        Input("camera_info", "camera_info", of=IMAGE, description="its camera info topic"),
        Input(
            DEPTH,
            "depth",
            required=False,
            description="topic of the depth image registered to it; camera_mode rgbd",
        ),
        Input(
            RIGHT,
            "right colour",
            required=False,
            description="topic of the right camera's image; camera_mode stereo",
        ),
        Input(
            "right/camera_info",
            "camera_info",
            required=False,
            of=RIGHT,
            description="its camera info topic",
        ),
    ),
    outputs=(
        Output(
            ODOMETRY,
            "nav_msgs/msg/Odometry",
            description="the camera in the odometry frame: goes on smoothly, drifts",
        ),
        Output(
            POSE,
            "geometry_msgs/msg/PoseWithCovarianceStamped",
            description="the camera in the map: corrected, may jump",
        ),
        Output(
            PATH,
            "nav_msgs/msg/Path",
            watched=True,
            depth=1,
            description="of the keyframes in the map, as now known",
        ),
        Output(
            POINTS,
            "sensor_msgs/msg/PointCloud2",
            watched=True,
            depth=1,
            description="coloured points of the keyframes in memory, in the map",
        ),
    ),
    services=(RESET, SAVE_MAP, LOAD_MAP),
    camera_pose=True,
    settings=(
        Setting(
            "threads",
            default=1,
            description="processor threads of each network, in each of the node's three threads; 0 "
            "takes all cores",
            low=0,
            high=256,
        ),
        Setting(
            "camera_mode",
            default="rgbd",
            description="mono: image alone, without a scale; rgbd: with depth; stereo: with "
            "right/image",
            allowed=tuple(IMAGES_OF_MODE),
        ),
        Setting(
            "preset",
            default="tum",
            description="published thresholds to go by",
            allowed=_PRESETS,
        ),
        Setting(
            "depth_weight",
            default=0.0,
            description="of measured depth beside what is matched; 0: found out from how far the "
            "two are apart, at most 0.05",
            low=0.0,
            high=1.0,
        ),
        Setting("map_frame", default="map", description="frame of the corrected map"),
        Setting("odom_frame", default="odom", description="frame of the smooth odometry"),
        Setting(
            "base_frame",
            default="",
            description="the robot's frame, whose pose is told instead of the camera's; TF or "
            "camera_pose must know the camera in it; empty: the camera's own",
        ),
        Setting(
            "publish_tf",
            default=True,
            description="publish map -> odom -> camera (or base_frame) on TF",
        ),
        Setting(
            "map_folder",
            default="~/slam_map",
            description="folder that ~/save_map writes, in place of an older one, and ~/load_map "
            "reads",
            changes="always",
        ),
    ),
)
