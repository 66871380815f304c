"""What compression and replay need to know of the pose skill."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from edge_compression.protocol import BundleSettings, ExportModel, Metric
from edge_runtime.bundle import TensorSpec
from pose_fcn.accuracy import DESCRIPTIONS, LOWER_IS_BETTER, PRIMARY_METRIC, pose_accuracy
from pose_fcn.data import PoseData, arm_of, content_digest, images_of, negatives_of
from pose_fcn.estimator import IMAGE, STRIDE, PoseEstimator, PoseSettings
from pose_fcn.replay import PoseReplay

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from edge_compression.protocol import Arrays, Batch, Run, Split
    from edge_worlds.arm.dataset import ImageSet
    from pose_fcn.network import FCNPose
    from pose_fcn.training_images import TrainingImages

# By accuracy on validation images: a keypoint is better reported unsurely than not at all, and who
# wants sure ones only has the score.
_THRESHOLDS = {"seed_threshold": 0.01, "grow_share": 0.35}
_POSITIVE_WEIGHT = 4.0
_SKELETON_WEIGHT = 0.1  # its pixels are many, and no keypoint is read from them
_PLACE_WEIGHT = 10.0
_NEGATIVE_WEIGHT = 30.0  # without it, what is seen in them hardly counts beside the places
_LEAST_MASS = 1.0  # of a bell, in pixels: with less the keypoint is not in the picture


class PoseSkill(PoseReplay):
    """FCN-Pose for `compress` and `replay`."""

    primary_metric = PRIMARY_METRIC
    metrics: ClassVar[dict[str, Metric]] = {
        name: Metric(
            description,
            unit="px" if name.endswith("_px") else "",
            better="lower" if name in LOWER_IS_BETTER else "higher",
        )
        for name, description in DESCRIPTIONS.items()
    }
    data_model = PoseData

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
            shape=("batch", len(arm_of(data).names) + 1, "map_height", "map_width"),
            dtype="float32",
            layout="NCHW",
        )
        return {self.name: ExportModel(network, [IMAGE], [maps], [example])}

    def bundle_settings(self, data: PoseData) -> BundleSettings:
        """Names and settings for the arm of `data`."""
        arm = arm_of(data)
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

        images = images_of(data, "train")
        for index in np.random.default_rng(seed).permutation(len(images))[:count]:
            image = network_input([shrunk(images.bgr(index), data.scale)])
            yield {self.name: {"image": image.contiguous().numpy()}}

    def batches(
        self, data: PoseData, batch_size: int, seed: int, start_step: int
    ) -> Iterator[Batch]:
        """Augmented views with target maps."""
        from pose_fcn.training_images import TrainingImages

        links = arm_of(data).links
        share = data.negatives.share if data.negatives else 0.0
        shown = TrainingImages(images_of(data, "train"), negatives_of(data, "train"), share)
        for step in count(start_step):
            rng = np.random.default_rng((seed, step))
            yield _view_batch(shown, links, data, batch_size, rng)

    def data_digest(self, data: PoseData) -> str:
        """Hash what the images are rendered from: the arm's files and photographs."""
        return content_digest(data)

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
        negatives = negatives_of(data, split)
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
        images = images_of(data, split)
        arm = arm_of(data)
        first, second = (images.keypoints[:, arm.names.index(name)] for name in arm.reference_link)
        labels = np.where(images.in_image[..., None], images.keypoints, np.nan)
        return images, labels, np.linalg.norm(first - second, axis=1)


def _fcn(network: nn.Module) -> FCNPose:
    return cast("FCNPose", network)


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
