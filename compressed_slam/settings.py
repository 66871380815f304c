"""What tracking and mapping go by, with the published presets."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edge_runtime.errors import SettingError, first_problem

_Pixels = Annotated[float, Field(gt=0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ProximitySettings(_Section):
    """Which pairs of keyframes become edges; see `compressed_slam.proximity`."""

    threshold: _Pixels = Field(description="largest distance of the two, pixels of the maps' flow")
    radius: int = Field(ge=1, description="keyframes between two that are joined in any case")
    suppress: int = Field(ge=0, description="an edge keeps others that near from being made")


class SlamSettings(_Section):
    """Thresholds of flow are in pixels of the maps, an eighth of the image's.

    Defaults are the published ones for TUM RGB-D (see `PRESETS`).
    """

    beta: float = Field(
        default=0.3, ge=0, le=1, description="share of the whole flow in the distance of keyframes"
    )
    motion_threshold: _Pixels = Field(
        default=1.5,
        description="mean flow from the last keyframe that makes a frame a keyframe; with measured "
        "depth at least 1.25 times `keyframe_threshold`",
    )
    warm_up: int = Field(default=12, ge=4, description="keyframes before the first map")
    keyframe_threshold: _Pixels = Field(
        default=2.0, description="distance under which the last but one keyframe is given up"
    )
    window: int = Field(default=25, ge=5, description="latest keyframes that the frontend works on")
    max_edges: int = Field(default=48, description="of the frontend's graph")
    max_age: int = Field(default=20, ge=1, description="updates that an edge takes part in")
    frontend: ProximitySettings = ProximitySettings(threshold=12.0, radius=2, suppress=1)
    backend: ProximitySettings = ProximitySettings(threshold=20.0, radius=2, suppress=3)
    backend_every: int = Field(
        default=8, ge=1, description="keyframes between two runs of the backend"
    )
    max_backend_edges: int = Field(
        default=640, ge=64, description="of the backend's graph; each takes memory"
    )
    max_keyframes: int = Field(
        default=80,
        ge=32,
        description="keyframes with maps in memory; of more the oldest that nothing overlaps go",
    )
    least_confidence: float = Field(
        default=0.1, gt=0, lt=1, description="mean weight of matches under which tracking is lost"
    )
    patience: int = Field(
        default=60,
        ge=1,
        description="lost frames that show something, in a row, after which a new map begins",
    )
    depth_weight: float = Field(
        default=0.0,
        ge=0,
        description="of a measured inverse depth beside the flow; 0: as much as the two agree",
    )

    @model_validator(mode="after")
    def _all_fits(self) -> SlamSettings:
        if self.max_keyframes < self.window + self.warm_up:
            message = (
                f"max_keyframes {self.max_keyframes} is less than window {self.window} and "
                f"warm_up {self.warm_up} together: raise it, or lower those"
            )
            raise ValueError(message)
        # What joins keyframes to those after them comes first; a rest must be left for others.
        least = 12 * (self.frontend.radius + 1)
        if self.max_edges < least:
            message = (
                f"max_edges {self.max_edges} is too few for frontend.radius "
                f"{self.frontend.radius}: give {least} or more"
            )
            raise ValueError(message)
        least = (2 * (self.backend.radius + 1) + 2) * self.max_keyframes
        if self.max_backend_edges < least:
            message = (
                f"max_backend_edges {self.max_backend_edges} is too few for max_keyframes "
                f"{self.max_keyframes}: give {least} or more"
            )
            raise ValueError(message)
        return self


PRESETS: dict[str, SlamSettings] = {
    "tum": SlamSettings(),
    "euroc": SlamSettings(
        motion_threshold=2.4,
        warm_up=15,
        keyframe_threshold=3.0,
        window=20,
        frontend=ProximitySettings(threshold=17.5, radius=2, suppress=1),
        backend=ProximitySettings(threshold=24.0, radius=2, suppress=2),
    ),
    "eth3d": SlamSettings(
        beta=0.5,
        motion_threshold=2.0,
        warm_up=8,
        keyframe_threshold=3.5,
        window=20,
        frontend=ProximitySettings(threshold=16.0, radius=2, suppress=1),
        backend=ProximitySettings(threshold=22.0, radius=2, suppress=3),
    ),
}


def preset(name: str, **changes: Any) -> SlamSettings:  # noqa: ANN401 - of the fields' own types
    """Return a published preset, some settings changed.

    Raises:
        SettingError: there is no such preset or setting, or a value is out of range.
    """
    if name not in PRESETS:
        message = f"unknown preset '{name}': choose one of {', '.join(PRESETS)}"
        raise SettingError(message)
    try:
        return SlamSettings.model_validate({**PRESETS[name].model_dump(), **changes})
    except ValidationError as error:
        message = f"slam settings, {first_problem(error)}"
        raise SettingError(message) from error
