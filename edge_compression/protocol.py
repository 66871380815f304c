"""What a skill supplies so that its network can be trained and compressed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, runtime_checkable

from pydantic import AfterValidator, ValidationInfo

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from numpy.typing import NDArray
    from pydantic import BaseModel
    from torch import Tensor, nn

    from edge_runtime.bundle import TensorSpec

Split = Literal["validation", "held_out"]
"""Of the data: choices are made on the validation split, reports quote the held-out one."""

Batch = dict[str, "Tensor"]
Arrays = dict[str, "NDArray[Any]"]
Run = Callable[[Arrays], Arrays]


def _from_recipe_folder(path: Path, info: ValidationInfo) -> Path:
    folder: Path = (info.context or {}).get("folder", Path())
    try:
        return (folder / path.expanduser()).resolve()
    except RuntimeError as error:
        message = "no such user has a home here; give a path without ~"
        raise ValueError(message) from error  # which pydantic reports with key and value


RecipePath = Annotated[Path, AfterValidator(_from_recipe_folder)]
"""A path of a recipe, relative to the recipe's file unless absolute; for a skill's `data_model`."""


@dataclass(frozen=True)
class LayerCalls:
    """The layers of an exported network, each called as it is: what pruning follows channels by.

    Attributes:
        network: has the very layers, whatever else it computes with them.
        examples: inputs in `forward`'s order.
    """

    network: nn.Module
    examples: Sequence[Mapping[str, Tensor]]


@dataclass(frozen=True)
class ExportModel:
    """One network of a skill as it is exported: a file for each flavour, an entry of the manifest.

    Attributes:
        network: what is traced; its parameters are those of the trained network, of which it may be
            a part or a view.
        inputs: in the order of its `forward`; a dimension that is a string is dynamic in the
            exported graph, and the same string means the same size.
        outputs: in the order in which `forward` returns them.
        examples: inputs by name, in `forward`'s order. The first is a typical one: graphs are
            traced, MACs counted and latencies measured on it. The last is the largest. Where there
            are several, the exported graph is compared with torch on each of them; where there is
            one, on one of twice the size, too.
        calls: for one frame or one decision, on average.
        layers: where `network` computes with parts of layers, or with several as one.
    """

    network: nn.Module
    inputs: Sequence[TensorSpec]
    outputs: Sequence[TensorSpec]
    examples: Sequence[Mapping[str, Tensor]]
    calls: float = 1.0
    layers: LayerCalls | None = None


@dataclass(frozen=True)
class BundleSettings:
    """What a skill notes in a bundle's manifest beside its models.

    Attributes:
        names: keypoints or classes, in the order of the output's channels.
        settings: whatever else the skill's run time needs, as JSON values.
    """

    names: Sequence[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


Curve = Sequence[tuple[int, float]]
"""(step, value) in ascending order of steps."""

Table = Sequence[Mapping[str, object]]
"""Rows of a report's table: column -> JSON value."""

Picture = tuple[str, "NDArray[Any]"]
"""A caption and an image, (H, W, 3) uint8 BGR."""


@dataclass(frozen=True)
class Metric:
    """What a figure means.

    Attributes:
        description: what it counts, in one line.
        unit: of the value, such as "m"; empty for shares and counts.
        better: which of two values is the better one.
    """

    description: str
    unit: str = ""
    better: Literal["higher", "lower"] = "higher"


@dataclass(frozen=True)
class TrainingTask:
    """What a skill's own trainer gets.

    Attributes:
        network: what the recipe's `network` describes, with the weights of its `checkpoint` if it
            names one; the trainer may change it in place.
        settings: the recipe's `train` section, an instance of the skill's `train_model`.
        data: its `data` section, an instance of `data_model`.
        folder: for whatever the trainer goes on from after it was cut off; it exists, and is empty
            unless a training with the same network, settings and data left something there.
        save_every: seconds of training that may be lost at most.
    """

    network: nn.Module
    settings: Any
    data: Any
    folder: Path
    save_every: float


@dataclass(frozen=True)
class TrainedNetwork:
    """What a skill's own trainer gives.

    Attributes:
        network: that the checkpoint is made of.
        curves: by what they show, such as "loss" or "grasp success".
        seconds: of training, over all its sittings.
        tables: for the report, by caption.
        pictures: for the report.
    """

    network: nn.Module
    curves: Mapping[str, Curve] = field(default_factory=dict)
    seconds: float = 0.0
    tables: Mapping[str, Table] = field(default_factory=dict)
    pictures: Sequence[Picture] = ()


@runtime_checkable
class OwnTrainer(Protocol):
    """A skill that does not learn from batches and a loss alone, such as by trial and error."""

    @property
    def train_model(self) -> type[BaseModel]:
        """Validates the recipe's `train` section; its paths are `RecipePath`."""

    def train(self, task: TrainingTask) -> TrainedNetwork:
        """Train, going on from `task.folder`.

        `joblib.Parallel` inside uses the cluster of `--dask`, where one is given.
        """


Trial = Callable[[], Mapping[str, Any]]
"""One run of a test routine; it can be pickled, and gives JSON values."""


@dataclass(frozen=True)
class EvaluationResult:
    """What a test routine found.

    Attributes:
        verdict: one sentence without a full stop.
        metrics: figures; NaN where one has no value.
        tables: by caption.
        pictures: for the page; they are not in the JSON file.
    """

    verdict: str
    metrics: Mapping[str, float]
    tables: Mapping[str, Table] = field(default_factory=dict)
    pictures: Sequence[Picture] = ()


class Evaluation(Protocol):
    """A skill's own test routine, for `compress evaluate SKILL`.

    Its trials are independent: they run in all processes of the machine or of a Dask cluster, and
    what each one gave is kept, so that an evaluation that was cut off goes on.
    """

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """What the figures mean; not every one needs an entry."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the routine's own options; `--bundle`, `--output` and the like are there already."""

    def trials(self, args: Namespace) -> Mapping[str, Trial]:
        """Return what is to be run, by names that can be file names.

        `args.bundle` is the bundle's folder, or None where none is given. Results are kept by name
        for as long as the arguments and the bundle stay the same.
        """

    def summarise(
        self, args: Namespace, results: Mapping[str, Mapping[str, Any]]
    ) -> EvaluationResult:
        """Make one result of all trials' results, in the order of `trials`."""


@runtime_checkable
class EvaluableSkill(Protocol):
    """A skill with a test routine of its own."""

    @property
    def name(self) -> str:
        """The skill's entry-point name."""

    @property
    def evaluation(self) -> Evaluation:
        """The routine."""


@runtime_checkable
class CompressibleSkill(Protocol):
    """A skill's networks, seen by compression.

    They are trained, pruned and kept in checkpoints as one torch network, and exported as one model
    or several. `data` is always an instance of `data_model`, made from the recipe's `data` section.
    """

    @property
    def name(self) -> str:
        """The skill's entry-point name, which is also the recipe's `skill`."""

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """What `evaluate` measures, by name. Not every evaluation needs to have all of them."""

    @property
    def primary_metric(self) -> str:
        """The metric that choices are made by and reports quote; `evaluate` always has it."""

    @property
    def data_model(self) -> type[BaseModel]:
        """Validates the recipe's `data` section; its paths are `RecipePath`."""

    def uncompressed(self, data: Any) -> Any:  # noqa: ANN401 - of the skill's own type
        """Return the data section for the network before compression.

        What the recipe lessens beside the network itself, such as the resolution of what it sees,
        is undone: the network as it came is measured with this.
        """

    def build_network(self, config: Mapping[str, Any]) -> nn.Module:
        """Make the network that `network_config` described; `{}` is the unpruned default."""

    def network_config(self, network: nn.Module) -> dict[str, Any]:
        """Describe the network, pruned or not, as JSON values for `build_network`."""

    def models(self, network: nn.Module, data: Any) -> dict[str, ExportModel]:  # noqa: ANN401
        """Return what of the network is exported, by the models' names in the bundle.

        A skill of one model calls it by its own name. Their sizes are those that a robot with
        `data` uses.
        """

    def bundle_settings(self, data: Any) -> BundleSettings:  # noqa: ANN401 - the skill's own
        """Return what else the manifest is to say."""

    def unprunable(self, network: nn.Module) -> list[nn.Module]:
        """Modules whose filters stay, such as the output layer, or what another model reads."""

    def calibration(
        self,
        runs: Mapping[str, Run],
        data: Any,  # noqa: ANN401 - of the skill's own type
        count: int,
        seed: int,
    ) -> Iterator[Mapping[str, Arrays]]:
        """Yield real inputs by model, of `count` frames or decisions at least.

        They set the ranges of eight-bit engines. `runs` are the models in float: what one of them
        reads may come from another, as in a rollout. An item may have some models only; each model
        is in one item at least. The same arguments give the same inputs.
        """

    def data_digest(self, data: Any) -> str:  # noqa: ANN401 - of the skill's own type
        """Hash the content that training and evaluation use: files, not only their paths.

        A training goes on only from a state that was trained on the same content, and nothing that
        was evaluated on the same content is evaluated again.
        """

    def evaluate(
        self,
        runs: Mapping[str, Run],
        data: Any,  # noqa: ANN401 - of the skill's own type
        split: Split,
    ) -> dict[str, float]:
        """Measure on labelled data; a run takes and gives arrays by name, as its model says.

        A metric without a value, such as the precision of what finds nothing, is NaN.
        """


@runtime_checkable
class SupervisedSkill(CompressibleSkill, Protocol):
    """A skill whose network learns from batches by a loss.

    `compress train` asks for it unless the skill has its own trainer; tuning, training for eight
    bits and the saliency `taylor` always do.
    """

    def subset(self, data: Any, samples: int) -> Any:  # noqa: ANN401 - of the skill's own type
        """Return the data section with about so many samples to train on, if it has more.

        For what looks at a few batches only, so that no more data is made than is used.
        """

    def batches(
        self,
        data: Any,  # noqa: ANN401 - of the skill's own type
        batch_size: int,
        seed: int,
        start_step: int,
    ) -> Iterator[Batch]:
        """Yield training batches from `start_step` on, without end.

        Batch k depends on (seed, k) alone, never on the batches before it, so that a training
        that was cut off goes on as if it had not been. It runs in a thread beside the training:
        work in NumPy, OpenCV or torch, which let go of the interpreter. Where a batch has the key
        `sample`, (n,) int64, whatever comes under one number is always the same.
        """

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return the scalar to minimise. Under autocast the network's output may be bfloat16."""


@runtime_checkable
class WidenableSkill(Protocol):
    """A skill whose networks can be given more channels without computing anything else."""

    def widened(self, network: nn.Module, config: Mapping[str, Any]) -> nn.Module:
        """Return what `build_network` makes of `config`, computing what `network` does.

        Raises:
            SettingError: a layer would get fewer channels than it has.
        """


@runtime_checkable
class DistillableSkill(SupervisedSkill, Protocol):
    """A skill whose network also learns from a larger one, where a recipe has `distil`."""

    def teacher_outputs(self, teacher: nn.Module, batch: Batch) -> Tensor:
        """Return what a teacher says to each sample of the batch, (n, ...). Gradients are off."""

    def blend_targets(self, batch: Batch, outputs: Tensor, share: float) -> Batch:
        """Return the batch with `share` of a teacher's outputs mixed into the targets.

        A small network that learns from a large one's outputs also learns what the large one is
        unsure of (Hinton et al. 2015).
        """
