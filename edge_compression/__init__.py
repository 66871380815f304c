"""Offline compression: a skill's checkpoint and a recipe in, an engine bundle and a report out."""

import edge_runtime  # noqa: F401 - sets the environment that ONNX Runtime reads when it is imported
