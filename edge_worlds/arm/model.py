"""An arm that can be posed: any URDF or MJCF model plus a YAML list of eight keypoint frames."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import mujoco
import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edge_runtime.errors import SettingError, first_problem
from edge_worlds.arm.joints import Joints
from edge_worlds.arm.paint import Paint, apply_paint
from edge_worlds.arm.robot_model import load_model, refused
from edge_worlds.arm.urdf import HIDDEN_GROUP

if TYPE_CHECKING:
    from numpy.typing import NDArray

DESK_ARM = Path(__file__).parent / "desk_arm" / "arm.yaml"
"""The arm that ships with the package."""

KEYPOINT_COUNT = 8
OCCLUDER_SLOTS = 2
_COLLISION_DEPTH = 0.01
_POSE_ATTEMPTS = 100
_NO_COLOUR = (0.5, 0.5, 0.5, 1.0)  # MuJoCo's default


class Keypoint(BaseModel):
    """A named point fixed to a frame of the model.

    `frame` names a body (MJCF), link (URDF) or site; `offset` is in metres in that frame.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    frame: str
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)


Range = tuple[float, float]


class SceneRanges(BaseModel):
    """What scenes the pictures of an arm are drawn from, each range uniformly.

    Attributes:
        field_of_view: degrees along the picture's longer side.
        elevation: degrees above the horizon that the camera stands.
        share: of the picture's shorter side that the arm's keypoints span.
        frame: how far out a centred arm would reach in this picture, as such a share; the camera
            looks past the arm's middle by up to what is left, so above 1 arms are cut off.
        photographs: share of the backdrops that are photographs, if there are some.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    field_of_view: Range = (35, 70)
    elevation: Range = (-5, 50)
    share: Range = (0.4, 0.8)
    frame: float = 0.95
    photographs: float = Field(default=0.8, ge=0, le=1)


class ArmDescription(BaseModel):
    """The YAML file that turns a robot model into an arm with keypoints.

    `model` is relative to the YAML file. `skeleton` lists pairs of keypoint names that a link
    joins; left out, it is the chain in the order of the keypoints. `reference_link` is the pair
    whose projected length scales the PCK threshold. `joints` narrows the limits of joints to the
    poses that the arm works in; `paint` colours parts of meshes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    model: Path
    keypoints: tuple[Keypoint, ...] = Field(min_length=KEYPOINT_COUNT, max_length=KEYPOINT_COUNT)
    reference_link: tuple[str, str]
    skeleton: tuple[tuple[str, str], ...] = ()
    joints: dict[str, Range] = Field(default_factory=dict)
    paint: tuple[Paint, ...] = ()
    scenes: SceneRanges = SceneRanges()

    @model_validator(mode="after")
    def _names_are_known(self) -> ArmDescription:
        known = self.names
        if len(set(known)) != len(known):
            msg = f"keypoint names {list(known)} are not all different"
            raise ValueError(msg)
        for name in {*self.reference_link, *(end for link in self.skeleton for end in link)}:
            if name not in known:
                msg = f"'{name}' is not among the keypoints {list(known)}"
                raise ValueError(msg)
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The keypoints' names in order."""
        return tuple(keypoint.name for keypoint in self.keypoints)

    @property
    def links(self) -> tuple[tuple[int, int], ...]:
        """The skeleton as pairs of keypoint indices."""
        if not self.skeleton:
            return tuple((i, i + 1) for i in range(KEYPOINT_COUNT - 1))
        return tuple((self.names.index(a), self.names.index(b)) for a, b in self.skeleton)


def read_description(path: Path) -> ArmDescription:
    """Read and validate an arm's YAML file; `model` comes back as an absolute path.

    Raises:
        SettingError: The file is missing, is no YAML, or does not describe an arm.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        message = f"arm description '{path}' cannot be read ({reason}); give an arm YAML file"
        raise SettingError(message) from None
    try:
        description = ArmDescription.model_validate(content)
    except ValidationError as error:
        message = (
            f"arm description '{path}': {first_problem(error)}; allowed: "
            "name, model, 8 keypoints {name, frame, offset}, reference_link, skeleton, joints, "
            "paint, scenes"
        )
        raise SettingError(message) from None
    return description.model_copy(update={"model": (path.parent / description.model).resolve()})


class Arm:
    """A posable arm in a world with a floor plane at z = 0 and two movable occluders.

    Lengths in metres, angles in radians, positions in the model's world frame (z up).
    """

    def __init__(self, path: Path = DESK_ARM) -> None:
        """Load the arm.

        Raises:
            SettingError: The description or its model cannot be used.
        """
        self.description = read_description(path)
        source = self.description.model
        spec = load_model(source)
        try:
            apply_paint(spec, self.description.paint)
            self._add_scenery(spec)
            self.model = spec.compile()
        except (ValueError, mujoco.FatalError) as error:
            raise refused(source, error) from None
        self._colour_by_material()
        self.data = mujoco.MjData(self.model)
        self.floor = self._geom("scenery_floor")
        self.occluders = tuple(self._geom(f"scenery_{k}") for k in range(OCCLUDER_SLOTS))
        self.geoms = self._seen_geoms()
        self._bound_bodies()
        self._joints = Joints(self.model, self.description.joints)
        self._frames = [self._frame(keypoint) for keypoint in self.description.keypoints]
        self.hide_occluders()

    def _colour_by_material(self) -> None:
        """Give geoms without a colour of their own that of their material, as MuJoCo shows them."""
        material = self.model.geom_matid
        plain = (material >= 0) & (self.model.geom_rgba == _NO_COLOUR).all(axis=1)
        self.model.geom_rgba[plain] = self.model.mat_rgba[material[plain]]

    @staticmethod
    def _add_scenery(spec: mujoco.MjSpec) -> None:
        common = {"contype": 0, "conaffinity": 0, "group": 0}
        spec.worldbody.add_geom(
            name="scenery_floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0, 0, 1], **common
        )
        for k in range(OCCLUDER_SLOTS):
            body = spec.worldbody.add_body(name=f"scenery_{k}", mocap=True)
            body.add_geom(
                name=f"scenery_{k}", type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.1] * 3, **common
            )

    def _geom(self, name: str) -> int:
        return int(mujoco.mj_name2id(self.model, mujoco.mjtObj.mjOBJ_GEOM, name))

    def _seen_geoms(self) -> NDArray[np.intp]:
        model = self.model
        seen = (model.geom_group < HIDDEN_GROUP) & (model.geom_rgba[:, 3] > 0)
        seen[[self.floor, *self.occluders]] = False
        if not seen[model.geom_type != mujoco.mjtGeom.mjGEOM_PLANE].any():
            message = (
                f"robot model '{self.description.model}' has nothing to see: give its links "
                f"<visual> shapes (URDF), or geoms of a group below {HIDDEN_GROUP} that are not "
                "transparent (MJCF)"
            )
            raise SettingError(message)
        return np.flatnonzero(seen)

    def _bound_bodies(self) -> None:
        """Let the bodies' bounds, by which the ray caster culls, hold what is seen.

        The compiler bounds what collides alone. Boxes are about the bodies' origins, where MuJoCo
        3.17 takes their middle to be.
        """
        model = self.model
        reach = np.zeros((model.nbody, 3))
        rotation = np.empty(9)
        for geom in range(model.ngeom):
            mujoco.mju_quat2Mat(rotation, model.geom_quat[geom])
            axes = rotation.reshape(3, 3)
            middle = model.geom_pos[geom] + axes @ model.geom_aabb[geom, :3]
            corner = np.abs(middle) + np.abs(axes) @ model.geom_aabb[geom, 3:]
            body = model.geom_bodyid[geom]
            reach[body] = np.maximum(reach[body], corner)
        bounded = np.flatnonzero(model.body_bvhnum)
        model.bvh_aabb[model.body_bvhadr[bounded], :3] = 0
        model.bvh_aabb[model.body_bvhadr[bounded], 3:] = reach[bounded]

    def _frame(self, keypoint: Keypoint) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        for kind, positions, rotations in (
            (mujoco.mjtObj.mjOBJ_BODY, self.data.xpos, self.data.xmat),
            (mujoco.mjtObj.mjOBJ_SITE, self.data.site_xpos, self.data.site_xmat),
        ):
            index = mujoco.mj_name2id(self.model, kind, keypoint.frame)
            if index >= 0:
                return positions[index], rotations[index]
        bodies = [self.model.body(i).name for i in range(1, self.model.nbody)]
        sites = [self.model.site(i).name for i in range(self.model.nsite)]
        frames = [name for name in bodies + sites if not name.startswith("scenery_")]
        message = (
            f"keypoint '{keypoint.name}': the model has no frame '{keypoint.frame}'; "
            f"its frames are {', '.join(frames)}"
        )
        raise SettingError(message)

    def pose(self, joints: NDArray[np.float64]) -> None:
        """Move the joints; `joints` in the model's order, each in its own unit (rad or m).

        Joints that follow others are where these put them, whatever is given.
        """
        if joints.shape != (self.model.nq,):
            message = f"{joints.shape} joint values given; the arm has {self.model.nq}"
            raise SettingError(message)
        self.data.qpos[:] = joints
        self._joints.couple(self.data.qpos)
        mujoco.mj_kinematics(self.model, self.data)

    def random_joints(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Joint values uniform in their ranges, above the floor and free of self-collision.

        Leaves the arm in that pose. A model that collides with itself in every tried pose
        (coarse collision meshes) gets the last one.
        """
        for _ in range(_POSE_ATTEMPTS):
            self.pose(self._joints.sample(rng))
            if self.keypoints()[1:, 2].min() < 0.02:  # noqa: PLR2004 - metres above the floor
                continue
            mujoco.mj_collision(self.model, self.data)
            depths = self.data.contact.dist[: self.data.ncon]
            if not (depths < -_COLLISION_DEPTH).any():
                break
        joints: NDArray[np.float64] = self.data.qpos.copy()
        return joints

    def keypoints(self) -> NDArray[np.float64]:
        """World positions of the keypoints in the present pose, (8, 3) metres."""
        return np.stack(
            [
                position + rotation.reshape(3, 3) @ np.array(keypoint.offset)
                for keypoint, (position, rotation) in zip(
                    self.description.keypoints, self._frames, strict=True
                )
            ]
        )

    def make_invisible(self) -> None:
        """Let rays pass through the arm, for good: what is left is the scene without it."""
        self.model.geom_rgba[self.geoms, 3] = 0
        materials = self.model.geom_matid[self.geoms]
        self.model.mat_rgba[materials[materials >= 0], 3] = 0

    def hide_occluders(self) -> None:
        """Put every occluder far below the floor."""
        self.data.mocap_pos[:] = (0.0, 0.0, -100.0)
        mujoco.mj_kinematics(self.model, self.data)

    def place_occluder(
        self,
        slot: int,
        shape: mujoco.mjtGeom,
        half_size: NDArray[np.float64],
        position: NDArray[np.float64],
        quaternion: NDArray[np.float64],
    ) -> None:
        """Put occluder `slot` at `position` (m, world), turned by `quaternion` (w x y z)."""
        geom = self.occluders[slot]
        self.model.geom_type[geom] = shape
        self.model.geom_size[geom] = half_size
        # The ray caster culls by these bounds, which the compiler made for the original box. There
        # is no bounding-volume tree of it: the compiler makes none of what does not collide.
        bound = float(np.linalg.norm(half_size))
        self.model.geom_rbound[geom] = bound
        self.model.geom_aabb[geom] = (0, 0, 0, bound, bound, bound)
        self.data.mocap_pos[slot] = position
        self.data.mocap_quat[slot] = quaternion / np.linalg.norm(quaternion)
        mujoco.mj_kinematics(self.model, self.data)
