"""Colours for parts of a mesh whose file knows of one colour only, as STL files do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import mujoco
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_Share = Annotated[float, Field(ge=0, le=1)]


class Paint(BaseModel):
    """A colour for shells of a mesh: covers, rings and caps are mostly shells of their own.

    `mesh` is the mesh's name in the model (its file without the suffix, if the model does not name
    it); `parts` counts its connected shells from 0, the one with the most faces; `colour` is RGB.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mesh: str
    parts: tuple[int, ...] = Field(min_length=1)
    colour: tuple[_Share, _Share, _Share]


def apply_paint(spec: mujoco.MjSpec, paints: Sequence[Paint]) -> None:
    """Replace the geoms of painted meshes by one geom for each colour.

    Raises:
        SettingError: The model has no such mesh, or the mesh has no such part.
    """
    if not paints:
        return
    plain = spec.compile()
    for name in dict.fromkeys(paint.mesh for paint in paints):
        index = mujoco.mj_name2id(plain, mujoco.mjtObj.mjOBJ_MESH, name)
        if index < 0:
            known = ", ".join(plain.mesh(k).name for k in range(plain.nmesh))
            message = f"paint: the model has no mesh '{name}'; its meshes are {known}"
            raise SettingError(message)
        _paint_mesh(spec, plain, index, [paint for paint in paints if paint.mesh == name])


def _paint_mesh(
    spec: mujoco.MjSpec, plain: mujoco.MjModel, index: int, paints: Sequence[Paint]
) -> None:
    name = plain.mesh(index).name
    vertices, faces = _triangles(plain, index)
    part = _shells(faces)
    for paint in paints:
        if not set(paint.parts) <= set(range(part.max() + 1)):
            message = (
                f"paint: parts {list(paint.parts)} of mesh '{name}' are refused; "
                f"its parts are 0 to {part.max()}"
            )
            raise SettingError(message)
    coat = np.full(part.max() + 1, -1)
    for number, paint in enumerate(paints):
        coat[list(paint.parts)] = number
    geoms = [geom for geom in spec.geoms if geom.meshname == name]
    for number in np.unique(coat):
        shell = f"{name}_{number}" if number >= 0 else f"{name}_unpainted"
        _add_mesh(spec, shell, vertices, faces[coat[part] == number])
        for geom in geoms:
            coated = geom.parent.add_geom(
                type=mujoco.mjtGeom.mjGEOM_MESH,
                meshname=shell,
                pos=geom.pos,
                quat=geom.quat,
                rgba=[*paints[number].colour, 1.0] if number >= 0 else geom.rgba,
                material="" if number >= 0 else geom.material,
                contype=geom.contype,
                conaffinity=geom.conaffinity,
                group=geom.group,
            )
            coated.alt = geom.alt  # the orientation where MJCF gives no quaternion
            if geom.frame is not None:
                coated.set_frame(geom.frame)
    for geom in geoms:
        spec.delete(geom)


def _triangles(model: mujoco.MjModel, index: int) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Vertices (n, 3) in the mesh file's own frame, and faces (m, 3)."""
    first, count = model.mesh_vertadr[index], model.mesh_vertnum[index]
    start, faces = model.mesh_faceadr[index], model.mesh_facenum[index]
    rotation = np.empty(9)
    mujoco.mju_quat2Mat(rotation, model.mesh_quat[index])
    # The compiler centres a mesh and turns it to its axes of inertia.
    local = model.mesh_vert[first : first + count] @ rotation.reshape(3, 3).T
    local += model.mesh_pos[index]
    return local, model.mesh_face[start : start + faces].copy()


def _shells(faces: NDArray[np.int32]) -> NDArray[np.intp]:
    """For each face the number of its connected shell, 0 being the one with the most faces."""
    label = np.arange(faces.max() + 1)
    while True:
        least = label[faces].min(axis=1)
        lower = label.copy()
        np.minimum.at(lower, faces.ravel(), np.repeat(least, 3))
        lower = lower[lower]
        if np.array_equal(lower, label):
            break
        label = lower
    _, shell, sizes = np.unique(label[faces[:, 0]], return_inverse=True, return_counts=True)
    rank = np.empty(len(sizes), np.intp)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    return rank[shell]


def _add_mesh(
    spec: mujoco.MjSpec, name: str, vertices: NDArray[np.float64], faces: NDArray[np.int32]
) -> None:
    used, renumbered = np.unique(faces, return_inverse=True)
    mesh = spec.add_mesh(
        name=name, uservert=vertices[used].ravel(), userface=renumbered.ravel().astype(np.int32)
    )
    # Thin covers enclose next to no volume; nothing here moves by its mass.
    mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL
