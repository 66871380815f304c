"""The declaration of a node: what may stand in it, and that it needs no library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edge_runtime.common_settings import COMMON
from edge_runtime.compressed_images import MAX_PIXELS
from edge_runtime.engine import AUTO, PROVIDERS
from edge_runtime.errors import SettingError
from edge_runtime.interface import DECIDE, Input, NodeInterface
from edge_runtime.setting import Setting
from edge_runtime.transform_text import parse_pose

ROOT = Path(__file__).resolve().parents[2]
IMAGE = Input("image", "colour")


def test_a_bare_python_reads_it() -> None:
    """As a launch does that has none of the node's libraries."""
    program = (
        f"import sys; sys.path = [{str(ROOT)!r}, *(p for p in sys.path if '-packages' not in p)]\n"
        "from pose_fcn.interface import ARM_POSE\n"
        "print(ARM_POSE.resolve('~/keypoints'), *(s.name for s in ARM_POSE.parameters))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", program], capture_output=True, text=True, check=True
    )
    topic, *names = done.stdout.split()
    assert topic == "/arm_pose/keypoints"
    assert {"bundle", "depth_transport", "slop", "min_score"} <= set(names)


def test_what_stands_in_it_for_the_libraries_is_what_they_have() -> None:
    settings = {setting.name: setting for setting in COMMON}
    assert settings["provider"].allowed == (AUTO, *PROVIDERS)
    assert settings["max_megapixels"].default == MAX_PIXELS / 1e6


def test_parameters_are_those_that_concern_the_node() -> None:
    def names(*inputs: Input, **more: object) -> set[str]:
        node = NodeInterface("n", "n_node", "s", (IMAGE, *inputs), (), **more)  # type: ignore[arg-type]
        return {setting.name for setting in node.parameters} - {s.name for s in COMMON}

    assert names() == set()
    assert names(Input("depth", "depth")) == {"depth_transport", "slop"}
    assert names(Input("right/image", "right colour")) == {"slop"}
    assert names(services=(DECIDE,), camera_pose=True) == {"mode", "camera_pose"}
    own = Setting("threads", default=1, description="of three")
    node = NodeInterface("n", "n_node", "s", (IMAGE,), (), settings=(own,))
    assert [one for one in node.parameters if one.name == "threads"] == [own]


@pytest.mark.parametrize(
    "inputs",
    [
        (),
        (Input("info", "camera_info", of="image"), IMAGE),
        (Input("image", "colour", required=False),),
    ],
)
def test_a_node_needs_an_image_first(inputs: tuple[Input, ...]) -> None:
    with pytest.raises(ValueError, match="the first input must be an image that is required"):
        NodeInterface("n", "n_node", "s", inputs, ())


def test_a_camera_info_is_of_an_image() -> None:
    with pytest.raises(ValueError, match="info is of 'left', not of one of"):
        NodeInterface("n", "n_node", "s", (IMAGE, Input("info", "camera_info", of="left")), ())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 2 3", "seven finite numbers"),
        ("a b c d e f g", "seven finite numbers"),
        ("nan 0 0 0 0 0 1", "seven finite numbers"),
        ("0 0 0 0 0 0 inf", "seven finite numbers"),
        ("0 0 0 0 0 0 0", "a quaternion of length 1 at the end, not of 0"),
        ("0 0 0 1 1 0 0", "not of 1.41"),
    ],
)
def test_a_pose_that_is_none_is_refused(text: str, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        parse_pose(text)


def test_a_pose_is_read_and_its_rounding_mended() -> None:
    assert parse_pose(" ") is None
    assert parse_pose("1,2, 3 0 0 0 1") == (1, 2, 3, 0, 0, 0, 1)
    found = parse_pose("0 0 0 0.707 0 0.707 0")
    assert found is not None
    assert sum(value**2 for value in found) == pytest.approx(1, abs=1e-12)
