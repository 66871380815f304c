from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

RUN = """
from edge_runtime.onnx_engine import OnnxEngine
OnnxEngine.from_file(open({graph!r}, "rb").read()).warm_up()
"""


@pytest.mark.parametrize("first", ["edge_runtime.onnx_engine", "edge_compression.calibration"])
def test_onnx_runtime_leaves_nothing_in_the_users_cache(bundle_path: Path, first: str) -> None:
    home = bundle_path.parent / "home"
    home.mkdir()
    environment = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    program = f"import {first}" + RUN.format(graph=str(bundle_path / "fp32.onnx"))
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=100)
    assert list(home.rglob("*")) == []
