"""The parameters that every node has."""

from __future__ import annotations

from edge_runtime.pairing import SLOP_S
from edge_runtime.setting import Setting
from edge_runtime.transform_text import parse_pose

# As the engine and the image decoder have them; a launch file reads this without their libraries.
_AUTO = "auto"
_PROVIDERS = ("tensorrt", "cuda", "cpu")
_MAX_MEGAPIXELS = 40.0

COMMON = (
    Setting(
        "bundle",
        default="",
        description="directory of the engine bundle to serve; empty takes the one that ships",
    ),
    Setting(
        "provider",
        default=_AUTO,
        description="what runs the network; auto takes the first that can",
        allowed=(_AUTO, *_PROVIDERS),
    ),
    Setting(
        "precision",
        default=_AUTO,
        description="which of the bundle's engines; auto takes int8 where the provider has it",
        allowed=(_AUTO, "fp32", "fp16", "int8"),
    ),
    Setting(
        "threads",
        default=0,
        description="processor threads of the network; 0 takes all cores",
        low=0,
        high=256,
    ),
    Setting(
        "autostart",
        default=True,
        description="configure and activate at start, without a lifecycle manager",
        changes="start",
    ),
    Setting(
        "image_transport",
        default="raw",
        description="compressed subscribes to <topic>/compressed for colour",
        allowed=("raw", "compressed"),
    ),
    Setting(
        "rectified",
        default=False,
        description="the images are rectified: their camera is P of the camera info, not K and D",
    ),
    Setting(
        "max_megapixels",
        default=_MAX_MEGAPIXELS,
        description="compressed images that declare more pixels than this are not decoded",
        low=0.001,
        high=1000.0,
    ),
    Setting(
        "latency_budget_ms",
        default=0.0,
        description="warn when the p95 of a frame's total time is above this; 0 never warns",
        low=0.0,
        high=60_000.0,
        changes="always",
    ),
)
# Only of nodes that decide on request.
CONTINUOUS, ON_REQUEST = "continuous", "on_request"
MODE = Setting(
    "mode",
    default=ON_REQUEST,
    description="on_request answers the newest images when ~/decide is called, continuous all",
    allowed=(ON_REQUEST, CONTINUOUS),
)
# Only of nodes that want to know where the camera is.
CAMERA_POSE = Setting(
    "camera_pose",
    default="",
    description="where the camera's optical frame is, for times at which TF does not tell: "
    "x y z qx qy qz qw in metres; empty: unknown",
    verify=parse_pose,
)
# Only of nodes with a depth input.
DEPTH_TRANSPORT = Setting(
    "depth_transport",
    default="raw",
    description="compressed and compressedDepth subscribe to <topic>/compressed, "
    "<topic>/compressedDepth for depth",
    allowed=("raw", "compressed", "compressedDepth"),
)
# Only of nodes with several image inputs.
SLOP = Setting(
    "slop",
    default=SLOP_S,
    description="seconds by which the stamps of images that are paired may differ",
    low=0.0,
    high=10.0,
)
