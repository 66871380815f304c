"""A map on disk, all of it or nothing: for people and other programs, and to be loaded again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal
from zipfile import BadZipFile

import numpy as np
from pydantic import Field, ValidationError

from compressed_slam.encoder import STRIDE
from compressed_slam.interface import CameraMode  # noqa: TC001 - pydantic reads it
from compressed_slam.saved_map import MapCamera, SavedMap
from edge_runtime.errors import SettingError, first_problem
from edge_runtime.files import regular_size, sha256, whole_directory
from edge_runtime.records import Record, parse_json
from edge_runtime.trajectory import write_trajectory

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_runtime.trajectory import Trajectory

TRAJECTORY, POINTS = "trajectory.txt", "points.ply"
MANIFEST, KEYFRAMES = "map.json", "keyframes.npz"
_FILES = {TRAJECTORY, POINTS, MANIFEST, KEYFRAMES}
_MOST_BYTES = {MANIFEST: 1 << 16, KEYFRAMES: 1 << 31}
_REMEDY = "save the map again, or call ~/reset to begin an empty one"

_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Four = tuple[_Finite, _Finite, _Finite, _Finite]


class _Manifest(Record):
    """What `MANIFEST` holds; see `MapCamera` and `SavedMap`. `sha256` is of `KEYFRAMES`."""

    schema_version: Literal[1]
    camera_mode: CameraMode
    size: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]]
    intrinsics: _Four
    baseline: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    world: tuple[_Four, _Four, _Four, _Four]
    keyframes: Annotated[int, Field(ge=1)]
    sha256: str


def write_map(
    folder: Path,
    trajectory: Trajectory,
    points: NDArray[np.float32],
    colours: NDArray[np.uint8],
    saved: SavedMap,
) -> None:
    """Write a map in place of an older one.

    Args:
        folder: is made; what is in it of anything else than a map is refused.
        trajectory: of the camera in the map.
        points: (n, 3) metres, in the map.
        colours: (n, 3) BGR.
        saved: to be loaded again.

    Raises:
        SettingError: the folder cannot be written, or holds other files, which would be lost.
    """
    try:
        if others := _others(folder):
            message = (
                f"map_folder {folder} holds {others[0]!r}, which is no part of a map: give a "
                "folder that is new, empty or an older map"
            )
            raise SettingError(message)
        with whole_directory(folder) as new:
            write_trajectory(new / TRAJECTORY, trajectory)
            (new / POINTS).write_bytes(_ply(points, colours))
            np.savez(new / KEYFRAMES, **_arrays(saved))
            manifest = _manifest(saved, sha256(new / KEYFRAMES))
            (new / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n", "utf-8")
    except OSError as error:
        message = (
            f"map_folder {folder} cannot be written ({error.strerror}): give a folder that can, "
            "with space on its disk"
        )
        raise SettingError(message) from error


def read_map(folder: Path) -> SavedMap:
    """Read what `write_map` wrote, or nothing of it.

    Raises:
        SettingError: a file is missing, cut off, damaged, or of something else.
    """
    try:
        for name, most in _MOST_BYTES.items():
            if (size := regular_size(folder / name)) > most:
                raise _refusal(folder / name, f"has {size} bytes, more than any map")
        manifest = _Manifest.model_validate(parse_json((folder / MANIFEST).read_bytes()))
        if sha256(folder / KEYFRAMES) != manifest.sha256:
            raise _refusal(folder / KEYFRAMES, "is damaged, or was cut off (its SHA-256 differs)")
        with np.load(folder / KEYFRAMES, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except OSError as error:
        raise _refusal(folder, f"cannot be read ({error})") from error
    except ValidationError as error:
        raise _refusal(folder / MANIFEST, f"is no map's ({first_problem(error)})") from error
    except (ValueError, EOFError, MemoryError, BadZipFile) as error:
        raise _refusal(folder, f"is damaged ({error})") from error
    return _checked(folder / KEYFRAMES, manifest, arrays)


def _manifest(saved: SavedMap, digest: str) -> _Manifest:
    camera = saved.camera
    return _Manifest.model_validate(
        {
            "schema_version": 1,
            "camera_mode": camera.mode,
            "size": camera.size,
            "intrinsics": camera.intrinsics,
            "baseline": camera.baseline,
            "world": saved.world.tolist(),
            "keyframes": len(saved),
            "sha256": digest,
        }
    )


def _arrays(saved: SavedMap) -> dict[str, Any]:
    return {name: value for name, value in vars(saved).items() if name not in {"camera", "world"}}


def _checked(path: Path, manifest: _Manifest, arrays: dict[str, NDArray[Any]]) -> SavedMap:
    """Make a map of arrays that are what the manifest says."""
    count, (width, height) = manifest.keyframes, manifest.size
    maps, picture = (height // STRIDE, width // STRIDE), (height, width, 3)
    paired = int(arrays["paired"].sum()) if "paired" in arrays else 0
    expected = {
        "stamps": (np.int64, (count,)),
        "poses": (np.float32, (count, 7)),
        "disps": (np.float32, (count, *maps)),
        "measured": (np.float32, (count, *maps)),
        "pictures": (np.uint8, (count, *picture)),
        "paired": (np.bool_, (count,)),
        "rights": (np.uint8, (paired, *picture)),
    }
    if arrays.keys() != expected.keys() or any(
        arrays[name].dtype != dtype or arrays[name].shape != shape
        for name, (dtype, shape) in expected.items()
    ):
        raise _refusal(path, f"does not hold the {count} keyframes that {MANIFEST} tells of")
    if not all(np.isfinite(arrays[name]).all() for name in ("poses", "disps", "measured")):
        raise _refusal(path, "holds numbers that are not finite")
    camera = MapCamera(manifest.camera_mode, manifest.size, manifest.intrinsics, manifest.baseline)
    return SavedMap(camera, np.array(manifest.world), **arrays)


def _refusal(path: Path, cause: str) -> SettingError:
    return SettingError(f"map {path} {cause}: {_REMEDY}")


def _others(folder: Path) -> list[str]:
    if not folder.exists():
        return []
    return sorted({entry.name for entry in folder.iterdir()} - _FILES)


def _ply(points: NDArray[np.float32], colours: NDArray[np.uint8]) -> bytes:
    rows = np.empty(len(points), [("xyz", "<f4", 3), ("rgb", "u1", 3)])
    rows["xyz"], rows["rgb"] = points, colours[:, ::-1]
    header = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {len(points)}\n"
        "property float x\nproperty float y\nproperty float z\n"
        "property uchar red\nproperty uchar green\nproperty uchar blue\nend_header\n"
    )
    return header.encode() + rows.tobytes()
