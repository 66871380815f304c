"""What the node of the travel skill listens to and says: three networks, it remembers."""

from __future__ import annotations

from edge_runtime.interface import DECIDE, RESET, Input, NodeInterface, Output, Service
from edge_runtime.setting import Setting

WAY = "~/way"
KEEP = Service("~/keep", "write the way into the folder of the parameter keep_in")
MODELS = ("fnet", "cnet", "update")

TRAVEL = NodeInterface(
    name="travel",
    executable="travel_node",
    skill="spot",
    inputs=(
        Input("image", "colour"),
        Input("camera_info", "camera_info", required=False, of="image"),
    ),
    outputs=(Output(WAY, "geometry_msgs/msg/PointStamped"),),
    services=(RESET, DECIDE, KEEP),
    settings=(Setting("keep_in", default="", description="folder of ~/keep"),),
    models=MODELS,
)
