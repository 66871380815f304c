"""Folders of every layout say the same of the same frames."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from compressed_slam.undistortion import FRAMINGS, Rectifier
from edge_replay.datasets.layouts import LAYOUTS, open_sequence
from edge_runtime.errors import SettingError
from edge_runtime.trajectory import Trajectory, associate, write_trajectory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_replay.datasets.sequence import ImageSequence

COUNT = 4
START = 1_403_636_579_763_555_584  # ns, EuRoC's first
PERIOD = 50_000_000


def bgr(index: int, *, right: bool = False) -> NDArray[np.uint8]:
    rng = np.random.default_rng(2 * index + right)
    return rng.integers(0, 255, (48, 64, 3), np.uint8)


def depth_units() -> NDArray[np.uint16]:
    units = np.full((48, 64), 1500, np.uint16)
    units[:4] = 0
    units[-4:] = 65535
    return units


def poses() -> NDArray[np.float64]:
    rng = np.random.default_rng(9)
    values = rng.normal(size=(COUNT, 7))
    values[:, 3:] /= np.linalg.norm(values[:, 3:], axis=1, keepdims=True)
    return values


def optical_matrices() -> NDArray[np.float64]:
    """Camera-to-world, (COUNT, 4, 4): what every layout should come out as."""
    return Trajectory(np.arange(COUNT), poses()).matrices()


def write_image(path: Path, image: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def write_tum(folder: Path) -> None:
    lines: dict[str, list[str]] = {"rgb": ["# timestamp filename"], "depth": []}
    for k in range(COUNT):
        write_image(folder / "rgb" / f"{k}.png", bgr(k))
        stamp = START + k * PERIOD
        lines["rgb"].append(f"{stamp // 10**9}.{stamp % 10**9:09d} rgb/{k}.png")
        if k != 2:  # this frame has no depth near it
            write_image(folder / "depth" / f"{k}.png", depth_units())
            stamp += 9_000_000
            lines["depth"].append(f"{stamp // 10**9}.{stamp % 10**9:09d} depth/{k}.png")
    for name, content in lines.items():
        (folder / f"{name}.txt").write_text("\n".join(content))
    (folder / "intrinsics.txt").write_text("# comment\n50 51 31.5 23.5 64 48 1000 .1 -.02 0 0\n")
    write_trajectory(
        folder / "groundtruth.txt", Trajectory(START + PERIOD * np.arange(COUNT), poses())
    )


def write_eth3d(folder: Path) -> None:
    """As TUM's, with depth of its own scale and a camera without distortion."""
    write_tum(folder)
    (folder / "intrinsics.txt").unlink()
    (folder / "calibration.txt").write_text("50 51 31.5 23.5\n")
    units = depth_units()
    units[units == 1500] = 7500
    for path in (folder / "depth").iterdir():
        write_image(path, units)


SENSOR = """# General sensor definitions.
sensor_type: camera
comment: VI-Sensor
T_BS:
  cols: 4
  rows: 4
  data: {data}
rate_hz: 20
resolution: [64, 48]
camera_model: pinhole
intrinsics: [50.0, 51.0, 31.5, 23.5] #fu, fv, cu, cv
distortion_model: radial-tangential
distortion_coefficients: [-0.28, 0.07, 0.0002, 1.76187114e-05]
"""


def write_euroc(folder: Path) -> None:
    rng = np.random.default_rng(4)
    body_from_left = np.eye(4)
    body_from_left[:3, :3] = cv2.Rodrigues(rng.normal(size=3))[0]
    body_from_left[:3, 3] = rng.normal(size=3)
    left_from_right = np.eye(4)
    left_from_right[0, 3] = 0.11
    extrinsics = (body_from_left, body_from_left @ left_from_right)
    for camera, body_from_camera in enumerate(extrinsics):
        place = folder / "mav0" / f"cam{camera}"
        lines = ["#timestamp [ns],filename"]
        for k in range(COUNT):
            if camera == 1 and k == 2:  # the second camera missed one
                continue
            stamp = START + k * PERIOD
            write_image(place / "data" / f"{stamp}.png", bgr(k, right=camera == 1)[..., 0])
            lines.append(f"{stamp},{stamp}.png")
        (place / "data.csv").write_bytes("\r\n".join(lines).encode())
        data = body_from_camera.ravel().tolist()
        (place / "sensor.yaml").write_text(SENSOR.format(data=data))
    body = optical_matrices() @ np.linalg.inv(body_from_left)
    states = Trajectory.from_matrices(START + PERIOD * np.arange(COUNT), body)
    rows = ["#timestamp, p_RS_R_x [m], p_RS_R_y [m], p_RS_R_z [m], q_RS_w [], q_RS_x [], ..."]
    for stamp, (x, y, z, qx, qy, qz, qw) in zip(
        states.stamps.tolist(), states.poses.tolist(), strict=True
    ):
        rows.append(f"{stamp},{x},{y},{z},{qw},{qx},{qy},{qz},0,0,0,0,0,0,0,0,0")
    truth = folder / "mav0" / "state_groundtruth_estimate0"
    truth.mkdir()
    (truth / "data.csv").write_text("\n".join(rows))


def write_seven_scenes(folder: Path) -> None:
    for k, matrix in enumerate(optical_matrices()):
        stem = str(folder / f"frame-{10 + k:06d}")
        cv2.imwrite(f"{stem}.color.png", bgr(k))
        if k != 2:
            cv2.imwrite(f"{stem}.depth.png", depth_units())
        np.savetxt(f"{stem}.pose.txt", matrix, delimiter="\t ")


def write_tartanair(folder: Path) -> None:
    # The optical axes x y z are y z x of NED.
    ned_from_optical = np.eye(4)[[2, 0, 1, 3]]
    matrices = ned_from_optical @ optical_matrices() @ ned_from_optical.T
    ned = Trajectory.from_matrices(np.arange(COUNT), matrices)
    for k in range(COUNT):
        write_image(folder / "image_left" / f"{k:06d}_left.png", bgr(k))
        if k != 2:
            write_image(folder / "image_right" / f"{k:06d}_right.png", bgr(k, right=True))
            (folder / "depth_left").mkdir(exist_ok=True)
            metres = np.where(depth_units() % 65535 > 0, 1.5, np.inf).astype(np.float32)
            np.save(folder / "depth_left" / f"{k:06d}_left_depth.npy", metres)
    np.savetxt(folder / "pose_left.txt", ned.poses)


def write_ndds(folder: Path) -> None:
    """With every picture that the synthesizer writes beside the camera's."""
    for k in range(COUNT):
        write_image(folder / f"{k:06d}.png", bgr(k))
        for ending in ("cs", "is", "depth", "depth.cm.8", "8", "16"):
            write_image(folder / f"{k:06d}.{ending}.png", bgr(k)[..., 0])
        if k != 2:
            write_image(folder / f"{k:06d}.depth.mm.16.png", depth_units())
    size = {"width": 64, "height": 48}
    intrinsics = {"fx": 50, "fy": 51, "cx": 31.5, "cy": 23.5, "s": 0, "resolution": size}
    camera = {"name": "", "intrinsic_settings": intrinsics, "captured_image_size": size}
    (folder / "_camera_settings.json").write_text(json.dumps({"camera_settings": [camera]}))


def write_views(folder: Path) -> None:
    for k, matrix in enumerate(optical_matrices()):
        view = folder / f"view_{k}"
        write_image(view / "color.png", bgr(k))
        if k != 2:
            write_image(view / "depth.png", depth_units())
        np.savetxt(view / "camera_pose.txt", matrix)
        np.savetxt(view / "camera_matrix.txt", [[50, 0, 31.5], [0, 51, 23.5], [0, 0, 1]])


WRITERS: dict[str, Callable[[Path], None]] = {
    "tum": write_tum,
    "eth3d": write_eth3d,
    "euroc": write_euroc,
    "7scenes": write_seven_scenes,
    "tartanair": write_tartanair,
    "ndds": write_ndds,
    "views": write_views,
}
WITHOUT_POSES = {"ndds"}
GREY = {"euroc"}
WITHOUT_DEPTH = {"euroc"}
BASELINES = {"euroc": 0.11, "tartanair": 0.25}
FIRST_STAMPS = {"7scenes": 1_333_333_333, "tartanair": 10**9, "ndds": 10**9, "views": 10**9}


def made(layout: str, folder: Path) -> Path:
    folder.mkdir()
    WRITERS[layout](folder)
    return folder


@pytest.fixture(params=WRITERS)
def layout(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def test_every_layout_is_recognised_and_has_the_images(layout: str, tmp_path: Path) -> None:
    folder = made(layout, tmp_path / "made")
    sequence: ImageSequence = open_sequence(folder)
    assert len(sequence) == len(sequence.stamps) == COUNT
    assert sequence.stamps[0] == FIRST_STAMPS.get(layout, START)
    assert (np.diff(sequence.stamps) > 0).all()
    assert sequence.baseline == pytest.approx(BASELINES.get(layout))
    for k in reversed(range(COUNT)):
        for right, image in ((False, sequence.bgr(k)), (True, sequence.right(k))):
            if right and (layout not in BASELINES or k == 2):
                assert image is None
                continue
            expected = bgr(k, right=right)
            if layout in GREY:
                expected = np.repeat(expected[..., :1], 3, axis=2)
            np.testing.assert_array_equal(image, expected)


def test_depth_is_in_metres_and_nan_where_unseen(layout: str, tmp_path: Path) -> None:
    sequence = open_sequence(made(layout, tmp_path / "made"))
    for k in range(COUNT):
        depth = sequence.depth(k)
        if layout in WITHOUT_DEPTH or k == 2:
            assert depth is None
            continue
        assert depth is not None
        assert depth.dtype == np.float32
        assert np.isnan(depth[:4]).all()
        assert np.isnan(depth[-4:]).all()
        assert depth[4:-4] == pytest.approx(1.5)


def test_ground_truth_is_the_optical_frames_camera_to_world(layout: str, tmp_path: Path) -> None:
    sequence = open_sequence(made(layout, tmp_path / "made"), layout)
    if layout in WITHOUT_POSES:
        assert sequence.ground_truth is None
        return
    assert sequence.ground_truth is not None
    np.testing.assert_array_equal(sequence.ground_truth.stamps, sequence.stamps)
    np.testing.assert_allclose(sequence.ground_truth.matrices(), optical_matrices(), atol=1e-9)


def test_cameras_are_those_of_the_folder(tmp_path: Path) -> None:
    camera = open_sequence(made("tum", tmp_path / "tum")).camera
    assert (camera.width, camera.height, camera.model) == (64, 48, "plumb_bob")
    assert camera.matrix.tolist() == [[50, 0, 31.5], [0, 51, 23.5], [0, 0, 1]]
    assert camera.distortion.tolist() == [0.1, -0.02, 0, 0]
    euroc = open_sequence(made("euroc", tmp_path / "euroc"))
    assert euroc.camera.matrix[0].tolist() == [50, 0, 31.5]
    assert euroc.camera.distortion.tolist() == [-0.28, 0.07, 0.0002, 1.76187114e-05]
    assert euroc.right_camera is not None
    expected = np.eye(4)
    expected[0, 3] = -0.11  # the left camera stands left of the right one
    np.testing.assert_allclose(euroc.right_camera.from_left, expected, atol=1e-12)
    eth3d = open_sequence(made("eth3d", tmp_path / "eth3d")).camera
    assert (eth3d.width, eth3d.height) == (64, 48)
    assert eth3d.matrix.tolist() == camera.matrix.tolist()
    assert not eth3d.distortion.any()
    ndds = open_sequence(made("ndds", tmp_path / "ndds"))
    assert ndds.camera.matrix.tolist() == camera.matrix.tolist()
    assert ndds.notes == (f"{6 * COUNT} pictures of masks or depth are left out",)
    tartanair = open_sequence(made("tartanair", tmp_path / "tartanair"))
    assert tartanair.right_camera is not None
    assert tartanair.right_camera.from_left[0, 3] == -0.25


@pytest.mark.parametrize(
    ("name", "focal", "bent"),
    [
        ("rgbd_dataset_freiburg1_desk", 517.3, True),
        ("fr2_xyz", 520.9, True),
        ("freiburg3", 535.4, False),
    ],
)
def test_tums_own_cameras_are_known_by_name(
    tmp_path: Path, name: str, focal: float, *, bent: bool
) -> None:
    folder = made("tum", tmp_path / name)
    (folder / "intrinsics.txt").unlink()
    sequence = open_sequence(folder)
    assert sequence.camera.matrix[0, 0] == focal
    assert sequence.camera.distortion.any() == bent
    depth = sequence.depth(0)
    assert depth is not None
    assert depth[24, 32] == pytest.approx(1500 / 5000)


def test_what_a_folder_lacks_is_none(tmp_path: Path) -> None:
    tum = made("tum", tmp_path / "tum")
    for name in ("depth.txt", "groundtruth.txt"):
        (tum / name).unlink()
    sequence = open_sequence(tum)
    assert sequence.depth(0) is None
    assert sequence.ground_truth is None
    euroc = made("euroc", tmp_path / "euroc")
    (euroc / "mav0" / "cam1" / "data.csv").unlink()
    (euroc / "mav0" / "state_groundtruth_estimate0" / "data.csv").unlink()
    sequence = open_sequence(euroc)
    assert sequence.right_camera is sequence.baseline is sequence.ground_truth is None
    scenes = made("7scenes", tmp_path / "scenes")
    (scenes / "frame-000011.pose.txt").unlink()
    truth = open_sequence(scenes).ground_truth
    assert truth is not None
    assert len(truth) == COUNT - 1


@pytest.mark.parametrize(
    ("layout", "file", "lost"),
    [
        ("tum", "groundtruth.txt", "{stamp} nan nan nan nan nan nan nan"),
        ("euroc", "mav0/state_groundtruth_estimate0/data.csv", "{stamp},0,0,0,0,0,0,0" + ",0" * 9),
        ("tartanair", "pose_left.txt", "inf inf inf 0 0 0 1"),
        ("7scenes", "frame-000011.pose.txt", "-1.#INF -1.#INF -1.#INF -1.#INF"),
        ("7scenes", "frame-000011.pose.txt", "0 0 0 0"),
    ],
)
def test_a_lost_pose_costs_its_frame_alone(
    tmp_path: Path, layout: str, file: str, lost: str
) -> None:
    folder = made(layout, tmp_path / "made")
    lines = (folder / file).read_text().splitlines()
    if layout == "7scenes":
        lines = [lost] * 4
    else:
        row = len(lines) - COUNT + 1  # the second pose, behind whatever comments there are
        lines[row] = lost.format(stamp=lines[row].replace(",", " ").split()[0])
    (folder / file).write_text("\n".join(lines))
    sequence = open_sequence(folder)
    truth = sequence.ground_truth
    assert truth is not None
    assert truth.lost.tolist() == [sequence.stamps[1]]
    frames, _ = truth.nearest(sequence.stamps)
    assert frames.tolist() == [0, 2, 3]
    np.testing.assert_allclose(truth.matrices(), optical_matrices()[[0, 2, 3]], atol=1e-9)


@pytest.mark.parametrize("layout", WRITERS)
def test_a_byte_order_mark_is_no_value(layout: str, tmp_path: Path) -> None:
    folder = made(layout, tmp_path / "made")
    stamps = open_sequence(folder).stamps
    for path in folder.rglob("*"):
        if path.suffix in {".txt", ".csv", ".yaml", ".json"}:
            lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
            path.write_text("\n".join(lines), "utf-8-sig")
    sequence = open_sequence(folder)
    np.testing.assert_array_equal(sequence.stamps, stamps)
    if layout not in WITHOUT_POSES:
        assert sequence.ground_truth is not None
        np.testing.assert_allclose(sequence.ground_truth.matrices(), optical_matrices(), atol=1e-9)


@pytest.mark.parametrize("scale", ["", " 0", " 0 .1 -.02 0 0"])
def test_a_folder_without_depth_needs_no_depth_scale(tmp_path: Path, scale: str) -> None:
    folder = made("tum", tmp_path / "made")
    line = f"50 51 31.5 23.5 64 48{scale}"
    (folder / "intrinsics.txt").write_text(line)
    with pytest.raises(SettingError, match=r"depth.scale"):
        open_sequence(folder)
    (folder / "depth.txt").unlink()
    camera = open_sequence(folder).camera
    assert camera.matrix[0].tolist() == [50, 0, 31.5]
    assert camera.distortion.size == (4 if "." in scale else 0)


def test_frames_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (0, 2, 10):
        write_image(tmp_path / "scenes" / f"frame-{number}.color.png", bgr(number))
        write_image(tmp_path / "air" / "image_left" / f"{number}_left.png", bgr(number))
    for folder in (tmp_path / "scenes", tmp_path / "air"):
        sequence = open_sequence(folder)
        assert (np.diff(sequence.stamps) > 0).all()
        for place, number in enumerate((0, 2, 10)):
            np.testing.assert_array_equal(sequence.bgr(place), bgr(number))


def test_folders_that_are_none_are_told_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"none' does not exist"):
        open_sequence(tmp_path / "none")
    with pytest.raises(SettingError) as refusal:
        open_sequence(tmp_path)
    for name, kind in LAYOUTS.items():
        assert f"{kind.sign} ({name})" in str(refusal.value)
    scenes = made("7scenes", tmp_path / "seq-01")
    with pytest.raises(SettingError, match="give its subfolder seq-01"):
        open_sequence(tmp_path)
    with pytest.raises(SettingError, match="layout 'kitti' is unknown: choose one of tum, eth3d"):
        open_sequence(scenes, "kitti")
    with pytest.raises(SettingError, match=r"is no euroc sequence: it has no mav0/cam0/data\.csv"):
        open_sequence(scenes, "euroc")
    write_tum(scenes)
    with pytest.raises(SettingError, match="may be tum or 7scenes: say which"):
        open_sequence(scenes)


@pytest.mark.parametrize(
    ("layout", "file", "content", "says"),
    [
        ("tum", "rgb.txt", "1.0 a.png\n0.5 b.png", r"rgb\.txt' line 2: time 0\.5 is not after"),
        ("tum", "rgb.txt", "1.0 a.png\n1.0 b.png", r"rgb\.txt' line 2: time 1\.0 is not after"),
        ("tum", "rgb.txt", "1.0", r"line 1: '1\.0' has 1 values instead of 2, 'timestamp file"),
        ("tum", "intrinsics.txt", "50 51 31 23 64 48", "has 6 values instead of 7 or more"),
        ("tum", "intrinsics.txt", "50 0 31 23 64 48 1000", "focal lengths, a size"),
        ("tum", "intrinsics.txt", "50 50 31 23 64 48 1000 1", "1 distortion coefficients: 0, 4"),
        ("euroc", "mav0/cam0/data.csv", "now,a.png", r"data\.csv' line 1: 'now' is no time in ns"),
        ("euroc", "mav0/cam0/sensor.yaml", "a: [", "is no YAML"),
        ("euroc", "mav0/cam0/sensor.yaml", "T_BS: {data: [1]}", "T_BS.data: .* at least 16"),
        ("euroc", "mav0/state_groundtruth_estimate0/data.csv", "1,0,0,0,2,0,0,0", "the length 2"),
        ("7scenes", "frame-000010.pose.txt", "1 0 0 0", "has 1 rows: a pose is a matrix of 4"),
        ("7scenes", "frame-000010.pose.txt", "1 0 0 one\n" * 4, "line 1: 'one' is no finite"),
        ("7scenes", "frame-1b.color.png", "", "has no frame number"),
        ("views", "view_1/camera_pose.txt", "1 0 0 0", "has 1 rows: it is a matrix of 4 rows"),
        ("views", "view_1/camera_pose.txt", "2 0 0 0\n" * 4, "must be a rotation"),
        ("views", "view_1/camera_matrix.txt", "1 0 0\n" * 3, "views of different cameras"),
        ("tartanair", "pose_left.txt", "0 0 0 0 0 0 1", "has 1 poses for 4 images"),
    ],
)
def test_a_wrong_file_is_named(
    tmp_path: Path, layout: str, file: str, content: str, says: str
) -> None:
    folder = made(layout, tmp_path / "made")
    (folder / file).write_text(content)
    with pytest.raises(SettingError, match=says):
        open_sequence(folder)


def test_a_tum_folder_of_an_unknown_camera_says_how_to_make_it_known(tmp_path: Path) -> None:
    folder = made("tum", tmp_path / "kitchen")
    (folder / "intrinsics.txt").unlink()
    with pytest.raises(SettingError, match=r"write intrinsics\.txt with the line 'fx fy cx cy"):
        open_sequence(folder)


def test_images_are_read_when_they_are_asked_for(tmp_path: Path) -> None:
    folder = made("tum", tmp_path / "made")
    (folder / "rgb" / "1.png").unlink()
    (folder / "rgb" / "2.png").write_bytes(b"nothing of the kind")
    write_image(folder / "depth" / "0.png", bgr(0))
    sequence = open_sequence(folder)
    sequence.bgr(0)
    with pytest.raises(SettingError, match=r"rgb/1\.png' cannot be read \(No such file"):
        sequence.bgr(1)
    with pytest.raises(SettingError, match=r"rgb/2\.png' cannot be read: .* cannot be decoded"):
        sequence.bgr(2)
    with pytest.raises(SettingError, match=r"depth/0\.png' cannot be read: .* 16 bits"):
        sequence.depth(0)
    arrays = made("tartanair", tmp_path / "arrays")
    (arrays / "depth_left" / "000001_left_depth.npy").write_bytes(b"")
    with pytest.raises(SettingError, match=r"000001_left_depth\.npy' cannot be read"):
        open_sequence(arrays).depth(1)


@pytest.mark.parametrize(
    ("name", "count", "apart"), [("redkitchen", 400, 25), ("fr3_cabinet", 58, 1)]
)
def test_depth_poses_and_camera_of_real_recordings_agree(
    shared_data: Path, name: str, count: int, apart: int
) -> None:
    """What one frame sees is where, and as far as, another one sees it."""
    sequence = open_sequence(shared_data / "slam" / name)
    truth = sequence.ground_truth
    assert truth is not None
    assert len(sequence) == count
    rectifier = Rectifier(sequence.camera, FRAMINGS["tum"](sequence.camera))
    assert rectifier.image(sequence.bgr(count - 1)).shape == (240, 320, 3)
    matrices = truth[associate(truth.stamps, sequence.stamps)[0]].matrices()
    matrix = rectifier.camera.matrix
    errors, unmoved = [], []
    for k in range(0, count - apart, count // 4):
        ours, theirs = (sequence.depth(index) for index in (k, k + apart))
        assert ours is not None
        assert theirs is not None
        ours, theirs = rectifier.depth(ours), rectifier.depth(theirs)
        y, x = np.indices(ours.shape)
        rays = np.stack([x, y, np.ones_like(x)], axis=-1) @ np.linalg.inv(matrix).T
        motion = np.linalg.inv(matrices[k + apart]) @ matrices[k]
        points = (rays * ours[..., None]) @ motion[:3, :3].T + motion[:3, 3]
        points = points[points[..., 2] > 0.1]  # NaN is not
        u, v = np.rint((points / points[:, 2:]) @ matrix.T)[:, :2].T.astype(int)
        inside = (u >= 0) & (u < 320) & (v >= 0) & (v < 240)
        errors.append(np.nanmedian(np.abs(theirs[v[inside], u[inside]] - points[inside, 2])))
        unmoved.append(np.nanmedian(np.abs(theirs - ours)))
    assert np.max(errors) < 0.05
    assert np.mean(errors) < 0.5 * np.mean(unmoved)
