"""The parameters that every node has."""

from __future__ import annotations

from edge_runtime.compressed_images import MAX_PIXELS
from edge_runtime.engine import AUTO, PROVIDERS
from edge_runtime.pairing import SLOP_S
from edge_runtime.parameters import Setting

COMMON = (
    Setting(
        "bundle",
        default="",
        description="directory of the engine bundle to serve; empty takes the one that ships",
    ),
    Setting(
        "provider",
        default=AUTO,
        description="what runs the network; auto takes the first that can",
        allowed=(AUTO, *PROVIDERS),
    ),
    Setting(
        "precision",
        default=AUTO,
        description="which of the bundle's engines; auto takes int8 where the provider has it",
        allowed=(AUTO, "fp32", "fp16", "int8"),
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
        default=MAX_PIXELS / 1e6,
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
