"""Everything that cameras send, good and bad, to one running `pose_node`."""

from __future__ import annotations

import array
import signal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pose_process import PATIENCE_S, client, message, pose_node, read
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from edge_worlds.arm.model import Arm
from edge_worlds.arm.scene import SceneSampler

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.ros

GREY = ["mono8", "mono16", "8UC1"]
COLOUR = ["bgr8", "rgb8", "bgra8", "rgba8", "8UC3", "8UC4", "bgr16", "rgb16", "bgra16", "rgba16"]
YUV = ["uyvy", "yuv422", "yuyv", "yuv422_yuy2"]
BAYER = [f"bayer_{order}{bits}" for order in ("rggb", "bggr", "gbrg", "grbg") for bits in (8, 16)]


def encoded(bgr: np.ndarray, encoding: str, *, big: bool = False) -> np.ndarray:
    """Lay out a picture; of YUV and Bayer, one that has no colour."""
    grey = bgr.mean(axis=2).astype(np.uint8)
    planes = {letter: bgr[..., index] for index, letter in enumerate("bgr")}
    planes["a"] = np.full_like(grey, 7)
    name = {"8UC3": "bgr", "8UC4": "bgra"}.get(encoding, encoding.rstrip("0123456789"))
    if encoding in COLOUR:
        pixels = np.stack([planes[letter] for letter in name], axis=-1)
    elif encoding in YUV:
        pair = (grey, np.full_like(grey, 128))
        luma_first = encoding in {"yuyv", "yuv422_yuy2"}
        pixels = np.stack(pair if luma_first else pair[::-1], axis=-1)
    else:
        pixels = grey[..., None]
    if encoding.endswith("16"):
        return (pixels.astype(np.uint16) * 256 + 99).astype(">u2" if big else "<u2")
    return pixels


class Camera:
    """Sends pictures, each under the next stamp, and knows the answers."""

    def __init__(self, node: Any, process: subprocess.Popen[str], log: Path) -> None:  # noqa: ANN401
        self.process = process
        self.second = 100
        self._node = node
        self._log = log
        self._answers: dict[int, np.ndarray] = {}
        node.create_subscription(PointCloud2, "/arm_pose/keypoints", self._take, 10)
        self._images = node.create_publisher(Image, "image", 1)
        self.infos = node.create_publisher(CameraInfo, "camera_info", 1)
        publishers = (self._images, self.infos)
        node.spin_until(lambda: all(p.get_subscription_count() for p in publishers))
        # Matched here is not yet matched there: send probes until one is answered.
        while not self._answers:
            assert self.second < 200, "no answer to any probe"
            self.send(message(np.zeros((32, 32, 3), np.uint8), "bgr8", 0))
            self.listen(0.2)

    def listen(self, seconds: float) -> None:
        self._node.listen(seconds)

    def send(self, image: Image) -> int:
        self.second += 1
        image.header.stamp.sec = self.second
        self._images.publish(image)
        return self.second

    def ask(self, image: Image) -> np.ndarray:
        """Return the rows of the answer."""
        second = self.send(image)
        self._node.spin_until(lambda: second in self._answers)
        return self._answers[second]

    def lines(self, words: str) -> list[str]:
        return [line for line in self._log.read_text().splitlines() if words in line]

    def wait_for(self, words: str) -> str:
        self._node.spin_until(lambda: self.lines(words))
        return self.lines(words)[0]

    def _take(self, cloud: PointCloud2) -> None:
        self._answers[cloud.header.stamp.sec] = read(cloud)


@pytest.fixture(scope="module")
def bgr() -> np.ndarray:
    return SceneSampler(Arm(), (320, 240), most_occluders=0).sample(np.random.default_rng(4)).bgr


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Camera]:
    log = tmp_path_factory.mktemp("node") / "stderr"
    with log.open("w") as stderr, pose_node(stderr=stderr) as process, client() as node:
        yield Camera(node, process, log)


@pytest.fixture(scope="module")
def expected(camera: Camera, bgr: np.ndarray) -> np.ndarray:
    return camera.ask(message(bgr, "bgr8", 0))


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("encoding", [*COLOUR, *GREY, *YUV, *BAYER])
def test_every_colour_encoding_is_answered(
    camera: Camera, bgr: np.ndarray, expected: np.ndarray, encoding: str, *, big: bool
) -> None:
    image = message(encoded(bgr, encoding, big=big), encoding, 0)
    image.is_bigendian = int(big)
    rows = camera.ask(image)
    assert rows.shape == expected.shape
    assert np.isfinite(rows[:, 5]).all()
    if encoding in COLOUR:
        np.testing.assert_allclose(rows, expected, atol=1e-4)


def small(encoding: str = "bgr8", size: tuple[int, int] = (64, 64), **changes: object) -> Image:
    image = message(np.full((*size, 3), 90, np.uint8), encoding, 0)
    for name, value in changes.items():
        setattr(image, name, value)
    return image


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (small("16UC1", step=128), ["'16UC1' is not a colour image", "accepted are bgr8, rgb8"]),
        (small(step=191), ["64x64 bgr8 has step 191", "at least 192"]),
        (small(size=(0, 64)), ["64x0 bgr8 is empty", "at least 1"]),
        (small(data=array.array("B", bytes(64 * 191))), ["12224 bytes", "12288 are needed"]),
    ],
)
def test_an_image_that_contradicts_itself_is_refused_in_one_line(
    camera: Camera, image: Image, words: list[str]
) -> None:
    camera.send(image)
    line = camera.wait_for(words[0])
    assert "[WARN]" in line
    for word in words[1:]:
        assert word in line
    camera.ask(small())
    assert len(camera.lines(words[0])) == 1


def test_the_camera_info_of_another_size_costs_no_answer(camera: Camera) -> None:
    info = CameraInfo(width=640, height=480, k=np.eye(3).ravel())
    words = "the camera info is for 640x480, but the image is 64x64"
    # Camera infos are best effort, and have a topic of their own: nothing says when one is there.
    while not camera.lines(words):
        assert camera.second < 1000, words
        camera.infos.publish(info)
        camera.ask(small())
    assert all("[WARN]" in line for line in camera.lines(words))
    camera.infos.publish(CameraInfo())


def test_one_image_is_lost_when_stamps_go_backwards(camera: Camera) -> None:
    before = camera.second
    camera.second = 10
    camera.send(small())
    assert "must not decrease" in camera.wait_for(f"went back by {before - 11}.000 s")
    camera.ask(small())
    camera.second = before


def test_a_4k_image_is_answered(camera: Camera) -> None:
    rows = camera.ask(small(size=(2160, 3840)))
    assert np.isfinite(rows[:, 5]).all()


def test_the_node_lives_through_it_all_and_ends_on_a_signal(camera: Camera) -> None:
    camera.ask(small())
    camera.process.send_signal(signal.SIGINT)
    assert camera.process.wait(PATIENCE_S) == 0
    assert not camera.lines("[ERROR]")
    assert not camera.lines("Traceback")
