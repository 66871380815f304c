"""Joint values that an arm may take: within their ranges, and of those that follow others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mujoco
import numpy as np

from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_SCALAR = (mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_SLIDE)


class Joints:
    """The joints of a model: hinges and slides move; free bodies and ball joints are at rest."""

    def __init__(self, model: mujoco.MjModel, narrowed: Mapping[str, tuple[float, float]]) -> None:
        """Take the model's limits, or narrower ones by the joint's name.

        Raises:
            SettingError: A narrower range is of no such joint, or not within its limits.
        """
        self._model = model
        moving = np.flatnonzero(np.isin(model.jnt_type, _SCALAR))
        limited = model.jnt_limited[moving].astype(bool)
        self._addresses = model.jnt_qposadr[moving]
        self._low = np.where(limited, model.jnt_range[moving, 0], -np.pi)
        self._high = np.where(limited, model.jnt_range[moving, 1], np.pi)
        self._narrow([model.joint(k).name for k in moving], narrowed)
        couplings = (model.eq_type == mujoco.mjtEq.mjEQ_JOINT) & model.eq_active0.astype(bool)
        self._couplings = np.flatnonzero(couplings)

    def _narrow(self, known: list[str], narrowed: Mapping[str, tuple[float, float]]) -> None:
        for name, (least, most) in narrowed.items():
            if name not in known:
                message = f"joints: the model has no joint '{name}'; it has {', '.join(known)}"
                raise SettingError(message)
            k = known.index(name)
            if not self._low[k] <= least <= most <= self._high[k]:
                message = (
                    f"joints: [{least:g}, {most:g}] for '{name}' is refused; give a range within "
                    f"the model's limits, {self._low[k]:g} to {self._high[k]:g}"
                )
                raise SettingError(message)
            self._low[k], self._high[k] = least, most

    def sample(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Joint values (nq,) in the model's order, uniform in their ranges (rad, m)."""
        values: NDArray[np.float64] = self._model.qpos0.copy()
        values[self._addresses] = rng.uniform(self._low, self._high)
        return values

    def couple(self, values: NDArray[np.float64]) -> None:
        """Set, in place, the joints that follow others (URDF `mimic`, MJCF `equality/joint`)."""
        model = self._model
        for _ in self._couplings:  # as many rounds as a chain of them may be long
            for k in self._couplings:
                follower, leader = model.jnt_qposadr[[model.eq_obj1id[k], model.eq_obj2id[k]]]
                moved = 0.0
                if model.eq_obj2id[k] >= 0:
                    moved = values[leader] - model.qpos0[leader]
                polynomial = np.polynomial.polynomial.polyval(moved, model.eq_data[k, :5])
                values[follower] = model.qpos0[follower] + polynomial
