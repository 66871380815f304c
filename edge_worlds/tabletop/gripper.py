"""A parallel-jaw gripper of boxes that hangs from a hand, which motors move over the table."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco

HAND_JOINTS = ("hand_x", "hand_y", "hand_z", "hand_yaw")
FINGERS = ("left_finger", "right_finger")
TOUCH = ("left_touch", "right_touch", "palm_touch")
GRIPPER_BIT, OBJECT_BIT = 1, 2
"""Collision bits: of the gripper's geoms and of objects."""


@dataclass(frozen=True)
class Gripper:
    """Measures of the gripper; the default is about an OnRobot RG2, which VPG used.

    The tool centre point lies between the fingertips. Jaws move along the tool's x axis. Metres,
    newtons, kilograms.

    Attributes:
        opening: between the open jaws.
        finger_width: along the tool's y axis.
        finger_thickness: along the tool's x axis.
        depth: from the palm to the fingertips.
        palm: extents of the box that the fingers hang from.
        force: of each jaw on what is between them.
        speed: of each jaw [m/s].
        mass: of the palm; a finger weighs a tenth.
    """

    opening: float = 0.110
    finger_width: float = 0.020
    finger_thickness: float = 0.010
    depth: float = 0.080
    palm: tuple[float, float, float] = (0.150, 0.040, 0.060)
    force: float = 40.0
    speed: float = 0.2
    mass: float = 1.0


RG2 = Gripper()

_STIFFNESS = 8000.0  # N/m of the hand's motors; the arm is far heavier than what it touches
_DAMPING = 180.0
_STRONGEST = 150.0  # N
_YAW = (80.0, 3.0, 20.0)  # Nm/rad, Nms/rad, Nm
_FINGER_FRICTION = (1.0, 0.01, 0.001)  # rubber pads
_FINGER_SOLREF = (0.004, 1.0)  # hard: the jaws do not sink into a light block


def add_gripper(spec: mujoco.MjSpec, gripper: Gripper) -> None:
    """Add the hand, its motors and its touch sensors to a model."""
    hand = spec.worldbody.add_body(name="hand", gravcomp=1)
    slide, hinge = mujoco.mjtJoint.mjJNT_SLIDE, mujoco.mjtJoint.mjJNT_HINGE
    for name, axis in zip(HAND_JOINTS, ([1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]), strict=True):
        kind = hinge if name == "hand_yaw" else slide
        hand.add_joint(name=name, type=kind, axis=axis)
        stiffness, damping, strongest = (
            _YAW if name == "hand_yaw" else (_STIFFNESS, _DAMPING, _STRONGEST)
        )
        _add_motor(spec, name, stiffness, damping, strongest)
    palm_middle = [0.0, 0.0, gripper.depth + gripper.palm[2] / 2]
    palm_half = [extent / 2 for extent in gripper.palm]
    _add_box(hand, "palm", palm_middle, palm_half, gripper.mass)
    _add_touch(spec, hand, "palm_touch", palm_middle, palm_half)
    for name, side in zip(FINGERS, (1.0, -1.0), strict=True):
        _add_finger(spec, hand, name, side, gripper)
    spec.add_equality(
        type=mujoco.mjtEq.mjEQ_JOINT,
        objtype=mujoco.mjtObj.mjOBJ_JOINT,
        name1=FINGERS[0],
        name2=FINGERS[1],
        data=[0.0, 1.0] + [0.0] * (mujoco.mjNEQDATA - 2),
        solref=[0.006, 1],
    )


def _add_finger(
    spec: mujoco.MjSpec, hand: mujoco.MjsBody, name: str, side: float, gripper: Gripper
) -> None:
    body = hand.add_body(name=name, gravcomp=1)
    body.add_joint(
        name=name,
        type=mujoco.mjtJoint.mjJNT_SLIDE,
        axis=[side, 0, 0],
        # A geared motor is no faster than its speed, however hard it pushes: what slips out of the
        # jaws is not shot away.
        damping=[gripper.force / gripper.speed, 0.0, 0.0],
        range=[0, gripper.opening / 2],
        limited=mujoco.mjtLimited.mjLIMITED_TRUE,
        solref_limit=[0.006, 1],
    )
    middle = [side * gripper.finger_thickness / 2, 0.0, gripper.depth / 2]
    half = [gripper.finger_thickness / 2, gripper.finger_width / 2, gripper.depth / 2]
    _add_box(body, name, middle, half, gripper.mass / 10)
    _add_touch(spec, body, f"{name.partition('_')[0]}_touch", middle, half)
    _add_motor(spec, name, 4000.0, 60.0, gripper.force)


def _add_box(
    body: mujoco.MjsBody, name: str, middle: list[float], half: list[float], mass: float
) -> None:
    body.add_geom(
        name=name,
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=middle,
        size=half,
        mass=mass,
        contype=GRIPPER_BIT,
        conaffinity=0,
        condim=4,
        friction=list(_FINGER_FRICTION),
        solref=list(_FINGER_SOLREF),
        priority=1,  # what it touches, it touches with these
        rgba=[0.25, 0.25, 0.28, 1],
    )


def _add_touch(
    spec: mujoco.MjSpec, body: mujoco.MjsBody, name: str, middle: list[float], half: list[float]
) -> None:
    """Add a sensor of the sum of normal contact forces on a box."""
    body.add_site(
        name=name,
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=middle,
        size=[extent + 0.003 for extent in half],
    )
    spec.add_sensor(
        name=name,
        type=mujoco.mjtSensor.mjSENS_TOUCH,
        objtype=mujoco.mjtObj.mjOBJ_SITE,
        objname=name,
    )


def _add_motor(
    spec: mujoco.MjSpec, joint: str, stiffness: float, damping: float, strongest: float
) -> None:
    """Add a position servo of limited force."""
    motor = spec.add_actuator(
        name=joint,
        target=joint,
        trntype=mujoco.mjtTrn.mjTRN_JOINT,
        forcelimited=mujoco.mjtLimited.mjLIMITED_TRUE,
        forcerange=[-strongest, strongest],
    )
    motor.set_to_position(kp=stiffness, kv=damping)
