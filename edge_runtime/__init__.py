"""What the nodes share at run time: bundles, engines, images, latency, the node base."""

import os

# From 1.31 on, ONNX Runtime keeps a device id and a database of events in the user's cache and
# looks up a server, unless this stands in the environment before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
