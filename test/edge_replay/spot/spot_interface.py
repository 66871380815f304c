"""What the node of the spot skill listens to and says."""

from __future__ import annotations

from edge_runtime.interface import Input, NodeInterface, Output
from edge_runtime.setting import Setting

CENTRE = "~/centre"

SPOT = NodeInterface(
    name="spot",
    executable="spot_node",
    skill="spot",
    inputs=(
        Input("image", "colour"),
        Input("camera_info", "camera_info", required=False, of="image"),
    ),
    outputs=(Output(CENTRE, "geometry_msgs/msg/PointStamped"),),
    settings=(
        Setting("delay_ms", 0.0, "time that a frame takes at least", 0.0, 1000.0),
        Setting("tires_after", 0, "frames in a row after which one takes longer; 0 never", 0, 1000),
        Setting("die_after", 0, "end the process in this frame; 0 never", 0, 1000),
    ),
)
