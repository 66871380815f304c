"""The file of a robot model, URDF or MJCF, read for its pictures: kinematics and what is seen."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import mujoco

from edge_runtime.errors import SettingError
from edge_worlds.arm.meshes import READABLE
from edge_worlds.arm.urdf import HIDDEN_GROUP, is_urdf, read_urdf

if TYPE_CHECKING:
    from collections.abc import Iterator

_REFERENCE = re.compile(r"""<(include|model)\b[^>]*?\bfile\s*=\s*["']([^"']+)""")


def load_model(model: Path) -> mujoco.MjSpec:
    """Read a robot model, which is then ready to be compiled, whatever it says of masses.

    Geoms of the group `HIDDEN_GROUP` and above are not to be drawn.

    Raises:
        SettingError: It is no URDF or MJCF, or a file of it cannot be used.
    """
    spec, _ = _read(model)
    _hide_collision_shapes(spec)
    spec.compiler.fusestatic = False
    spec.compiler.discardvisual = False
    spec.compiler.inertiafromgeom = mujoco.mjtInertiaFromGeom.mjINERTIAFROMGEOM_FALSE
    for body in spec.bodies[1:]:
        # Only kinematics matters, but the compiler wants masses that can be.
        body.explicitinertial = True
        body.mass = 1.0
        body.inertia = [1.0] * 3
        body.fullinertia = [float("nan")] * 6
        body.ipos = [0.0] * 3
        body.iquat = [1.0, 0.0, 0.0, 0.0]
    return spec


def model_files(model: Path) -> list[Path]:
    """List what a robot model is made of: its file, what that includes, meshes and textures.

    In the order of their paths as seen from the model's folder. What is missing of an MJCF is left
    out: who compiles it is told.

    Raises:
        SettingError: It is no URDF or MJCF, or a file of it cannot be used.
    """
    folder = model.parent
    # No picture depends on the licence, but the names of sets that were rendered so far do.
    parts = {Path(os.path.normpath(part)) for part in (folder / "LICENSE", *_read(model)[1])}
    return sorted(filter(Path.is_file, parts), key=lambda path: os.path.relpath(path, folder))


def refused(model: Path, error: Exception) -> SettingError:
    """Return what to raise where MuJoCo does not take a model."""
    return SettingError(
        f"robot model '{model}' cannot be loaded ({error}); give a URDF or MJCF that MuJoCo opens, "
        f"whose meshes are there as {', '.join(READABLE)}"
    )


def _read(model: Path) -> tuple[mujoco.MjSpec, list[Path]]:
    try:
        if is_urdf(model):
            return read_urdf(model)
        spec = mujoco.MjSpec.from_file(str(model))
        return spec, list(_parts(model, spec))
    except (OSError, ValueError, mujoco.FatalError) as error:
        raise refused(model, error) from None


def _parts(model: Path, spec: mujoco.MjSpec) -> Iterator[Path]:
    meshes, textures = (model.parent / each for each in (spec.meshdir, spec.texturedir))
    named = [(meshes, asset.file) for asset in (*spec.meshes, *spec.hfields, *spec.skins)]
    for texture in spec.textures:
        named += [(textures, file) for file in (texture.file, *texture.cubefiles)]
    for folder, file in named:
        yield folder / (Path(file).name if spec.strippath else file)
    yield from _sources(model)


def _sources(file: Path) -> Iterator[Path]:
    """Yield an XML file, and what it includes and attaches, which the specification merges."""
    yield file
    for kind, name in _REFERENCE.findall(file.read_text(encoding="utf-8", errors="replace")):
        other = file.parent / name
        yield from _read(other)[1] if kind == "model" else _sources(other)


def _hide_collision_shapes(spec: mujoco.MjSpec) -> None:
    """Hide the shapes that collide, in bodies whose others are in a shown group of their own.

    So MuJoCo itself writes a URDF as MJCF, and so robosuite has its robots; Menagerie's models have
    their collision shapes in a group that is hidden anyway.
    """
    for body in spec.bodies:
        shown = [geom for geom in body.geoms if geom.group < HIDDEN_GROUP]
        solid = [geom for geom in shown if geom.contype or geom.conaffinity]
        apart = {geom.group for geom in shown if geom not in solid}
        if apart and apart.isdisjoint(geom.group for geom in solid):
            for geom in solid:
                geom.group = HIDDEN_GROUP
