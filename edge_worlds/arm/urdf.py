"""URDF as ROS has it, made ready for MuJoCo, which reads it for physics and not for pictures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import mujoco

from edge_runtime.errors import SettingError
from edge_worlds.arm.meshes import locate, read_mesh

if TYPE_CHECKING:
    from collections.abc import Iterator
    from xml.etree.ElementTree import Element

HIDDEN_GROUP = 3
"""The first group of geoms that MuJoCo's viewer does not show unless it is told to."""

_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_XACRO = re.compile(r"<xacro:|\$\{|\$\(")
_AT_REST = ("floating", "planar")  # where the whole robot stands is no matter in its pictures
_COMPILER = {"discardvisual": "false", "fusestatic": "false", "strippath": "false"}


def is_urdf(model: Path) -> bool:
    """Whether the file's root is `robot`, as of URDF and xacro.

    Raises:
        SettingError: There is no such file.
    """
    if not model.is_file():
        message = f"there is no robot model '{model}': give a URDF or MJCF file"
        raise SettingError(message)
    return re.search(r"<\s*robot\b", _text(model)) is not None


def read_urdf(model: Path) -> tuple[mujoco.MjSpec, list[Path]]:
    """Read a URDF; return it, and the files that it is made of.

    Only what moves and what is seen matters: masses are ignored, floating and planar joints are at
    rest, and collision shapes are in the group `HIDDEN_GROUP`.

    Raises:
        SettingError: It is xacro that is to be expanded, no XML, or a mesh of it cannot be used.
        ValueError: MuJoCo refuses it.
    """
    root = _parsed(model)
    compiler = root.find("mujoco/compiler")
    meshdir = "" if compiler is None else compiler.get("meshdir", "")
    meshes = _name_meshes(root, (model.parent, model.parent / meshdir))
    _drop_physics(root)
    _require_leaders(root)
    ET.SubElement(ET.SubElement(root, "mujoco"), "compiler", _COMPILER)
    spec = mujoco.MjSpec.from_string(
        ET.tostring(root, encoding="unicode"),
        assets={name: read_mesh(path) for name, path in meshes.items()},
    )
    for mesh in spec.meshes:
        # Meshes to look at are seldom closed, and nothing here moves by its mass.
        mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL
    for geom in spec.geoms:
        if geom.contype:
            geom.group = HIDDEN_GROUP
    return spec, [model, *meshes.values()]


def _text(model: Path) -> str:
    return _COMMENT.sub("", model.read_bytes().decode(errors="replace"))


def _parsed(model: Path) -> Element:
    if model.suffix == ".xacro" or _XACRO.search(_text(model)):
        plain = f"{model.name.partition('.')[0]}_expanded.urdf"
        message = (
            f"robot model '{model}' is xacro: expand it with `xacro {model.name} > {plain}`, and "
            f"let `model` name {plain}"
        )
        raise SettingError(message)
    try:
        return ET.fromstring(model.read_bytes())  # noqa: S314 - the user's own file
    except ET.ParseError as error:
        message = f"robot model '{model}' is no XML ({error}): mend it, or export it again"
        raise SettingError(message) from None


def _name_meshes(root: Element, folders: tuple[Path, Path]) -> dict[str, Path]:
    """Give every mesh a name of its own in place of its address; return the files by these.

    Different files of one name (visual/link.stl, collision/link.stl) would be taken for one.
    """
    known: dict[tuple[Path, str], str] = {}
    for mesh in _meshes(root):
        path = locate(mesh.get("filename", ""), folders)
        use = path, mesh.get("scale", "")
        if use not in known:
            taken = {Path(name).stem for name in known.values()}
            stem, number = path.stem, 1
            while stem in taken:
                number += 1
                stem = f"{path.stem}_{number}"
            known[use] = stem + path.suffix.lower()
        mesh.set("filename", known[use])
    return {name: path for (path, _), name in known.items()}


def _meshes(root: Element) -> Iterator[Element]:
    # Visual ones first: they keep the names of their files, by which they are painted.
    for kind in ("visual", "collision"):
        yield from root.iterfind(f"link/{kind}/geometry/mesh")


def _drop_physics(root: Element) -> None:
    for element in list(root):
        if element.tag not in {"link", "joint", "material"}:
            root.remove(element)
    for link in root.iterfind("link"):
        for inertial in link.findall("inertial"):
            link.remove(inertial)
        for shape in (*link.iterfind("visual"), *link.iterfind("collision")):
            shape.attrib.pop("name", None)  # which MuJoCo wants to be unique
    for joint in root.iterfind("joint"):
        if joint.get("type") in _AT_REST:
            joint.set("type", "fixed")


def _require_leaders(root: Element) -> None:
    names = [joint.get("name") for joint in root.iterfind("joint")]
    for joint in root.iterfind("joint"):
        for mimic in joint.iterfind("mimic"):
            if mimic.get("joint") not in names:
                message = (
                    f"joint '{joint.get('name')}' mimics '{mimic.get('joint')}', which is none of "
                    "the URDF's joints: name one of them"
                )
                raise SettingError(message)
