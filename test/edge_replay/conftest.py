"""A third party's skill, `spot`, installed the way its package would be: see spot/."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edge_runtime.bundle import EngineFile, Manifest, Model, Source, TensorSpec, write_bundle

HERE = Path(__file__).parent
REPLAY = Path(sys.executable).parent / "replay"
SIZE = (120, 160)


@dataclass(frozen=True)
class Suite:
    """The installed commands, with two skills and a bundle of each: of one model, of three."""

    environment: dict[str, str]
    bundle: Path
    three_models: Path

    def replay(self, *words: object, code: int = 0) -> str:
        """Run `replay`, check its exit code, and return what it printed, errors included."""
        done = subprocess.run(
            [REPLAY, *map(str, words)],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture(scope="session")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    prefix = tmp_path_factory.mktemp("prefix")
    metadata = prefix / "site" / "spot-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: spot\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[compressed_grasp.skills]\nspot = spot_skill:SpotSkill\n"
        "faulty = spot_skill:FaultySkill\nnodeless = spot_skill:NodelessSkill\n"
        "travel = travel_skill:TravelSkill\n"
    )
    for name in ("spot_node", "travel_node"):
        program = prefix / "lib" / "spot" / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{HERE / "spot" / name}.py" "$@"\n')
        program.chmod(0o755)
    path = [prefix / "site", HERE / "spot", *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, path)),
        "AMENT_PREFIX_PATH": str(prefix),
    }
    three = _bundle(prefix / "three", "fnet", "cnet", "update")
    return Suite(environment, _bundle(prefix / "bundle", "spot"), three)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five images with a white spot that moves 20 px each time, and its labels."""
    place = tmp_path / "photos"
    place.mkdir()
    spots = {}
    for index in range(5):
        image = np.full((*SIZE, 3), 40, np.uint8)
        spot = (20 + 20 * index, 60)
        cv2.circle(image, spot, 5, (255, 255, 255), -1)
        name = f"{index:02}.png"
        cv2.imwrite(str(place / name), image)
        spots[name] = spot
    (place / "spots.json").write_text(json.dumps(spots))
    return place


def _bundle(target: Path, *models: str) -> Path:
    """Write a bundle whose networks hand pixels through."""
    spec = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Identity", ["pixels"], ["same"])],
        "spot",
        [spec("pixels", TensorProto.FLOAT, ["batch", "height", "width", 3])],
        [spec("same", TensorProto.FLOAT, ["batch", "height", "width", 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    shape = ("batch", "height", "width", 3)
    data = onnx.ModelProto.SerializeToString(model)
    engine = EngineFile(
        precision="fp32", parameters=0, macs=0, bytes=len(data), accuracy={}, latency_ms={}
    )
    source = Source(
        checkpoint_sha256="0" * 64, recipe={}, recipe_sha256="0" * 64, calibration="none"
    )
    manifest = Manifest(
        skill="spot",
        name="spot",
        models={
            name: Model(
                inputs=[TensorSpec(name="pixels", shape=shape, dtype="float32")],
                outputs=[TensorSpec(name="same", shape=shape, dtype="float32")],
                engines={f"{name}/fp32.onnx": engine},
            )
            for name in models
        },
        names=["centre"],
        settings={},
        source=source,
        tools={},
        host={},
        created="2026-01-01T00:00:00+00:00",
    )
    return write_bundle(target, manifest, {f"{name}/fp32.onnx": data for name in models}).path
