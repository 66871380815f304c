"""A robot model's mesh files: where the addresses in it lead, and whether they can be read."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import numpy as np

from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

READABLE = (".obj", ".stl", ".msh")
"""Suffixes that MuJoCo has a decoder for."""

_CONVERTED = (".obj", ".stl")
_PACKAGE = re.compile(r"(?:package|model)://([^/]+)/+(.+)")
_LFS_POINTER = b"version https://git-lfs"
_STL_HEADER = 80
_STL_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def locate(address: str, folders: Sequence[Path]) -> Path:
    """Find the file that a URDF means: a path, a `file://` or a `package://` address.

    Where MuJoCo does not read such files, a conversion beside it, of the same name, is taken.

    Args:
        address: as it stands in the URDF.
        folders: of the URDF first, then others where its meshes may lie.

    Raises:
        SettingError: No such file is beside the URDF, in a folder above it, or in a package of the
            sourced ROS workspaces.
    """
    package, inside = _split(address)
    for candidate in _candidates(package, inside, folders):
        for path in _conversions(candidate):
            if path.is_file():
                return path
    looked = f"beside the URDF in {folders[0]} and in the folders above it"
    if package:
        prefixes = os.environ.get("AMENT_PREFIX_PATH")
        looked += f", for the package '{package}' " + (
            f"in the sourced workspaces {prefixes}"
            if prefixes
            else "in no ROS workspace, as none is sourced"
        )
    message = f"mesh '{address}' is not there (looked {looked}); put it beside the URDF" + (
        ", or source the workspace that has the package" if package else ""
    )
    raise SettingError(message)


def read_mesh(path: Path) -> bytes:
    """Return a mesh file's content; of an STL in text, which MuJoCo does not read, that in binary.

    Raises:
        SettingError: MuJoCo reads no such files, or it is damaged.
    """
    if path.suffix.lower() not in READABLE:
        message = (
            f"mesh '{path}' is none of {', '.join(READABLE)}, which MuJoCo reads: convert it in "
            f"its folder, as with `assimp export {path.name} {path.stem}.obj`, which is then found"
        )
        raise SettingError(message)
    content = path.read_bytes()
    if content.startswith(_LFS_POINTER):
        message = f"mesh '{path}' is a pointer of git-lfs, not the file itself: run `git lfs pull`"
        raise SettingError(message)
    if path.suffix.lower() == ".stl" and content.lstrip().startswith(b"solid"):
        return _binary_stl(path, content)
    return content


def _binary_stl(path: Path, content: bytes) -> bytes:
    count = int.from_bytes(content[_STL_HEADER : _STL_HEADER + 4], "little")
    if len(content) == _STL_HEADER + 4 + count * _STL_TRIANGLE.itemsize:
        return content  # is binary, and its header, which is free, happens to begin so
    corners = re.findall(rb"vertex\s+(\S+)\s+(\S+)\s+(\S+)", content)
    triangles = np.zeros(len(corners) // 3, _STL_TRIANGLE)
    try:
        triangles["corners"] = np.array(corners, np.float32).reshape(-1, 3, 3)
        whole = len(triangles) > 0 and b"endsolid" in content
    except ValueError:
        whole = False
    if not whole:
        message = f"mesh '{path}' is damaged or cut off: export it again"
        raise SettingError(message)
    return bytes(_STL_HEADER) + len(triangles).to_bytes(4, "little") + triangles.tobytes()


def _split(address: str) -> tuple[str, str]:
    """Return package and path; the package is empty where none is named."""
    if match := _PACKAGE.fullmatch(address):
        return match[1], match[2]
    if address.startswith("file://"):
        return "", unquote(address.removeprefix("file://").removeprefix("localhost"))
    return "", address


def _conversions(path: Path) -> Iterator[Path]:
    if path.name and path.suffix.lower() not in READABLE:
        yield from (path.with_suffix(suffix) for suffix in _CONVERTED)
    yield path


def _candidates(package: str, path: str, folders: Sequence[Path]) -> Iterator[Path]:
    above = (folders[0], *folders[0].parents)
    if package:
        # In the package itself first: another one may have a file of this path, too.
        for folder in above:
            if folder.name == package:
                yield folder / path
            yield folder / package / path
        for prefix in filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)):
            yield Path(prefix) / "share" / package / path
    for folder in (*folders, *above):
        yield folder / path
    for folder in folders:
        yield folder / Path(path).name
