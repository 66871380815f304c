"""What the node `arm_pose` listens to and says."""

from __future__ import annotations

from edge_runtime.interface import Input, NodeInterface, Output
from edge_runtime.setting import Setting

KEYPOINTS = "~/keypoints"
MARKERS = "~/markers"
OVERLAY = "~/overlay"

ARM_POSE = NodeInterface(
    name="arm_pose",
    executable="pose_node",
    skill="pose",
    inputs=(
        Input("image", "colour", description="topic of the colour image"),
        Input(
            "camera_info",
            "camera_info",
            required=False,
            of="image",
            description="its camera info topic",
        ),
        Input(
            "depth",
            "depth",
            required=False,
            description="topic of the depth image registered to it; may stay silent",
        ),
    ),
    outputs=(
        Output(
            KEYPOINTS,
            "sensor_msgs/msg/PointCloud2",
            description="one point per keypoint: x y z [m], u v [px], score",
        ),
        Output(
            MARKERS,
            "visualization_msgs/msg/MarkerArray",
            watched=True,
            description="the skeleton in space",
        ),
    ),
    pictures=(OVERLAY,),
    settings=(
        Setting(
            "min_score",
            default=0.0,
            description="keypoints that score less are not found; 0 takes the bundle's threshold",
            low=0.0,
            high=1.0,
        ),
    ),
)
