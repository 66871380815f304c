"""Bundles as earlier versions wrote them."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

PLAN: dict[str, Any] = {
    "graph": "fp32.onnx",
    "precision": "fp16",
    "shapes": {"image": [[1, 4, 4, 3], [1, 8, 8, 3], [1, 16, 16, 3]]},
    "difference": 0.001,
    "latency_ms": {"p50": 1.5},
    "host": {"name": "robot"},
    "created": "2025-01-01T00:00:00+00:00",
}
CHOICE: dict[str, Any] = {
    "file": "fp32.onnx",
    "latency_ms": {"fp32.onnx": 1.0},
    "library": "onnxruntime 1",
    "host": {},
    "created": "2025-01-01T00:00:00+00:00",
}


def make_old(bundle: Path, version: int = 2, plan: bytes = b"", **changes: object) -> Path:
    """Rewrite the manifest of a bundle of one model; `plan` goes into each of its `plans`."""
    path = bundle / "manifest.json"
    content = json.loads(path.read_text())
    [model] = content.pop("models").values()
    examples = model.pop("examples")
    del model["calls"]
    content |= {**model, "example": next(iter(examples), {}), "plans": {}, "choices": {}, **changes}
    content["schema_version"] = version
    for name in content["plans"]:
        (bundle / name).parent.mkdir(exist_ok=True)
        (bundle / name).write_bytes(plan)
        content["files"][name] = hashlib.sha256(plan).hexdigest()
    if version == 1:
        for key in ("guard", "example", "plans", "choices"):
            del content[key]
    path.write_text(json.dumps(content))
    return bundle
