"""Pictures for people: the action on the colour image, on the height map, on the Q map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from compressed_grasp.action import Action
    from compressed_grasp.heightmap import HeightMap
    from compressed_grasp.workspace import Workspace

    _Projection = Callable[[NDArray[np.float64]], NDArray[np.float64]]
    """Places in the workspace frame (n, 3) [m] to x and y of pixels (n, 2)."""

_ZOOM = 4
_HIGHEST = 0.12  # metres, white
_UNSEEN = (90, 30, 60)
_JAWS = 0.11  # metres
_PUSH_COLOR, _GRASP_COLOR = (25, 140, 255), (80, 230, 50)  # BGR
_FAR = 1e4  # pixels; OpenCV draws no farther
_BORDER_COLOR = (230, 230, 230)


def draw_height_map(
    seen: HeightMap, action: Action | None, workspace: Workspace
) -> NDArray[np.uint8]:
    """Draw heights as grey and the action; x to the right, y up, 4 pixels a cell."""
    grey = np.clip(np.nan_to_num(seen.height) / _HIGHEST, 0, 1) * 225 + 30
    picture = np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
    picture[np.isnan(seen.height)] = _UNSEEN
    return _with_action(picture, action, workspace)


def draw_q_map(
    q: NDArray[np.float32], seen: HeightMap, action: Action | None, workspace: Workspace
) -> NDArray[np.uint8]:
    """Draw the best Q of each cell over all its actions, blue 0 to red 1, on the heights."""
    best = np.clip(np.nan_to_num(q.max(axis=0)), 0, 1)
    colors = cv2.applyColorMap((best * 255).astype(np.uint8), cv2.COLORMAP_JET)
    grey = (np.clip(np.nan_to_num(seen.height) / _HIGHEST, 0, 1) * 255).astype(np.uint8)
    mixed = cv2.addWeighted(colors, 0.65, np.repeat(grey[..., None], 3, axis=2), 0.35, 0)
    return _with_action(mixed.astype(np.uint8), action, workspace)


def draw_on_image(
    bgr: NDArray[np.uint8],
    action: Action | None,
    workspace: Workspace,
    matrix: NDArray[np.float64],
    camera_pose: NDArray[np.float64],
) -> NDArray[np.uint8]:
    """Draw the workspace's border and the action on a copy of an image without distortion."""
    drawn: NDArray[np.uint8] = bgr.copy()
    z = workspace.z[0]
    corners = np.array(
        [(workspace.x[i], workspace.y[j], z) for i, j in ((0, 0), (1, 0), (1, 1), (0, 1))]
    )
    to_camera = np.linalg.inv(camera_pose)

    def pixels(points: NDArray[np.float64]) -> NDArray[np.float64]:
        local = points @ to_camera[:3, :3].T + to_camera[:3, 3]
        ahead = np.where(local[:, 2:] > 0, local[:, 2:], np.nan)
        projected: NDArray[np.float64] = ((local / ahead) @ matrix.T)[:, :2]
        return projected

    border = pixels(corners)
    for k in range(4):
        _line(drawn, border[[k, (k + 1) % 4]], _BORDER_COLOR, 1)
    if action is not None:
        _draw_action(drawn, action, pixels)
    return drawn


def _with_action(
    picture: NDArray[np.uint8], action: Action | None, workspace: Workspace
) -> NDArray[np.uint8]:
    large: NDArray[np.uint8] = np.kron(picture, np.ones((_ZOOM, _ZOOM, 1), np.uint8))[::-1].copy()
    if action is not None:
        scale = _ZOOM / workspace.resolution

        def pixels(points: NDArray[np.float64]) -> NDArray[np.float64]:
            xy = (points[:, :2] - (workspace.x[0], workspace.y[0])) * scale
            return np.stack([xy[:, 0], len(large) - xy[:, 1]], axis=1) - 0.5

        _draw_action(large, action, pixels)
    return large


def _draw_action(picture: NDArray[np.uint8], action: Action, pixels: _Projection) -> None:
    if action.kind == "push":
        begin, end = pixels(action.waypoints[1:3])
        if np.isfinite([begin, end]).all():
            ends = _pixel(begin), _pixel(end)
            cv2.arrowedLine(picture, *ends, _PUSH_COLOR, 2, cv2.LINE_AA, tipLength=0.25)
        return
    middle = action.waypoints[1]
    across = action.rotation[:, 0] * _JAWS / 2
    along = action.rotation[:, 1] * _JAWS / 8
    _line(picture, pixels(middle + np.stack([-across, across])), _GRASP_COLOR, 2)
    for jaw in (middle - across, middle + across):
        _line(picture, pixels(jaw + np.stack([-along, along])), _GRASP_COLOR, 2)
    _line(picture, pixels(np.stack([middle, middle])), _GRASP_COLOR, 6)


def _line(
    picture: NDArray[np.uint8],
    ends: NDArray[np.float64],
    color: tuple[int, int, int],
    thickness: int,
) -> None:
    """Draw between two pixels (2, 2); nothing where one is behind the camera."""
    if np.isfinite(ends).all():
        cv2.line(picture, _pixel(ends[0]), _pixel(ends[1]), color, thickness, cv2.LINE_AA)


def _pixel(place: NDArray[np.float64]) -> tuple[int, int]:
    x, y = np.rint(np.clip(place, -_FAR, _FAR))
    return int(x), int(y)
