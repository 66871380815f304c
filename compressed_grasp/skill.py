"""What compression and replay need to know of the push-grasp skill."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

from compressed_grasp.evaluation import GraspEvaluation
from compressed_grasp.learning.data import GraspData, accuracy, held_out_trials, pictures
from compressed_grasp.learning.settings import GraspTraining
from compressed_grasp.q_policy import SIDE
from compressed_grasp.replay import METRICS as REPLAY_METRICS
from compressed_grasp.replay import GraspReplay
from edge_compression.protocol import Interface, TrainedNetwork
from edge_runtime.bundle import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor, nn

    from compressed_grasp.network import GraspNet
    from edge_compression.protocol import Batch, JudgedSplit, Run, Split, TrainingTask


class GraspSkill(GraspReplay):
    """The compact push-grasp policy for `compress` and `replay`."""

    headline = "auc"
    metric_descriptions: ClassVar[dict[str, str]] = {
        "auc": "probability that a grasp that succeeds has a higher value than one that fails",
        "best_grasp": "success of the best of the grasps that were tried in a state",
        "brier": "mean square of the difference of value and success of grasps; lower is better",
        **REPLAY_METRICS,
    }
    data_model = GraspData
    train_model = GraspTraining
    evaluation = GraspEvaluation()

    def uncompressed(self, data: GraspData) -> GraspData:
        """The recipe lessens nothing but the network."""
        return data

    def subset(self, data: GraspData, samples: int) -> GraspData:
        """Fewer pictures."""
        return data.model_copy(update={"pictures": min(samples, data.pictures)})

    def build_network(self, config: Mapping[str, Any]) -> nn.Module:
        """`config`: {"widths": four channel counts}, or {} for the default."""
        from compressed_grasp.network import GraspNet

        return GraspNet(**config)

    def network_config(self, network: nn.Module) -> dict[str, Any]:
        """Return its widths."""
        return {"widths": list(cast("GraspNet", network).widths)}

    def example_inputs(self, data: GraspData) -> dict[str, Tensor]:
        """A table as the camera sees it."""
        import torch

        return {"height": torch.from_numpy(pictures(1, data.seed))}

    def interface(self, data: GraspData) -> Interface:
        """Heights in, the values of 32 actions in each cell out."""
        del data
        height = TensorSpec(name="height", shape=(1, 1, SIDE, SIDE), dtype="float32", layout="NCHW")
        q = TensorSpec(name="q", shape=(1, 32, SIDE, SIDE), dtype="float32", layout="NCHW")
        return Interface([height], [q])

    def unprunable(self, network: nn.Module) -> list[nn.Module]:
        """Return the output layer: its filters are the actions."""
        return [cast("GraspNet", network).head]

    def batches(
        self, data: GraspData, split: Split, batch_size: int, seed: int, start_step: int
    ) -> Iterator[Batch]:
        """Yield height maps to calibrate on."""
        import torch

        del split, seed
        maps = torch.from_numpy(pictures(data.pictures, data.seed))
        for begin in range(start_step * batch_size, len(maps), batch_size):
            yield {"height": maps[begin : begin + batch_size]}

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

    def evaluate(self, run: Run, data: GraspData, split: JudgedSplit) -> dict[str, float]:
        """Compare grasp values with the outcome of trials that nothing was learnt from."""
        return accuracy(run, held_out_trials(data, split))
