"""The recipe's `data` section, and the images that it describes."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from edge_compression.protocol import RecipePath  # noqa: TC001 - pydantic reads it
from pose_fcn.estimator import LONGEST_SIDE, STRIDE

if TYPE_CHECKING:
    from edge_worlds.arm.dataset import ImageSet, ImageSource, NegativeSource
    from edge_worlds.arm.model import ArmDescription

ImageSplit = Literal["train", "held_out", "validation"]

_SEEDS = {"train": 0, "held_out": 1_000_003, "validation": 2_000_003}  # added to the recipe's
_WINDOWS = (128, 192, 256)


class Negatives(BaseModel):
    """Pictures without the arm, from which a network learns to report nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    share: float = Field(gt=0, lt=1, description="of the training pictures")
    images: int = Field(gt=0, description="rendered for training")
    photographs: tuple[RecipePath, ...] = Field(
        default=(),
        description="folders of photographs that do not show the arm; besides there are its "
        "scenes without it, and furnished rooms",
    )


class PoseData(BaseModel):
    """The recipe's `data` section: rendered images of an arm."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    arm: RecipePath | None = Field(
        default=None, description="YAML of the arm; left out: the arm that ships"
    )
    backgrounds: RecipePath | None = Field(
        default=None, description="folder of photographs; left out: procedural backdrops"
    )
    negatives: Negatives | None = Field(
        default=None, description="pictures without the arm; left out: there are none"
    )
    arm_threshold: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="least mean score of the keypoints for an arm to be there: below it none is "
        "reported. Keypoints outside the picture score near 0, so it must be low where cameras see "
        "parts of the arm only",
    )
    images: int = Field(gt=0, description="rendered for training and calibration")
    held_out: int = Field(gt=0, description="rendered for the report's figures, another seed")
    validation: int = Field(
        default=250, gt=0, description="rendered for choices on the way, a third seed"
    )
    size: int = Field(
        default=256, ge=128, le=LONGEST_SIDE, multiple_of=32, description="side in pixels"
    )
    input_size: int | None = Field(
        default=None,
        ge=64,
        multiple_of=32,
        description="long side of what the network sees, pixels; left out: size. The work falls "
        "with its square",
    )
    seed: int = Field(default=1, ge=0, description="of what is rendered for training")
    windows: tuple[Annotated[int, Field(ge=64, multiple_of=32)], ...] | None = Field(
        default=None,
        min_length=1,
        description="sides of the training windows, one drawn for every batch: small ones are "
        "cheap, large ones show the whole arm; left out: those of "
        f"{', '.join(map(str, _WINDOWS))} that input_size allows, else size. Only with augment",
    )
    augment: bool = Field(
        default=True,
        description="turn, scale, crop, recolour and spoil the training images. A network far too "
        "small to learn the images by heart does better without",
    )

    @model_validator(mode="after")
    def _windows_fit_the_network(self) -> PoseData:
        if self.scale > 1:
            message = f"input_size {self.input_size} is more than size {self.size}: render larger"
            raise ValueError(message)
        if self.windows and not self.augment:
            message = "windows: without augment whole images are seen; leave one of the two out"
            raise ValueError(message)
        for side in self.windows or ():
            if not self._fits(side):
                message = (
                    f"windows: {side} pixels are {side * self.scale:g} for the network, which "
                    f"wants multiples of {STRIDE}; give other windows or another input_size"
                )
                raise ValueError(message)
        return self

    @property
    def scale(self) -> float:
        """Pixels that the network sees for one of the image."""
        return (self.input_size or self.size) / self.size

    @property
    def sides(self) -> tuple[int, ...]:
        """Those of the training windows, also where the recipe leaves them out."""
        return self.windows or tuple(filter(self._fits, _WINDOWS)) or (self.size,)

    def _fits(self, side: int) -> bool:
        return side * self.scale % STRIDE == 0


def arm_of(data: PoseData) -> ArmDescription:
    """Read the arm that the images show."""
    from edge_worlds.arm.model import DESK_ARM, read_description

    return read_description(data.arm or DESK_ARM)


@lru_cache(maxsize=len(_SEEDS))
def negatives_of(data: PoseData, split: ImageSplit) -> ImageSet | None:
    """Return the pictures without the arm; None where there are none."""
    from edge_worlds.arm.dataset import image_set

    if data.negatives is None:
        return None
    evaluated = {"held_out": data.held_out, "validation": data.validation}
    images = data.negatives.images if split == "train" else -(-evaluated[split] // 4)
    return image_set(_negative_source(data, data.negatives, split), images)


@lru_cache(maxsize=len(_SEEDS))
def images_of(data: PoseData, split: ImageSplit) -> ImageSet:
    """Return the images of the arm."""
    from edge_worlds.arm.dataset import image_set

    counts = {"train": data.images, "held_out": data.held_out, "validation": data.validation}
    return image_set(_source(data, split), counts[split])


def content_digest(data: PoseData) -> str:
    """Hash what the images are rendered from: the arm's files and photographs."""
    digest = _source(data, "train").digest()
    if data.negatives is not None:
        digest += _negative_source(data, data.negatives, "train").digest()
    return digest


def _source(data: PoseData, split: ImageSplit) -> ImageSource:
    from edge_worlds.arm.dataset import ImageSource
    from edge_worlds.arm.model import DESK_ARM

    return ImageSource(data.arm or DESK_ARM, data.size, data.seed + _SEEDS[split], data.backgrounds)


def _negative_source(data: PoseData, negatives: Negatives, split: ImageSplit) -> NegativeSource:
    from edge_worlds.arm.dataset import NegativeSource
    from edge_worlds.arm.model import DESK_ARM

    seed = data.seed + _SEEDS[split]
    return NegativeSource(data.arm or DESK_ARM, data.size, seed, negatives.photographs)
