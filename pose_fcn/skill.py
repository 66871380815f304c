"""What compression and replay need to know of the pose skill."""

from __future__ import annotations

from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, cast

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from edge_compression.protocol import BundleSettings, ExportModel, Metric, RecipePath
from edge_replay.protocol import Curve, FolderLabels, Score
from edge_runtime.bundle import TensorSpec, load_bundle
from edge_runtime.share import shipped_bundle
from pose_fcn.accuracy import (
    DESCRIPTIONS,
    LOWER_IS_BETTER,
    PRIMARY_METRIC,
    accuracy_curve,
    pose_accuracy,
)
from pose_fcn.estimator import IMAGE, LONGEST_SIDE, STRIDE, PoseEstimator, PoseSettings
from pose_fcn.interface import ARM_POSE, KEYPOINTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from edge_compression.protocol import Arrays, Batch, Run, Split
    from edge_replay.protocol import Answers, PlayedRun
    from edge_worlds.arm.dataset import ImageSet, ImageSource, NegativeSource
    from edge_worlds.arm.model import ArmDescription
    from pose_fcn.network import FCNPose
    from pose_fcn.training_images import TrainingImages

KEYPOINTS_TOPIC = ARM_POSE.resolve(KEYPOINTS)

_SEEDS = {"train": 0, "held_out": 1_000_003, "validation": 2_000_003}  # added to the recipe's
# By accuracy on validation images: a keypoint is better reported unsurely than not at all, and who
# wants sure ones only has the score.
_THRESHOLDS = {"seed_threshold": 0.01, "grow_share": 0.35}
_POSITIVE_WEIGHT = 4.0
_SKELETON_WEIGHT = 0.1  # its pixels are many, and no keypoint is read from them
_PLACE_WEIGHT = 10.0
_NEGATIVE_WEIGHT = 30.0  # without it, what is seen in them hardly counts beside the places
_LEAST_MASS = 1.0  # of a bell, in pixels: with less the keypoint is not in the picture
_WINDOWS = (128, 192, 256)

_ImageSplit = Literal["train", "held_out", "validation"]


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


class PoseSkill:
    """FCN-Pose for `compress` and `replay`."""

    name = "pose"
    primary_metric = PRIMARY_METRIC
    metrics: ClassVar[dict[str, Metric]] = {
        name: Metric(
            description,
            unit="px" if name.endswith("_px") else "",
            better="lower" if name in LOWER_IS_BETTER else "higher",
        )
        for name, description in DESCRIPTIONS.items()
    }
    metric_descriptions: ClassVar[dict[str, str]] = DESCRIPTIONS
    data_model = PoseData

    node = ARM_POSE
    work_stages = ("preprocess", "engine", "clustering")

    def uncompressed(self, data: PoseData) -> PoseData:
        """The network as it came sees the whole image."""
        return data.model_copy(update={"input_size": None})

    def subset(self, data: PoseData, samples: int) -> PoseData:
        """The first of the images, with and without the arm."""
        fewer: dict[str, Any] = {"images": min(samples, data.images)}
        if data.negatives is not None:
            some = min(samples, data.negatives.images)
            fewer["negatives"] = data.negatives.model_copy(update={"images": some})
        return data.model_copy(update=fewer)

    def build_network(self, config: Mapping[str, Any]) -> nn.Module:
        """`config`: {"widths": five channel counts}, or {} for the published ones."""
        from pose_fcn.network import FCNPose

        return FCNPose(**config)

    def network_config(self, network: nn.Module) -> dict[str, Any]:
        """Read the widths off the layers, which pruning may have narrowed."""
        return {"widths": [layer.out_channels for layer in _fcn(network).encoder]}

    def models(self, network: nn.Module, data: PoseData) -> dict[str, ExportModel]:
        """One, that sees an image of a 4:3 camera as the estimator scales and pads it."""
        import torch

        width = data.input_size or data.size
        height = -(-width * 3 // (4 * STRIDE)) * STRIDE
        noise = torch.Generator().manual_seed(0)
        example = {"image": torch.rand((1, 3, height, width), generator=noise)}
        maps = TensorSpec(
            name="maps",
            shape=("batch", len(_description(data).names) + 1, "map_height", "map_width"),
            dtype="float32",
            layout="NCHW",
        )
        return {self.name: ExportModel(network, [IMAGE], [maps], [example])}

    def bundle_settings(self, data: PoseData) -> BundleSettings:
        """Names and settings for the arm of `data`."""
        arm = _description(data)
        reference = (arm.names.index(arm.reference_link[0]), arm.names.index(arm.reference_link[1]))
        settings = PoseSettings(
            long_side=data.input_size or data.size,
            links=arm.links,
            reference_link=reference,
            arm_threshold=data.arm_threshold,
            **_THRESHOLDS,
        )
        return BundleSettings(arm.names, settings.model_dump(mode="json"))

    def unprunable(self, network: nn.Module) -> list[nn.Module]:
        """The output layer: its filters are the keypoints."""
        return [_fcn(network).head]

    def calibration(
        self, runs: Mapping[str, Run], data: PoseData, count: int, seed: int
    ) -> Iterator[dict[str, Arrays]]:
        """Whole training images."""
        del runs
        from pose_fcn.training_images import network_input, shrunk

        images = _images(data, "train")
        for index in np.random.default_rng(seed).permutation(len(images))[:count]:
            image = network_input([shrunk(images.bgr(index), data.scale)])
            yield {self.name: {"image": image.contiguous().numpy()}}

    def batches(
        self, data: PoseData, batch_size: int, seed: int, start_step: int
    ) -> Iterator[Batch]:
        """Augmented views with target maps."""
        from pose_fcn.training_images import TrainingImages

        links = _description(data).links
        share = data.negatives.share if data.negatives else 0.0
        shown = TrainingImages(_images(data, "train"), _negatives(data, "train"), share)
        for step in count(start_step):
            rng = np.random.default_rng((seed, step))
            yield _view_batch(shown, links, data, batch_size, rng)

    def data_digest(self, data: PoseData) -> str:
        """Hash what the images are rendered from: the arm's files and photographs."""
        digest = _source(data, "train").digest()
        if data.negatives is not None:
            digest += _negative_source(data, data.negatives, "train").digest()
        return digest

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Cross-entropy of every pixel, and of the place of every keypoint.

        The first is over the number of keypoint pixels; pixels near a keypoint weigh more, as
        nearly all others are background, the skeleton's weigh less, and those of pictures without
        the arm most. The second takes a
        keypoint's map as one distribution over its pixels: what counts there is that no other place
        looks more like the keypoint.
        """
        from torch.nn.functional import binary_cross_entropy_with_logits

        from pose_fcn.network import KEYPOINT_MAPS

        target = batch["maps"]
        logits = _fcn(network).logits(batch["image"]).float()
        share = logits.new_tensor([1.0] * KEYPOINT_MAPS + [_SKELETON_WEIGHT])[:, None, None]
        without_arm = target.flatten(1).amax(1) == 0
        weight = share * (1 + _POSITIVE_WEIGHT * target)
        weight[without_arm] *= _NEGATIVE_WEIGHT
        pixels = binary_cross_entropy_with_logits(logits, target, weight, reduction="sum")
        bells = target[:, :KEYPOINT_MAPS].flatten(2)
        mass = bells.sum(2)
        present = mass > _LEAST_MASS
        places = -(bells * logits[:, :KEYPOINT_MAPS].flatten(2).log_softmax(2)).sum(2)
        place = (places[present] / mass[present]).sum() / present.sum().clamp(min=1)
        return pixels / (share * target).sum().clamp(min=_NEGATIVE_WEIGHT) + _PLACE_WEIGHT * place

    def teacher_outputs(self, teacher: nn.Module, batch: Batch) -> Tensor:
        """Its maps."""
        maps: Tensor = _fcn(teacher)(batch["image"])
        return maps

    def blend_targets(self, batch: Batch, outputs: Tensor, share: float) -> Batch:
        """Mix the teacher's maps into the target maps."""
        return {**batch, "maps": batch["maps"].lerp(outputs.float(), share)}

    def evaluate(self, runs: Mapping[str, Run], data: PoseData, split: Split) -> dict[str, float]:
        """Estimate the split's images and compare with their labels; see `pose_accuracy`.

        Where the recipe has pictures without the arm, `false_alarms` is the share of them in which
        any keypoint is reported.
        """
        images, labels, lengths = self.labelled(data, split)
        served = self.bundle_settings(data)
        settings = PoseSettings.model_validate(dict(served.settings))
        estimator = PoseEstimator(runs[self.name], settings, served.names)
        predicted = np.stack(
            [estimator.estimate(images.bgr(k)).positions for k in range(len(images))]
        )
        metrics = pose_accuracy(predicted, labels, lengths)
        negatives = _negatives(data, split)
        if negatives is not None:
            alarms = [
                estimator.estimate(negatives.bgr(k)).found.any() for k in range(len(negatives))
            ]
            metrics["false_alarms"] = float(np.mean(alarms))
        return metrics

    def labelled(self, data: PoseData, split: Split) -> tuple[ImageSet, NDArray[Any], NDArray[Any]]:
        """Return n images to judge by, their labels and the lengths of their reference links.

        Labels are (n, 8, 2) pixels, NaN where a keypoint is not in the image; lengths (n,) pixels.
        """
        images = _images(data, split)
        arm = _description(data)
        first, second = (images.keypoints[:, arm.names.index(name)] for name in arm.reference_link)
        labels = np.where(images.in_image[..., None], images.keypoints, np.nan)
        return images, labels, np.linalg.norm(first - second, axis=1)

    def score(self, run: PlayedRun) -> Score | None:
        """Compare keypoint clouds with a recording's `labels.json`, by the names of keypoints.

        What only one of labels and bundle knows is not judged, and noted.
        """
        if run.labels is None:
            return None
        from pose_fcn.labels import read_labels
        from pose_fcn.messages import cloud_pixels

        known = read_labels(run.labels)
        served = load_bundle(run.bundle or shipped_bundle(self.name), self.name)
        names = served.manifest.names
        columns = known.columns(names)
        shared = [place for place, column in enumerate(columns) if column is not None]
        note = known.differences(names)
        notes = () if note is None else (note,)
        frames = {frame.stamp: frame for frame in known.frames}
        scored = [(frames[stamp], answers) for stamp, answers in run.answers if stamp in frames]
        if not scored:
            return Score(
                metrics={},
                primary_metric=PRIMARY_METRIC,
                labelled=len(frames),
                answered=0,
                notes=notes,
            )
        predicted = np.stack(
            [cloud_pixels(answers[KEYPOINTS_TOPIC], columns) for _, answers in scored]
        )[:, shared]
        truth = np.stack([frame.array() for frame, _ in scored])[:, shared]
        lengths = np.array([frame.reference_length or np.nan for frame, _ in scored], float)
        thresholds, shares = accuracy_curve(predicted, truth)
        curve = Curve(
            name="all keypoints",
            x_label="threshold [px]",
            y_label="share of keypoints",
            x=tuple(thresholds.tolist()),
            y=tuple(shares.tolist()),
        )
        metrics = pose_accuracy(predicted, truth, lengths)
        return Score(
            metrics=metrics,
            primary_metric=PRIMARY_METRIC,
            labelled=len(frames),
            answered=len({frame.stamp for frame, _ in scored}),
            curves=(curve,),
            better={name: "lower" if name in LOWER_IS_BETTER else "higher" for name in metrics},
            notes=notes,
        )

    def draw(self, bgr: NDArray[Any], answers: Answers) -> NDArray[Any]:
        """Draw the keypoints of one answer."""
        from pose_fcn.messages import cloud_pixels
        from pose_fcn.overlay import draw_keypoints

        return draw_keypoints(bgr, cloud_pixels(answers[KEYPOINTS_TOPIC]))

    def convert_labels(self, folder: Path, stamps: Mapping[str, int]) -> FolderLabels:
        """Read the keypoints that stand beside the images; see `pose_fcn.labels`."""
        from pose_fcn.labels import folder_labels

        return folder_labels(folder, stamps)


def _fcn(network: nn.Module) -> FCNPose:
    return cast("FCNPose", network)


def _description(data: PoseData) -> ArmDescription:
    from edge_worlds.arm.model import DESK_ARM, read_description

    return read_description(data.arm or DESK_ARM)


def _source(data: PoseData, split: _ImageSplit) -> ImageSource:
    from edge_worlds.arm.dataset import ImageSource
    from edge_worlds.arm.model import DESK_ARM

    return ImageSource(data.arm or DESK_ARM, data.size, data.seed + _SEEDS[split], data.backgrounds)


def _negative_source(data: PoseData, negatives: Negatives, split: _ImageSplit) -> NegativeSource:
    from edge_worlds.arm.dataset import NegativeSource
    from edge_worlds.arm.model import DESK_ARM

    seed = data.seed + _SEEDS[split]
    return NegativeSource(data.arm or DESK_ARM, data.size, seed, negatives.photographs)


@lru_cache(maxsize=len(_SEEDS))
def _negatives(data: PoseData, split: _ImageSplit) -> ImageSet | None:
    from edge_worlds.arm.dataset import image_set

    if data.negatives is None:
        return None
    judged = {"held_out": data.held_out, "validation": data.validation}
    images = data.negatives.images if split == "train" else -(-judged[split] // 4)
    return image_set(_negative_source(data, data.negatives, split), images)


@lru_cache(maxsize=len(_SEEDS))
def _images(data: PoseData, split: _ImageSplit) -> ImageSet:
    from edge_worlds.arm.dataset import image_set

    counts = {"train": data.images, "held_out": data.held_out, "validation": data.validation}
    return image_set(_source(data, split), counts[split])


def _view_batch(
    images: TrainingImages,
    links: Sequence[tuple[int, int]],
    data: PoseData,
    batch_size: int,
    rng: np.random.Generator,
) -> Batch:
    import torch

    from pose_fcn.training_images import (
        draw_window_side,
        network_input,
        random_view,
        shrunk,
        target_maps,
        vary_colours,
    )

    side = draw_window_side(rng, data.sides) if data.augment else data.size
    views, maps = [], []
    indices = images.draw(rng, batch_size)
    for index in indices:
        if data.augment:
            view, keypoints = random_view(rng, images, int(index), side)
            view = vary_colours(rng, shrunk(view, data.scale))
        else:
            view, keypoints = shrunk(images.bgr(int(index)), data.scale), images.visible(int(index))
        views.append(view)
        # Centres of pixels are at integers.
        seen = ((keypoints + 0.5) * data.scale - 0.5).astype(np.float32)
        maps.append(target_maps(seen, links, round(side * data.scale)))
    batch = {"image": network_input(views), "maps": torch.from_numpy(np.stack(maps))}
    if not data.augment:
        batch["sample"] = torch.from_numpy(indices)
    return batch
