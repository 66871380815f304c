"""The physics of a scene: objects rest, are pushed, grasped and lifted; states can be put back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import mujoco
import numpy as np

from edge_worlds.tabletop.gripper import (
    FINGERS,
    GRIPPER_BIT,
    HAND_JOINTS,
    OBJECT_BIT,
    RG2,
    TOUCH,
    Gripper,
)
from edge_worlds.tabletop.model import TIMESTEP, build_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_worlds.tabletop.scene import Scene

_AWAY = -20.0  # height [m] of what was taken away, out of sight
_PARKED = (4.0, 0.0, 1.0)  # of the hand between actions, out of sight
_FALLEN = -0.05  # metres below the table's surface: the object is lost
_RESTING_SPEED = (0.004, 0.1)  # m/s, rad/s
_REST_CHECK = 25  # steps
_DROP_STEPS = 175  # between two objects that fall on the table
_SPEED = {"descend": 0.3, "push": 0.15, "lift": 0.4}  # m/s
_LIFT = 0.12  # metres
_CLEARANCE = 0.01  # of the fingertips over all objects before they descend
_STATE = mujoco.mjtState.mjSTATE_INTEGRATION
_NOSLIP = 3  # iterations; they double the cost of a step, and only what is held needs them
_STOP_FORCE = 15.0  # N on fingers or palm end the descent, as a robot's protective stop does
_CLOSE_STEPS = 400  # at most
_EMPTY_JAWS = 0.004  # metres between the jaws: nothing is held


@dataclass(frozen=True)
class State:
    """Everything that the future depends on; can be put back any number of times."""

    physics: NDArray[np.float64]
    present: NDArray[np.bool_]


@dataclass(frozen=True)
class Grasp:
    """What came of a grasp.

    Attributes:
        taken: index of the object that was lifted and taken away, None where none was.
        held: indices of all objects that the jaws lifted. As in VPG only the highest is taken
            away; the others fall back.
        opening: between the jaws after the lift [m].
        stopped: whether the descent ended on contact, and with it the grasp.
    """

    taken: int | None
    held: tuple[int, ...]
    opening: float
    stopped: bool

    @property
    def success(self) -> bool:
        """Whether something was lifted."""
        return self.taken is not None


class TabletopWorld:
    """A scene that obeys physics, in the workspace frame (origin mid-table, z up, metres).

    The same calls on the same scene or state give the same result, bit by bit.
    """

    def __init__(self, scene: Scene, gripper: Gripper = RG2) -> None:
        """Put the objects on the table and wait until they rest.

        Raises:
            SettingError: The scene has no object, or a shape has no volume.
        """
        self.scene = scene
        self.gripper = gripper
        self.model = build_model(scene, gripper)
        self.data = mujoco.MjData(self.model)
        self._bodies = np.array(
            [self.model.body(f"object_{k}").id for k in range(len(scene.objects))]
        )
        joints = self.model.body_jntadr[self._bodies]
        self._place = self.model.jnt_qposadr[joints][:, None] + np.arange(7)
        self._speed = self.model.jnt_dofadr[joints][:, None] + np.arange(6)
        self._hand = np.array([self.model.joint(name).qposadr[0] for name in HAND_JOINTS])
        self._hand_speed = np.array([self.model.joint(name).dofadr[0] for name in HAND_JOINTS])
        self._jaws = np.array([self.model.joint(name).qposadr[0] for name in FINGERS])
        self._jaw_speed = np.array([self.model.joint(name).dofadr[0] for name in FINGERS])
        self._touch = np.array([self.model.sensor(name).adr[0] for name in TOUCH])
        self._finger_geoms = np.array([self.model.geom(name).id for name in FINGERS])
        self._corners = [each.shape.points() for each in scene.objects]
        self.present = np.ones(len(scene.objects), bool)
        """Which objects are on the table (n,); others were taken away or fell off."""
        self._park()
        self._start()

    def _start(self) -> None:
        if not self.scene.dropped:
            self.settle()
            return
        start = self.data.qpos[self._place].copy()
        for k in range(len(self.present)):
            self._take_away(k)
        for k, place in enumerate(start):
            self._put_down(k, place)
            self._run(_DROP_STEPS)
        self.settle()

    @property
    def positions(self) -> NDArray[np.float64]:
        """Where the objects' origins are, (n, 3); NaN of those that are gone."""
        return np.where(self.present[:, None], self.data.qpos[self._place[:, :3]], np.nan)

    def in_workspace(self, half: float) -> NDArray[np.bool_]:
        """Which objects lie in the square of half side `half` [m] about the origin, (n,)."""
        with np.errstate(invalid="ignore"):
            inside: NDArray[np.bool_] = np.abs(self.positions[:, :2]).max(axis=1) <= half
        return inside

    def lowest(self) -> NDArray[np.float64]:
        """Heights of the objects' lowest points, (n,) [m]; NaN of those that are gone."""
        heights = [self._heights(k).min() for k in range(len(self.present))]
        return np.where(self.present, heights, np.nan)

    def _heights(self, k: int) -> NDArray[np.float64]:
        body = self._bodies[k]
        upward = self.data.xmat[body].reshape(3, 3)[2]
        heights: NDArray[np.float64] = self._corners[k] @ upward + self.data.xpos[body, 2]
        return heights

    def save(self) -> State:
        """Keep the present state, between two primitives."""
        self._wake()
        return State(self._physics(), self.present.copy())

    def restore(self, state: State) -> None:
        """Go back to a state that this world was in."""
        self.present = state.present.copy()
        for k, present in enumerate(self.present):
            self._set_solid(k, solid=bool(present))
        self._set_physics(state.physics)

    def _physics(self) -> NDArray[np.float64]:
        physics = np.empty(mujoco.mj_stateSize(self.model, _STATE))
        mujoco.mj_getState(self.model, self.data, physics, _STATE)
        return physics

    def _set_physics(self, physics: NDArray[np.float64]) -> None:
        mujoco.mj_resetData(self.model, self.data)  # and nothing sleeps
        mujoco.mj_setState(self.model, self.data, physics, _STATE)
        mujoco.mj_forward(self.model, self.data)

    def _wake(self) -> None:
        """Let all objects move again: some may have lost what they leaned on."""
        self._set_physics(self._physics())

    def settle(self, seconds: float = 3.0) -> bool:
        """Wait until the objects rest, for `seconds` at most; return whether they do.

        Objects that fell off the table are gone.
        """
        for _ in range(int(seconds / TIMESTEP / _REST_CHECK)):
            self._run(_REST_CHECK)
            self._lose_fallen()
            speed = np.abs(self.data.qvel[self._speed[self.present]])
            if not speed.size:
                return True
            if speed[:, :3].max() < _RESTING_SPEED[0] and speed[:, 3:].max() < _RESTING_SPEED[1]:
                return True
        return False

    def take_away(self, k: int) -> None:
        """Remove object `k`; the others settle."""
        self._take_away(k)
        self.settle()

    def push(self, start: NDArray[np.float64], angle: float, length: float = 0.1) -> bool:
        """Push with the closed gripper, along a straight line, until an object blocks its descent.

        Args:
            start: (3,) tool centre point where the push begins [m].
            angle: of the push from the x axis towards the y axis [rad].
            length: of the push [m].

        Returns:
            Whether the gripper came down to `start`; if not it pushed from where it was stopped.
        """
        stopped = self._descend(start, angle, opening=0.0)
        direction = np.array([np.cos(angle), np.sin(angle), 0.0, 0.0])
        self._move(direction, length, _SPEED["push"])
        self._run(25)
        self._withdraw()
        return not stopped

    def grasp(self, position: NDArray[np.float64], angle: float) -> Grasp:
        """Grip and lift what is at a position; of what the jaws hold the highest is taken away.

        Args:
            position: (3,) tool centre point [m].
            angle: of the line across the jaws from the x axis towards the y axis [rad].
        """
        before = self.lowest()
        stopped = self.lift(position, angle)
        opening = float(self.data.qpos[self._jaws].sum())
        held: list[int] = []
        if not stopped and opening > _EMPTY_JAWS:
            with np.errstate(invalid="ignore"):
                held = np.flatnonzero(self.lowest() - before > _LIFT / 2).tolist()
        taken = max(held, key=lambda k: self.data.qpos[self._place[k, 2]], default=None)
        if taken is not None:
            self._take_away(taken)
        self._withdraw()
        return Grasp(taken, tuple(held), opening, stopped)

    def lift(self, position: NDArray[np.float64], angle: float) -> bool:
        """Close the jaws about a position, and lift; the gripper stays there, closed.

        The open gripper comes down from above, turned so that the jaws close along `angle` [rad].
        Where it meets resistance it goes up again, open. Returns whether it did.
        """
        stopped = self._descend(position, angle, opening=self.gripper.opening)
        if not stopped:
            self.model.opt.noslip_iterations = _NOSLIP
            self._close()
        self._move(np.array([0.0, 0.0, 1.0, 0.0]), _LIFT, _SPEED["lift"])
        self.wait(0.1)
        return stopped

    def wait(self, seconds: float) -> None:
        """Let time pass; the gripper stays where it is."""
        self._run(round(seconds / TIMESTEP))

    def _descend(self, target: NDArray[np.float64], angle: float, opening: float) -> bool:
        """Come down to `target` (3,) from above all objects; return whether contact stopped it."""
        tops = [self._heights(int(k)).max() for k in np.flatnonzero(self.present)]
        start = max(target[2], *tops, 0.0) + _CLEARANCE
        self._place_hand((target[0], target[1], start, angle), opening)
        speed = _SPEED["descend"]
        # It is already under way, so that its motors do not jerk.
        self.data.qvel[self._hand_speed[2]] = -speed
        return self._move(
            np.array([0.0, 0.0, -1.0, 0.0]), start - target[2], speed, stop_force=_STOP_FORCE
        )

    def _close(self) -> None:
        step = self.gripper.speed * TIMESTEP
        goal = self.data.qpos[self._jaws[0]]
        slow = 0
        for _ in range(_CLOSE_STEPS):
            # Beyond the range, so that closed jaws press on what is between them.
            goal = max(goal - step, -0.02)
            self.data.ctrl[len(HAND_JOINTS) :] = goal
            mujoco.mj_step(self.model, self.data)
            moving = np.abs(self.data.qvel[self._jaw_speed]).max() > 2e-3  # noqa: PLR2004 - m/s
            slow = 0 if moving else slow + 1
            if slow > 25 and goal <= -0.02:  # noqa: PLR2004 - steps
                return

    def _move(
        self,
        direction: NDArray[np.float64],
        length: float,
        speed: float,
        stop_force: float = np.inf,
    ) -> bool:
        """Move the hand along a (4,) direction of its joints; return whether contact stopped it."""
        start = self.data.qpos[self._hand].copy()
        hand = slice(0, len(HAND_JOINTS))
        # A servo of this damping lags behind its goal by so much.
        lag = (
            direction
            * speed
            * (-self.model.actuator_biasprm[hand, 2])
            / self.model.actuator_gainprm[hand, 0]
        )
        steps = max(int(np.ceil(length / speed / TIMESTEP)), 1)
        for k in range(1, steps + 1):
            self.data.ctrl[hand] = start + direction * length * (k / steps) + lag
            mujoco.mj_step(self.model, self.data)
            if self.data.sensordata[self._touch].max() > stop_force:
                self.data.ctrl[hand] = self.data.qpos[self._hand]
                self._run(10)
                return True
        self.data.ctrl[hand] = start + direction * length
        self._run(10)
        return False

    def _withdraw(self) -> None:
        self._park()
        self.settle()

    def _park(self) -> None:
        self.model.opt.noslip_iterations = 0
        self._place_hand((*_PARKED, 0.0), self.gripper.opening)

    def _place_hand(self, joints: tuple[float, float, float, float], opening: float) -> None:
        self.data.qpos[self._hand] = self.data.ctrl[: len(joints)] = joints
        self.data.qpos[self._jaws] = self.data.ctrl[len(joints) :] = opening / 2
        self.data.qvel[self._hand_speed] = self.data.qvel[self._jaw_speed] = 0
        # The solver starts from the last solution, which is not that of the new place.
        self.data.qacc_warmstart[:] = 0
        mujoco.mj_forward(self.model, self.data)

    def _run(self, steps: int) -> None:
        mujoco.mj_step(self.model, self.data, steps)

    def _lose_fallen(self) -> None:
        fallen = self.present & (self.data.qpos[self._place[:, 2]] < _FALLEN)
        for k in np.flatnonzero(fallen):
            self._take_away(int(k))

    def _take_away(self, k: int) -> None:
        self.present[k] = False
        self._set_solid(k, solid=False)
        self.data.qpos[self._place[k, :3]] = (0.0, 0.0, _AWAY - k)
        self.data.qvel[self._speed[k]] = 0
        self._wake()

    def _put_down(self, k: int, place: NDArray[np.float64]) -> None:
        self.present[k] = True
        self._set_solid(k, solid=True)
        self.data.qpos[self._place[k]] = place
        self._wake()

    def _set_solid(self, k: int, *, solid: bool) -> None:
        """Let an object touch others and fall, or hang where it is."""
        body = self._bodies[k]
        first = self.model.body_geomadr[body]
        geoms = slice(first, first + self.model.body_geomnum[body])
        self.model.geom_contype[geoms] = OBJECT_BIT if solid else 0
        self.model.geom_conaffinity[geoms] = (GRIPPER_BIT | OBJECT_BIT) if solid else 0
        self.model.body_gravcomp[body] = 0.0 if solid else 1.0
