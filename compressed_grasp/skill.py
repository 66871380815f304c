"""What compression and replay need to know of the push-grasp skill."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

from compressed_grasp.evaluation import GraspEvaluation
from compressed_grasp.learning.data import GraspData, accuracy, held_out_trials, pictures
from compressed_grasp.learning.settings import GraspTraining
from compressed_grasp.q_policy import SIDE
from compressed_grasp.replay import METRICS as REPLAY_METRICS
from compressed_grasp.replay import GraspReplay
from edge_compression.protocol import BundleSettings, ExportModel, Metric, TrainedNetwork
from edge_runtime.bundle import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import nn

    from compressed_grasp.network import GraspNet
    from edge_compression.protocol import Arrays, Run, Split, TrainingTask


class GraspSkill(GraspReplay):
    """The compact push-grasp policy for `compress` and `replay`."""

    primary_metric = "auc"
    metrics: ClassVar[dict[str, Metric]] = {
        "auc": Metric("probability that a grasp that succeeds is worth more than one that fails"),
        "best_grasp": Metric("success of the best of the grasps that were tried in a state"),
        "brier": Metric(
            "mean square of the difference of value and success of grasps", better="lower"
        ),
    }
    metric_descriptions: ClassVar[dict[str, str]] = REPLAY_METRICS
    data_model = GraspData
    train_model = GraspTraining
    evaluation = GraspEvaluation()

    def uncompressed(self, data: GraspData) -> GraspData:
        """The recipe lessens nothing but the network."""
        return data

    def build_network(self, config: Mapping[str, Any]) -> nn.Module:
        """`config`: {"widths": four channel counts}, or {} for the default."""
        from compressed_grasp.network import GraspNet

        return GraspNet(**config)

    def network_config(self, network: nn.Module) -> dict[str, Any]:
        """Return its widths."""
        return {"widths": list(cast("GraspNet", network).widths)}

    def models(self, network: nn.Module, data: GraspData) -> dict[str, ExportModel]:
        """One: heights in, the values of 32 actions in each cell out."""
        import torch

        height = TensorSpec(name="height", shape=(1, 1, SIDE, SIDE), dtype="float32", layout="NCHW")
        q = TensorSpec(name="q", shape=(1, 32, SIDE, SIDE), dtype="float32", layout="NCHW")
        example = {"height": torch.from_numpy(pictures(1, data.seed))}
        return {self.name: ExportModel(network, [height], [q], [example])}

    def bundle_settings(self, data: GraspData) -> BundleSettings:
        """Return nothing: who serves the network knows the table by parameters."""
        del data
        return BundleSettings()

    def unprunable(self, network: nn.Module) -> list[nn.Module]:
        """Return the output layer: its filters are the actions."""
        return [cast("GraspNet", network).head]

    def calibration(
        self, runs: Mapping[str, Run], data: GraspData, count: int, seed: int
    ) -> Iterator[dict[str, Arrays]]:
        """Yield height maps of drawn scenes."""
        del runs
        for height in pictures(count, data.seed + seed):
            yield {self.name: {"height": height[None]}}

    def data_digest(self, data: GraspData) -> str:
        """Identify what is drawn."""
        return data.digest()

    def train(self, task: TrainingTask) -> TrainedNetwork:
        """Learn by trial and error; see `learning.trainer`."""
        from compressed_grasp.learning.trainer import Trainer

        network = cast("GraspNet", task.network)
        trainer = Trainer(network, task.settings, task.folder, task.save_every)
        trainer.run()
        return TrainedNetwork(
            network.cpu(),
            {"loss": trainer.curve},
            trainer.seconds,
            {"Rounds": trainer.table()},
        )

    def evaluate(self, runs: Mapping[str, Run], data: GraspData, split: Split) -> dict[str, float]:
        """Compare grasp values with the outcome of trials that nothing was learnt from."""
        return accuracy(runs[self.name], held_out_trials(data, split))
