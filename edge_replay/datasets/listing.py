"""The image files of a folder, in the order of their numbers, without depth and masks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
# Words in a name that say that the picture is not what a colour camera saw.
_OTHER_WORDS = frozenset(
    {"depth", "depthmap", "disp", "disparity", "mask", "masks", "seg", "segm", "segmentation"}
    | {"semantic", "semantics", "instance", "instances", "label", "labels", "normals"}
)
# What NDDS writes beside 000000.png: masks of classes and instances, depth in 8 and 16 bits.
_NDDS_ENDINGS = frozenset({".cs", ".is", ".8", ".16", ".micon"})


# Of a PNG file: 8 bytes that say so, then its first chunk with bits per sample and colour type.
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_KIND = slice(24, 26)
_DEEP_GREY = b"\x10\x00"  # 16 bits, one channel


class Listing(NamedTuple):
    """Colour images in order, and those left out because they are depth or masks."""

    colour: list[Path]
    others: list[Path]


def list_images(folder: Path) -> Listing:
    """List the .png and .jpg files that lie in a folder itself; hidden ones are none.

    Depth and masks are told by their names, and depth by its 16 bits where other images have 8.
    """
    files = (path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    paths = in_order(path for path in files if not path.name.startswith("."))
    stems = {path.stem for path in paths}
    named = {path for path in paths if _is_other(path, stems)}
    deep = {path for path in paths if path not in named and _is_deep_grey(path)}
    # Where all are deep, they are what a camera with 16 bits saw.
    others = named | deep if len(named) + len(deep) < len(paths) else named
    return Listing([p for p in paths if p not in others], [p for p in paths if p in others])


def in_order(paths: Iterable[Path]) -> list[Path]:
    """Sort by name, numbers in it by their value: frame2 before frame10."""
    return sorted(paths, key=_by_number)


def _by_number(path: Path) -> tuple[list[str | int], str]:
    # Words and numbers take turns, so that only like is compared with like.
    parts = re.split(r"([0-9]+)", path.name)
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], path.name


def _is_other(path: Path, stems: set[str]) -> bool:
    words = {word.lower() for word in _WORD.findall(path.stem)}
    if words & _OTHER_WORDS:
        return True
    frame, dot, ending = path.stem.rpartition(".")
    beside_its_colour = frame in stems or f"{frame}.rgb" in stems
    return dot + ending in _NDDS_ENDINGS and beside_its_colour


def _is_deep_grey(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(_PNG_KIND.stop)
    except OSError:
        return False  # whoever reads the image says what is wrong with it
    return head.startswith(_PNG) and head[_PNG_KIND] == _DEEP_GREY
