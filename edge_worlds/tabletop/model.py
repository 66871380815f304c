"""The physics model of a table, a gripper and the objects of a scene."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mujoco
import numpy as np

from edge_runtime.errors import SettingError
from edge_worlds.tabletop.gripper import GRIPPER_BIT, OBJECT_BIT, add_gripper

if TYPE_CHECKING:
    from edge_worlds.tabletop.gripper import Gripper
    from edge_worlds.tabletop.scene import Scene, SceneObject

TIMESTEP = 0.002
_TABLE = (0.6, 0.6, 0.025)  # half extents [m]
_DENSITY = 500.0  # kg/m3, wood
_FRICTION = (0.5, 0.005, 0.0005)


def build_model(scene: Scene, gripper: Gripper) -> mujoco.MjModel:
    """Compile the model; object k is the body `object_k`.

    Raises:
        SettingError: The scene has no object, or a shape has no volume.
    """
    if not scene.objects:
        message = f"scene '{scene.name}' has no object; give at least one"
        raise SettingError(message)
    try:
        return _specification(scene, gripper).compile()
    except (ValueError, mujoco.FatalError) as error:
        message = f"scene '{scene.name}' cannot be built ({error}); give solid shapes"
        raise SettingError(message) from None


def _specification(scene: Scene, gripper: Gripper) -> mujoco.MjSpec:
    spec = mujoco.MjSpec()
    option = spec.option
    option.timestep = TIMESTEP
    # With these, and iterations against slip, blocks in the jaws do not creep.
    option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    option.impratio = 10
    option.solver = mujoco.mjtSolver.mjSOL_NEWTON
    option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    # What rests is not computed until it is touched.
    option.enableflags = mujoco.mjtEnableBit.mjENBL_SLEEP
    # A thin box: on a plane, triangular prisms slide.
    spec.worldbody.add_geom(
        name="table",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=list(_TABLE),
        pos=[0, 0, -_TABLE[2]],
        contype=0,
        conaffinity=GRIPPER_BIT | OBJECT_BIT,
        condim=4,
        friction=list(_FRICTION),
        rgba=[0.5, 0.45, 0.4, 1],
    )
    add_gripper(spec, gripper)
    for k, each in enumerate(scene.objects):
        _add_object(spec, k, each)
    return spec


def _add_object(spec: mujoco.MjSpec, k: int, each: SceneObject) -> None:
    quaternion = np.empty(4)
    mujoco.mju_mat2Quat(quaternion, each.rotation.ravel())
    body = spec.worldbody.add_body(name=f"object_{k}", pos=each.position, quat=quaternion)
    body.add_freejoint()
    for i, part in enumerate(each.shape.parts):
        common = {
            "name": f"object_{k}_{i}",
            "density": _DENSITY,
            "contype": OBJECT_BIT,
            "conaffinity": GRIPPER_BIT | OBJECT_BIT,
            "friction": list(_FRICTION),
            # What rolls needs rolling friction to come to rest.
            "condim": 6 if part.kind == "cylinder" else 4,
            "rgba": [*each.color, 1.0],
        }
        if part.vertices is not None:
            mesh = f"mesh_{k}_{i}"
            spec.add_mesh(name=mesh, uservert=part.vertices.ravel())
            body.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname=mesh, **common)
        else:
            kind = {"box": mujoco.mjtGeom.mjGEOM_BOX, "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER}
            body.add_geom(
                type=kind[part.kind], size=list(part.size), pos=list(part.position), **common
            )
