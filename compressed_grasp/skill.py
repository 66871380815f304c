"""What compression and replay need to know of the push-grasp skill."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from compressed_grasp.evaluation import GraspEvaluation
from compressed_grasp.learning.data import GraspData, accuracy, held_out_trials, pictures
from compressed_grasp.learning.samples import draw_batch, samples
from compressed_grasp.learning.settings import GraspTraining
from compressed_grasp.q_policy import SIDE
from compressed_grasp.replay import METRICS as REPLAY_METRICS
from compressed_grasp.replay import GraspReplay
from edge_compression.protocol import BundleSettings, ExportModel, Metric, TrainedNetwork
from edge_runtime.bundle import TensorSpec
from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor, nn

    from compressed_grasp.network import GraspNet
    from edge_compression.protocol import Arrays, Batch, Run, Split, TrainingTask

_STATES = 38  # of a shard of trials


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

    def subset(self, data: GraspData, samples: int) -> GraspData:
        """Fewer shards of the recorded trials."""
        if data.trials is None:
            return data
        shards = min(data.trials.shards, -(-samples // _STATES))
        return data.model_copy(update={"trials": data.trials.model_copy(update={"shards": shards})})

    def batches(
        self, data: GraspData, batch_size: int, seed: int, start_step: int
    ) -> Iterator[Batch]:
        """States of the recorded trials, turned, mirrored and shifted."""
        import torch

        from compressed_grasp.learning.proposals import grasp_values
        from edge_compression.checkpoint import load_checkpoint

        recorded = data.trials
        if recorded is None:
            message = "tuning learns from trials: give data.trials, which `compress train` makes"
            raise SettingError(message)
        trials = recorded.store.read(range(recorded.shards))
        teacher = cast("GraspNet", load_checkpoint(recorded.teacher, self)).eval()
        tried = samples(trials, recorded.discount * grasp_values(teacher, trials.after))
        for step in count(start_step):
            drawn = draw_batch(tried, batch_size, np.random.default_rng((seed, step)))
            yield {name: torch.from_numpy(array) for name, array in vars(drawn).items()}

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """See `learning.loss`."""
        from compressed_grasp.learning.loss import executed_loss

        return executed_loss(cast("GraspNet", network), **batch)

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
