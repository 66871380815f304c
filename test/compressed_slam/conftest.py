"""What the tests of the networks and of correlation share: the published networks' vectors."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from edge_runtime.trajectory import Trajectory, write_trajectory

if TYPE_CHECKING:
    from compressed_slam.training.clips import Clip

# pytest's importlib mode does not find the helpers that lie beside the tests.
sys.path.insert(0, str(Path(__file__).parent))

VECTORS = Path(__file__).resolve().parents[3] / "shared" / "reference" / "droid_reference_a.npz"


@pytest.fixture(scope="session")
def droid_reference() -> dict[str, torch.Tensor]:
    """Inputs and outputs of the published networks, float32; see the README beside them."""
    if not VECTORS.is_file():
        pytest.skip(f"no reference vectors at {VECTORS}")
    with np.load(VECTORS) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


@pytest.fixture(scope="session")
def room() -> Clip:
    """A short walk through a rendered room."""
    pytest.importorskip("numba", reason="numba comes with the extra [slam]")
    from compressed_slam.training.room_clips import film_room

    return film_room(3)


@pytest.fixture(scope="session")
def recording(room: Clip, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The room's walk as a recorded sequence, in TUM's layout."""
    cv2 = pytest.importorskip("cv2")
    folder = tmp_path_factory.mktemp("recording")
    stamps = 100_000_000 * (10 + np.arange(20))
    for kind in ("rgb", "depth"):
        (folder / kind).mkdir()
        lines = [f"{stamp / 1e9:.6f} {kind}/{k:03d}.png" for k, stamp in enumerate(stamps)]
        (folder / f"{kind}.txt").write_text("\n".join(lines))
    for k in range(len(stamps)):
        cv2.imwrite(str(folder / f"rgb/{k:03d}.png"), room.bgr[k])
        millimetres = np.rint(1000 * room.depth[k].astype(np.float32)).astype(np.uint16)
        cv2.imwrite(str(folder / f"depth/{k:03d}.png"), millimetres)
    camera = " ".join(f"{number:.4f}" for number in room.intrinsics)
    (folder / "intrinsics.txt").write_text(f"{camera} 320 240 1000\n")
    truth = Trajectory.from_matrices(stamps, room.poses[: len(stamps)])
    write_trajectory(folder / "groundtruth.txt", truth)
    return folder
