from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from edge_runtime.bundle import load_bundle
from edge_runtime.engine import open_engine
from edge_runtime.errors import BundleError
from edge_runtime.latency import Stopwatch
from edge_runtime.share import shipped_bundle
from pose_fcn.estimator import IMAGE, PoseEstimator, PoseSettings

REPOSITORY = Path(__file__).resolve().parents[2]
SETTINGS = PoseSettings(
    long_side=256, seed_threshold=0.5, grow_share=0.3, links=((0, 1),), reference_link=(0, 1)
)
NAMES = ["red", "green", "blue"]


def colour_network(inputs: dict[str, Any]) -> dict[str, Any]:
    """A network in one line: map k is colour channel k at half the resolution."""
    image = inputs["image"]
    assert image.shape[2] % 32 == 0
    assert image.shape[3] % 32 == 0
    batch, channels, height, width = image.shape
    maps = image.reshape(batch, channels, height // 2, 2, width // 2, 2).mean((3, 5))
    return {"maps": np.concatenate([maps, maps[:, :1]], axis=1)}


@pytest.mark.parametrize(
    ("height", "width"), [(480, 640), (640, 480), (1080, 1920), (120, 160), (100, 700), (256, 256)]
)
def test_positions_are_in_the_pixels_of_the_given_picture(height: int, width: int) -> None:
    estimator = PoseEstimator(colour_network, SETTINGS, NAMES)
    picture = np.zeros((height, width, 3), np.uint8)
    # Squares of whole map pixels, so that scaling keeps their centres to a fraction of a pixel.
    cell = max(1, round(2 * max(height, width) / 256))
    centres = {}
    for channel, (column, row) in {0: (20, 10), 2: (61, 30)}.items():
        left, top = min(column * cell, width - 4 * cell), min(row * cell, height - 4 * cell)
        # Blue is channel 0 of BGR and keypoint 2, as the network sees RGB.
        picture[top : top + 4 * cell, left : left + 4 * cell, 2 - channel] = 255
        centres[channel] = (left + 2 * cell - 0.5, top + 2 * cell - 0.5)
    keypoints = estimator.estimate(picture)
    assert keypoints.found.tolist() == [True, False, True]
    network_pixel = max(height, width) / 256
    for channel, centre in centres.items():
        assert keypoints.positions[channel] == pytest.approx(centre, abs=0.3 * network_pixel)
    assert np.isnan(keypoints.positions[1]).all()


@pytest.mark.parametrize("brightness", [190, 250])
def test_there_is_an_arm_only_where_its_keypoints_score_enough_together(brightness: int) -> None:
    settings = SETTINGS.model_copy(update={"arm_threshold": 0.5})
    picture = np.zeros((256, 256, 3), np.uint8)
    picture[40:80, 40:80, 2] = brightness
    picture[120:160, 40:80, 0] = 160

    keypoints = PoseEstimator(colour_network, settings, NAMES).estimate(picture)

    assert keypoints.scores == pytest.approx([brightness / 255, 0, 160 / 255], abs=0.01)
    assert keypoints.found.tolist() == [brightness == 250, False, brightness == 250]
    assert np.isnan(keypoints.positions[~keypoints.found]).all()


@pytest.mark.parametrize(
    ("rows", "columns"), [(96, 128), (288, 384), (576, 768), (768, 1024), (120, 160)]
)
def test_the_network_sees_the_average_of_what_its_pixels_cover(rows: int, columns: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (rows, columns, 3), np.uint8)
    settings = SETTINGS.model_copy(update={"long_side": 64, "seed_threshold": 0.01})
    cell = columns // 32  # of a pixel of the maps, which are half as large
    cells = picture.reshape(24, cell, 32, cell, 3).mean((1, 3)) / 255

    maps = PoseEstimator(colour_network, settings, NAMES).estimate(picture).maps

    # Rounded to bytes once, and once more for every halving.
    assert maps[:3, :24] == pytest.approx(cells.transpose(2, 0, 1)[::-1], abs=1.5 / 255)


def test_keypoints_below_the_least_score_are_not_found_but_keep_their_score() -> None:
    picture = np.zeros((256, 256, 3), np.uint8)
    picture[100:120, 100:120] = (0, 150, 250)
    sure = PoseEstimator(colour_network, SETTINGS, NAMES, min_score=0.8).estimate(picture)
    assert sure.found.tolist() == [True, False, False]
    assert np.isnan(sure.positions[1]).all()
    assert sure.scores == pytest.approx([250 / 255, 150 / 255, 0], abs=0.01)


@pytest.mark.parametrize(
    "change",
    [
        {"grow_share": 1.1},
        {"long_side": 100},
        {"long_side": 128_000},
        {"links": [(0, 1, 2)]},
        {"gain": 1},
    ],
)
def test_settings_that_contradict_themselves_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PoseSettings.model_validate({**SETTINGS.model_dump(), **change})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"settings": {**SETTINGS.model_dump(), "long_side": 128_000}}, ["long_side", "2048"]),
        ({"settings": {**SETTINGS.model_dump(), "links": [(0, 8)]}}, ["[0, 1, 8]", "are 8"]),
        ({"names": NAMES}, [r"maps (1, 9, 96, 128)", "expected is maps (1, 4, 96, 128)"]),
        ({"names": []}, ["[0, 1]", "are 0"]),
    ],
)
def test_a_bundle_that_would_fail_on_frames_is_refused_before(
    change: dict[str, Any], words: list[str]
) -> None:
    bundle = load_bundle(shipped_bundle("pose"))
    changes = {"settings": SETTINGS.model_dump(), **change}
    changed = replace(bundle, manifest=bundle.manifest.model_copy(update=changes))
    with pytest.raises(BundleError) as caught:
        PoseEstimator.from_bundle(changed, open_engine(bundle).run)
    assert all(word in str(caught.value) for word in (str(bundle.path), *words))


@pytest.mark.parametrize(
    ("stated", "fed"),
    [
        ({}, [30 / 255, 20 / 255, 10 / 255]),
        ({"colour_order": "BGR"}, [10 / 255, 20 / 255, 30 / 255]),
        ({"scale": 1.0, "mean": (10.0, 10.0, 10.0), "std": (1.0, 2.0, 4.0)}, [20.0, 5.0, 0.0]),
        ({"layout": "NHWC"}, [30 / 255, 20 / 255, 10 / 255]),
    ],
)
def test_the_network_is_fed_as_the_manifest_says(stated: dict[str, Any], fed: list[float]) -> None:
    bundle = load_bundle(shipped_bundle("pose"))
    model = bundle.manifest.model
    spec = model.inputs[0].model_copy(update=stated)
    changes = {
        "models": {"pose": model.model_copy(update={"inputs": [spec]})},
        "settings": SETTINGS.model_dump(),
    }
    changed = replace(bundle, manifest=bundle.manifest.model_copy(update=changes))
    seen: list[np.ndarray] = []

    def run(inputs: dict[str, Any]) -> dict[str, Any]:
        seen.append(inputs["image"])
        return {"maps": np.zeros((1, 9, 96, 128), np.float32)}

    estimator = PoseEstimator.from_bundle(changed, run)
    estimator.estimate(np.full((192, 256, 3), (10, 20, 30), np.uint8))

    pixel = seen[-1][0, 5, 5] if spec.layout == "NHWC" else seen[-1][0, :, 5, 5]
    assert pixel == pytest.approx(fed)


@pytest.mark.parametrize(
    "stated",
    [{"colour_order": None}, {"layout": "CHWN"}, {"mean": (0.5,)}, {"std": (1.0, 0.0, 1.0)}],
)
def test_an_input_that_is_no_picture_is_refused(stated: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match=r"'image' .* is no picture: expected are NCHW or NHWC"):
        PoseEstimator(colour_network, SETTINGS, NAMES, image=IMAGE.model_copy(update=stated))


@pytest.mark.parametrize("outputs", [{}, {"heat": np.zeros((1, 4, 96, 128))}])
def test_a_network_without_maps_is_refused(outputs: dict[str, Any]) -> None:
    bundle = load_bundle(shipped_bundle("pose"))
    with pytest.raises(BundleError, match="expected is maps"):
        PoseEstimator.from_bundle(bundle, lambda _: outputs)


def test_the_picture_before_leaves_nothing_in_the_padding() -> None:
    estimator = PoseEstimator(colour_network, SETTINGS, NAMES)
    estimator.estimate(np.full((200, 256, 3), 255, np.uint8))
    assert not estimator.estimate(np.zeros((199, 256, 3), np.uint8)).found.any()


def test_every_stage_is_timed() -> None:
    stopwatch = Stopwatch()
    PoseEstimator(colour_network, SETTINGS, NAMES).estimate(
        np.zeros((64, 64, 3), np.uint8), stopwatch
    )
    assert list(stopwatch.stages) == ["preprocess", "engine", "clustering"]


def test_the_benchmark_judges_every_engine_of_a_bundle(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "models" / "pose" / "bundle", tmp_path / "bundle")
    manifest = load_bundle(tmp_path / "bundle").manifest
    photos = tmp_path / "photos"
    photos.mkdir()
    cv2.imwrite(str(photos / "0.png"), np.zeros((96, 128, 3), np.uint8))
    points = [
        {"name": name, "projected_location": [60, 40], "in_image": True} for name in manifest.names
    ]
    labels = {"K": np.eye(3).tolist(), "frames": [{"image": "0.png", "keypoints": points}]}
    (photos / "keypoints.json").write_text(json.dumps(labels))

    script = REPOSITORY / "benchmarks" / "panda.py"
    words = [sys.executable, script, tmp_path / "bundle", "--photos", photos]
    done = subprocess.run(words, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "panda.json").read_text())["photos"]
    assert list(figures) == list(manifest.engines)
    assert {"fp16.onnx", "trt.onnx"} <= manifest.engines.keys()
    assert (tmp_path / "panda.jpg").is_file()
