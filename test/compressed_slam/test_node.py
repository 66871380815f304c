"""The node `slam` as its own process, over DDS; the truth stands in the networks' place."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("numba", reason="numba comes with the extra [slam]")
pytest.importorskip("nav_msgs", reason="nav_msgs comes with the extra [ros]")

from recordings import truth_of
from slam_client import position, slam_node, stamp_of, stand_in_bundle
from slam_process import shots

from compressed_slam.evaluation import absolute_error
from compressed_slam.messages import UNKNOWN
from edge_runtime.trajectory import Trajectory, read_trajectory

if TYPE_CHECKING:
    from pathlib import Path

    from nav_msgs.msg import Odometry

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("domain_id")]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stand_in_bundle(tmp_path_factory.mktemp("slam") / "bundle")


def is_known(answer: Odometry) -> bool:
    return float(answer.pose.covariance[0]) < UNKNOWN


def expected() -> np.ndarray:
    """Where the walk goes from its first picture: x along that view, y left, z up; (n, 3)."""
    poses = truth_of(shots()).matrices()
    x, y, z = (np.linalg.inv(poses[0]) @ poses)[:, :3, 3].T
    return np.column_stack([z, -x, -y])


def test_a_walk_is_followed_and_its_map_saved(bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "map"
    with slam_node(bundle, f"map_folder:={folder}") as slam:
        slam.ready(slam.image, slam.depth, slam.info)
        refused = slam.call("save_map")
        assert not refused.success
        assert "no map yet" in refused.message
        slam.calibrate()
        slam.begin(0, depth="own")
        answers = [slam.ask(index) for index in range(len(shots()))]
        assert {one.header.frame_id for one in answers} == {"odom"}
        assert {one.child_frame_id for one in answers} == {"camera_optical"}
        assert sum(map(is_known, answers)) >= len(answers) - 5
        places = np.array([position(one) for one in answers])
        assert np.linalg.norm(places - expected(), axis=1).max() < 0.05
        assert (np.linalg.norm(np.diff(places, axis=0), axis=1) < 0.15).all()  # smoothly
        assert slam.call("save_map").success
        told = slam.told()
        assert told["tracking"] == "tracking"
        assert int(told["keyframes in memory"]) > 3
        assert slam.call("reset").success
        assert not is_known(slam.ask(30))
        assert np.abs(position(slam.ask(31))).max() < 0.2
        slam.process.send_signal(signal.SIGINT)
        assert slam.process.wait(5) == 0  # after which `ros2 launch` insists
    saved = read_trajectory(folder / "trajectory.txt")
    saved = saved[np.unique(saved.stamps, return_index=True)[1]]  # the first was shown twice
    truth = Trajectory(saved.stamps, truth_of(shots()).poses)
    assert absolute_error(truth, saved).translation.rmse < 0.03
    assert (folder / "points.ply").read_bytes().startswith(b"ply\nformat binary_little_endian")


def test_a_killed_nodes_successor_goes_on_in_its_map(bundle: Path, tmp_path: Path) -> None:
    folder = f"map_folder:={tmp_path / 'map'}"
    with slam_node(bundle, folder) as slam:
        slam.ready(slam.image, slam.depth, slam.info)
        refused = slam.call("load_map")
        assert not refused.success
        assert "map.json" in refused.message
        slam.calibrate()
        slam.begin(0, depth="own")
        for index in range(30):
            slam.ask(index)
        assert slam.call("save_map").success
        slam.process.kill()
        slam.process.wait()
    with slam_node(bundle, folder) as slam:
        slam.ready(slam.image, slam.depth, slam.info)
        assert slam.call("load_map").success  # before any image
        slam.calibrate(zoom=1.5)
        slam.show(20)
        slam.until(lambda: slam.matching("load a map of this camera"), "the refusal")
        slam.calibrate()
        # The first image may have come before its depth was known to come.
        slam.until(lambda: is_known(slam.ask(20)), "the place in the map")
        answers = [slam.ask(index) for index in range(21, 26)]
        assert all(map(is_known, answers))
        last = stamp_of(answers[-1])
        slam.until(lambda: slam.poses and stamp_of(slam.poses[-1]) == last, "the last pose")
        places = np.array([position(one) for one in slam.poses[-5:]])
        # In the map of before; the odometry begins where this node did.
        assert np.linalg.norm(places - expected()[21:26], axis=1).max() < 0.05
        assert np.abs(position(answers[0])).max() < 0.2
        for file in (tmp_path / "map").iterdir():
            file.write_bytes(file.read_bytes()[:100])
        refused = slam.call("load_map")
        assert not refused.success
        assert "is damaged" in refused.message
        assert is_known(slam.ask(26))
        assert not slam.matching("Traceback")


def test_broken_input_costs_no_more_than_itself(bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "map"
    dark = np.zeros_like(shots()[0].bgr)
    with slam_node(bundle, f"map_folder:={folder}") as slam:
        slam.ready(slam.image, slam.depth, slam.info)
        slam.show(0)
        slam.until(lambda: slam.matching("no usable camera info of image"), "the missing info")
        slam.calibrate()
        slam.until(lambda: is_known(slam.ask(1)), "a map")

        # Depth of another size is left out; without any a picture is tracked, too.
        assert is_known(slam.ask(2, depth=shots()[2].depth[::2, ::2]))
        slam.until(lambda: slam.matching("publish depth that is registered"), "the refusal")
        assert is_known(slam.ask(3, depth=None))

        # A covered lens: where the camera is, is not known, and then it is.
        assert not any(is_known(slam.ask(index, bgr=dark)) for index in range(4, 9))
        assert slam.told()["message"].startswith("the camera is lost")
        assert is_known(slam.ask(9))

        # As fast as they can be sent: some are dropped, the last one is answered.
        stamps = [slam.show(index) for index in range(10, 25)]
        while stamp_of(answer := slam.answer()) != stamps[-1]:
            pass
        assert is_known(answer)

        # A camera that stands still, after a gap of ten seconds: no drift, no keyframes.
        assert all(is_known(slam.ask(25, 12 + k / 10)) for k in range(12))
        assert slam.call("save_map").success  # waits until the keyframes are taken in
        keyframes = slam.told()["keyframes in memory"]
        still = [slam.ask(25, 14 + 12.5 * k) for k in range(25)]  # for five minutes
        assert all(map(is_known, still))
        assert np.ptp([position(one) for one in still], axis=0).max() < 0.02
        assert slam.told()["keyframes in memory"] == keyframes
        assert slam.call("save_map").success
        assert len(read_trajectory(folder / "trajectory.txt")) > 12

        # A picture of another size does not fit its camera info.
        slam.show(26, 320, bgr=shots()[26].bgr[:48, :64], depth=None)
        slam.until(lambda: slam.matching("the image is 64x48"), "the small picture")
        assert is_known(slam.ask(26, 321))

        # Another camera info begins a new map; so does a recording that begins anew.
        slam.calibrate(zoom=1.5)
        assert not is_known(slam.ask(26, 322))
        assert slam.matching("the camera info has changed: a new map begins")
        slam.calibrate()
        slam.show(0)
        slam.until(lambda: slam.matching("the stamp went back"), "the stamp's refusal")
        again = [slam.ask(index) for index in range(1, 8)]
        assert not is_known(again[0])
        assert np.abs(position(again[0])).max() < 1e-6
        assert is_known(again[-1])
        assert not slam.matching("Traceback")


def test_two_nodes_in_two_namespaces_mind_their_own_images(bundle: Path) -> None:
    with slam_node(bundle, namespace="/one") as one, slam_node(bundle, namespace="/two") as two:
        for slam in (one, two):
            slam.ready(slam.image, slam.depth, slam.info)
            slam.calibrate()
        one.until(lambda: is_known(one.ask(0)), "a map")
        two.until(lambda: is_known(two.ask(40)), "a map")
        for step in range(1, 12):
            answers = one.ask(step), two.ask(40 + step)
            assert all(map(is_known, answers))
        assert np.linalg.norm(position(answers[0]) - expected()[11]) < 0.05
        moved = np.linalg.norm(expected()[51] - expected()[40])
        assert abs(np.linalg.norm(position(answers[1])) - moved) < 0.05
        assert one.odometry.empty()
        assert two.odometry.empty()


@pytest.mark.parametrize("mode", ["mono", "stereo"])
def test_other_cameras(bundle: Path, tmp_path: Path, mode: str) -> None:
    words = f"camera_mode:={mode}", f"map_folder:={tmp_path / 'map'}"
    with slam_node(bundle, *words, namespace="/robot") as slam:
        pair = mode == "stereo"
        slam.ready(slam.image, slam.info, *((slam.right, slam.right_info) if pair else ()))
        assert not slam.depth.get_subscription_count()
        slam.calibrate()
        slam.begin(0, depth=None, right=pair)
        count = 20 if pair else len(shots())
        answers = []
        for index in range(count):
            answers.append(slam.ask(index, depth=None, right=pair))
            slam.call("save_map")  # waits until the keyframe is taken in
        assert is_known(answers[-1])
        if pair:
            places = np.array([position(one) for one in answers])
            assert np.linalg.norm(places - expected()[:count], axis=1).max() < 0.08
            assert is_known(slam.ask(count, depth=None))  # one side is lost
        assert slam.call("reset").success
