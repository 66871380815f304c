"""What the node of the travel skill listens to and says: three networks, it remembers."""

from __future__ import annotations

from edge_runtime.interface import DECIDE, RESET, Input, NodeInterface, Output

WAY = "~/way"
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
    services=(RESET, DECIDE),
    models=MODELS,
)
