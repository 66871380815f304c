"""What compression and replay need to know of the SLAM skill."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

from compressed_slam.interface import SAVE_MAP, SLAM
from compressed_slam.offline import replaying
from compressed_slam.offline.evaluating import TRACKING, SlamEvaluation
from compressed_slam.training.accuracy import FLOW
from compressed_slam.training.data import SlamData, recordings, training_batches
from compressed_slam.widths import DroidConfig
from edge_compression.protocol import BundleSettings
from edge_replay.protocol import FolderLabels, Saving
from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from compressed_slam.training.pair_network import PairNetwork
    from edge_compression.protocol import Arrays, Batch, ExportModel, Metric, Run, Split
    from edge_replay.bags import Recording
    from edge_replay.protocol import Answers, PlayedRun, Score

_ITERATIONS = 6


class SlamSkill:
    """DROID-SLAM: three networks, trained and kept as one, and the node that they serve."""

    name = "slam"
    primary_metric = "ate"
    metrics: ClassVar[dict[str, Metric]] = {**TRACKING, **FLOW}
    metric_descriptions: ClassVar[dict[str, str]] = replaying.METRICS
    data_model = SlamData
    evaluation = SlamEvaluation()
    node = SLAM
    work_stages = ("rectify", "track")
    saving = Saving(SAVE_MAP, "map_folder", "map")

    def uncompressed(self, data: SlamData) -> SlamData:
        """The recipe lessens nothing beside the network."""
        return data

    def subset(self, data: SlamData, samples: int) -> SlamData:
        """Fewer rooms, if they are more than the samples."""
        return data.model_copy(update={"rooms": min(samples, data.rooms)})

    def build_network(self, config: Mapping[str, Any]) -> nn.Module:
        """`config`: {"widths": those of a `DroidConfig`, "iterations": steps of a pair}.

        What is left out is as published, and 6 steps.
        """
        from compressed_slam.training.pair_network import PairNetwork

        return PairNetwork(**_network_arguments(**config))

    def widened(self, network: nn.Module, config: Mapping[str, Any]) -> nn.Module:
        """See `compressed_slam.training.widening`."""
        from compressed_slam.training.widening import widen

        wide = self.build_network(config)
        widen(_pairs(network).droid, _pairs(wide).droid)
        return wide

    def network_config(self, network: nn.Module) -> dict[str, Any]:
        """Read the widths off the layers, which pruning may have narrowed."""
        pairs = _pairs(network)
        widths = pairs.droid.config().model_dump(mode="json")
        return {"widths": widths, "iterations": pairs.iterations}

    def models(self, network: nn.Module, data: SlamData) -> dict[str, ExportModel]:
        """Return fnet, cnet and a step of the update operator, for pictures of 320x240."""
        from compressed_slam.offline.exporting import export_models

        del data
        return export_models(_pairs(network).droid)

    def bundle_settings(self, data: SlamData) -> BundleSettings:
        """None beside the models."""
        del data
        return BundleSettings()

    def unprunable(self, network: nn.Module) -> list[nn.Module]:
        """Layers whose outputs others rely on by number: features, state, context and the heads."""
        droid = _pairs(network).droid
        update = droid.update
        heads = (update.delta[2], update.weight[2], update.agg.eta[0], update.agg.upmask[0])
        # conv2 of agg feeds upmask, which no exported model has.
        return [droid.fnet.conv2, droid.cnet.conv2, update.gru, update.agg.conv2, *heads]

    def calibration(
        self, runs: Mapping[str, Run], data: SlamData, count: int, seed: int
    ) -> Iterator[dict[str, Arrays]]:
        """What the engines are asked while the training recordings are tracked."""
        from compressed_slam.offline.rollouts import rollout_inputs

        return rollout_inputs(runs, recordings(data, "train"), count, seed)

    def batches(
        self, data: SlamData, batch_size: int, seed: int, start_step: int
    ) -> Iterator[Batch]:
        """Crops as cameras would have taken them."""
        return training_batches(data, batch_size, seed, start_step)

    def data_digest(self, data: SlamData) -> str:
        """Hash the files that pairs and recordings are made from."""
        return data.digest()

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """See `compressed_slam.training`: `pair_loss`, or of excerpts `excerpt_loss`."""
        from compressed_slam.training.excerpt_loss import excerpt_loss
        from compressed_slam.training.pair_loss import pair_loss

        if "pictures" in batch:
            return excerpt_loss(_pairs(network), batch)
        return pair_loss(_pairs(network), batch)

    def teacher_outputs(self, teacher: nn.Module, batch: Batch) -> Tensor:
        """Its flow, (n, 2, h, w) cells.

        Raises:
            SettingError: the batch is of excerpts, which have no one flow.
        """
        if "image1" not in batch:
            message = "distil mixes the flow of pairs: leave `excerpts` out of `data`, or distil"
            raise SettingError(message)
        flow: Tensor = _pairs(teacher)(batch["image1"], batch["image2"])[0]
        return flow

    def blend_targets(self, batch: Batch, outputs: Tensor, share: float) -> Batch:
        """Mix the teacher's flow into the truth."""
        return {**batch, "flow": batch["flow"].lerp(outputs.float(), share)}

    def evaluate(self, runs: Mapping[str, Run], data: SlamData, split: Split) -> dict[str, float]:
        """Track recordings, and match pairs of pictures, that were never trained on."""
        from compressed_slam.offline.accuracy import accuracy

        return accuracy(runs, data, split)

    def node_parameters(self, recording: Recording, layout: str | None) -> dict[str, str]:
        """Choose the camera mode by what a recording has, and the preset by its data set."""
        return replaying.node_parameters(recording.topics, layout)

    def score(self, run: PlayedRun) -> Score | None:
        """Compare the poses that the node told with the true ones."""
        return replaying.score(run)

    def pictures(self, run: PlayedRun) -> Sequence[tuple[str, NDArray[Any]]]:
        """Draw the paths that the node told, and the true one."""
        return replaying.pictures(run)

    def record(self, run: PlayedRun, path: Path) -> None:
        """Write the run for the viewer Rerun."""
        from compressed_slam.offline.rerun_recording import write_rerun

        write_rerun(run, path)

    def draw(self, bgr: NDArray[Any], answers: Answers) -> NDArray[Any]:
        """Write one frame's pose on its image."""
        return replaying.draw(bgr, answers)

    def convert_labels(self, folder: Path, stamps: Mapping[str, int]) -> FolderLabels:
        """Folders have no labels beside their poses, which `replay convert` reads itself."""
        del folder, stamps
        return FolderLabels(None, None)


def _network_arguments(
    widths: Mapping[str, Any] | None = None, iterations: int = _ITERATIONS
) -> dict[str, Any]:
    if not isinstance(iterations, int) or iterations < 1:
        message = f"iterations {iterations!r}: give a whole number from 1"
        raise ValueError(message)
    return {"config": DroidConfig.model_validate(widths or {}), "iterations": iterations}


def _pairs(network: nn.Module) -> PairNetwork:
    return cast("PairNetwork", network)
