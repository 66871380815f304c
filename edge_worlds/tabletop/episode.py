"""A table that is cleared action by action, with a log and pictures on disk, and can be resumed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import cv2
import numpy as np

from edge_runtime.errors import SettingError
from edge_runtime.files import write_whole
from edge_worlds.camera import Camera
from edge_worlds.tabletop.camera import PERFECT, draw_pose_error, oblique_camera, take_picture
from edge_worlds.tabletop.scene import HALF_WORKSPACE
from edge_worlds.tabletop.world import State, TabletopWorld

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_worlds.tabletop.camera import CameraFaults, Picture
    from edge_worlds.tabletop.scene import Scene

LOG = "episode.json"
SHEET = "episode.jpg"
VIEWS = "views"
_STATE = "state.npz"
_MOVED = 0.005  # metres
_COLORS = {"push": (25, 140, 255), "grasp": (80, 230, 50)}  # BGR
_JAWS = 0.11  # metres
_THUMB = (320, 240)
_COLUMNS = 4


@dataclass(frozen=True)
class Command:
    """What a robot was told.

    Attributes:
        kind: "push" or "grasp".
        waypoints: (n, 3) of the tool centre point [m]: above, at, ...
        angle: of the tool's x axis from the workspace's x axis towards its y axis [rad].
    """

    kind: str
    waypoints: NDArray[np.float64]
    angle: float

    def check(self) -> None:
        """Check it as a robot's safety does.

        Raises:
            SettingError: it cannot be carried out.
        """
        points = self.waypoints
        wanted = {"push": 4, "grasp": 3}.get(self.kind)
        if wanted is None or points.shape != (wanted, 3):
            message = f"{self.kind!r} of {len(points)} way points; push has 4, grasp has 3"
            raise SettingError(message)
        if not np.isfinite([*points.ravel(), self.angle]).all():
            message = f"{self.kind} through {points.tolist()}; give finite way points"
            raise SettingError(message)
        outside = np.abs(points[:, :2]).max() > HALF_WORKSPACE + 1e-6
        if outside or points[:, 2].min() < 0:
            message = (
                f"{self.kind} through {points.round(4).tolist()} leaves the workspace of "
                f"+-{HALF_WORKSPACE} m, or goes below the table"
            )
            raise SettingError(message)


def millimetres(depth: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Round a depth image [m], NaN where unseen, to what cameras publish: 0 where unseen."""
    rounded: NDArray[np.uint16] = np.nan_to_num(depth * 1000).round().clip(0, 65535).astype("<u2")
    return rounded


class Episode:
    """One table and its robot, until the table is clear or nothing helps.

    `log`: what is written as `episode.json` after every action.
    """

    def __init__(
        self, scene: Scene, folder: Path, seed: int, faults: CameraFaults = PERFECT
    ) -> None:
        """Begin, or go on with what a robot that was killed has left in `folder`.

        Args:
            scene: the table.
            folder: gets log and pictures.
            seed: of the camera's faults.
            faults: of the camera.

        Raises:
            SettingError: the folder has an episode of another scene, or cannot be written.
        """
        self.world = TabletopWorld(scene)
        self._folder = folder
        self._faults = faults
        self._rng = np.random.default_rng(seed)
        nominal = oblique_camera()
        self.camera_pose = np.linalg.inv(nominal.world_to_camera).astype(np.float64)
        """Where the camera is believed to be: (4, 4) optical frame to workspace frame."""
        error = draw_pose_error(faults, self._rng)
        self._camera = Camera(
            nominal.matrix, error @ nominal.world_to_camera, nominal.width, nominal.height
        )
        self.log: dict[str, Any] = {
            "scene": scene.name,
            "seed": seed,
            "objects": self.remaining,
            "result": None,
            "actions": [],
        }
        self._resume()
        self.picture = self._look()

    @property
    def remaining(self) -> int:
        """How many objects lie in the workspace."""
        return int(self.world.in_workspace(HALF_WORKSPACE).sum())

    @property
    def useless(self) -> int:
        """How many actions in a row, the last among them, have changed nothing."""
        changes = [action["grasped"] or action["moved"] for action in reversed(self.log["actions"])]
        return changes.index(True) if True in changes else len(changes)

    def look_again(self) -> None:
        """Take another picture of the same."""
        self.picture = self._look()

    def execute(self, command: Command) -> dict[str, Any]:
        """Carry out a command, write everything down, and look at the table again.

        Returns:
            The action's entry of the log.

        Raises:
            SettingError: the command is refused.
        """
        command.check()
        before = self.world.positions
        self._keep(self._drawn(command))
        if command.kind == "grasp":
            grasped = self.world.grasp(command.waypoints[1], command.angle).success
        else:
            begin, end = command.waypoints[1:3]
            self.world.push(begin, command.angle, float(np.linalg.norm(end - begin)))
            grasped = False
        travel = np.linalg.norm(self.world.positions - before, axis=1)
        entry = {
            "kind": command.kind,
            "waypoints": command.waypoints.round(5).tolist(),
            "angle": round(command.angle, 5),
            "grasped": grasped,
            "moved": bool(np.nanmax(travel, initial=0) > _MOVED),
            "remaining": self.remaining,
        }
        self.log["actions"].append(entry)
        self._save()
        self.picture = self._look()
        return entry

    def end(self, result: str) -> None:
        """Write how it ended, and a sheet of all pictures."""
        self.log["result"] = result
        self._keep(self._bgr())
        cv2.imwrite(str(self._folder / SHEET), self._sheet())
        self._save()

    def _look(self) -> Picture:
        # Its pose is wrong already.
        return take_picture(self.world, self._camera, self._faults, self._rng, np.eye(4))

    def _bgr(self) -> NDArray[np.uint8]:
        bgr: NDArray[np.uint8] = self.picture.color[..., ::-1].copy()
        return bgr

    def _keep(self, shown: NDArray[np.uint8]) -> None:
        """Write the picture of an action, and the view that it was chosen for."""
        number = f"{len(self.log['actions']):03d}"
        cv2.imwrite(str(self._folder / f"{number}.jpg"), shown)
        view = self._folder / VIEWS / number
        view.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(view / "color.png"), self._bgr())
        cv2.imwrite(str(view / "depth.png"), millimetres(self.picture.depth))
        np.savetxt(view / "camera_matrix.txt", self.picture.matrix)
        np.savetxt(view / "camera_pose.txt", self.camera_pose)

    def _drawn(self, command: Command) -> NDArray[np.uint8]:
        """Draw a command on what is seen."""
        bgr, color = self._bgr(), _COLORS[command.kind]
        across = np.array([np.cos(command.angle), np.sin(command.angle), 0.0]) * _JAWS / 2
        jaws = command.waypoints[1] + np.stack([-across, across])
        is_push = command.kind == "push"
        ends = np.rint(self._camera.project(command.waypoints[1:3] if is_push else jaws))
        begin, end = (tuple(map(int, each)) for each in ends)
        tip = 0.25 if is_push else 0.0
        cv2.arrowedLine(bgr, begin, end, color, 3, cv2.LINE_AA, tipLength=tip)
        return bgr

    def _sheet(self) -> NDArray[np.uint8]:
        """Put the pictures of all actions, and that of the end, into one."""
        thumbs = []
        for number in range(len(self.log["actions"]) + 1):
            picture = cv2.imread(str(self._folder / f"{number:03d}.jpg"))
            thumbs.append(
                np.zeros((*_THUMB[::-1], 3), np.uint8)
                if picture is None
                else cv2.resize(picture, _THUMB, interpolation=cv2.INTER_AREA)
            )
        thumbs += [np.zeros_like(thumbs[0])] * (-len(thumbs) % _COLUMNS)
        rows = [np.hstack(thumbs[k : k + _COLUMNS]) for k in range(0, len(thumbs), _COLUMNS)]
        return np.vstack(rows)

    def _save(self) -> None:
        state = self.world.save()
        with (self._folder / f".{_STATE}").open("wb") as file:
            np.savez(file, physics=state.physics, present=state.present)
        # The state first: a log without the last action's state would do that action twice.
        (self._folder / f".{_STATE}").replace(self._folder / _STATE)
        write_whole(self._folder / LOG, json.dumps(self.log, indent=1) + "\n")

    def _resume(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            message = f"'{self._folder}' cannot be made ({error.strerror}); give another folder"
            raise SettingError(message) from None
        file = self._folder / LOG
        if not file.is_file():
            self._save()
            return
        log, state = self._left_behind()
        if any(log[key] != self.log[key] for key in ("scene", "seed", "objects")):
            message = f"'{self._folder}' has another episode; give another folder, or remove it"
            raise SettingError(message)
        if log["result"] is not None:
            message = (
                f"the episode in '{self._folder}' has ended; give another folder, or remove it"
            )
            raise SettingError(message)
        self.log = log
        self.world.restore(state)

    def _left_behind(self) -> tuple[dict[str, Any], State]:
        try:
            log = json.loads((self._folder / LOG).read_text())
            with np.load(self._folder / _STATE) as kept:
                return log, State(kept["physics"], kept["present"])
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            message = f"the episode in '{self._folder}' is damaged ({error}); remove it"
            raise SettingError(message) from None
