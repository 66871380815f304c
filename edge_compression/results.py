"""What a compression found, as typed values that go to `report.json` and back."""

from __future__ import annotations

import math
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from edge_compression.limits import Limit  # noqa: TC001 - pydantic reads it
from edge_compression.protocol import Metric  # noqa: TC001 - pydantic reads it
from edge_runtime.bundle import EngineFile, Source
from edge_runtime.errors import SettingError, first_problem
from edge_runtime.findings import Precision  # noqa: TC001 - pydantic reads it
from edge_runtime.records import Record

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

JSON_FILE = "report.json"
UNPRUNED = "unpruned.onnx"
"""The graph of the network as it came, beside the bundle of what was made of it."""


Evaluations = list[tuple[int, float]]
"""(step, primary metric on the validation split)."""


class Graph(EngineFile):
    """The file of one model of a variant; figures are of one run.

    Attributes:
        file: in the output folder or in the bundle.
    """

    file: str


class Variant(Record):
    """One row of the report: a graph for each model.

    Quantised parameters count as one each. All variants are timed in turns, but for TensorRT's,
    whose `latency_ms` is empty: its time on the processor says nothing about it.

    Attributes:
        name: what was done to the network, such as "pruned int8".
        precision: of its graphs; in eight bits some of them may have stayed in float.
        parameters: of all models, those that they share once.
        macs: of one frame or decision, on the models' first examples.
        bytes: of all files.
        accuracy: by metric, on held-out data; empty where the recipe does not have it evaluated.
        latency_ms: of one frame or decision, by percentile: of each model so many times as it is
            called.
        graphs: by model.
    """

    name: str
    precision: Precision
    parameters: int
    macs: int
    bytes: int
    accuracy: dict[str, float]
    latency_ms: dict[str, float]
    graphs: dict[str, Graph]

    @property
    def median(self) -> float:
        """Milliseconds of one frame or decision; NaN where time was not taken."""
        return self.latency_ms.get("p50", math.nan)

    def metric(self, name: str) -> float:
        """Return a figure of the accuracy; NaN where it was not evaluated."""
        return self.accuracy.get(name, math.nan)

    @property
    def files(self) -> list[str]:
        """Of all models."""
        return [graph.file for graph in self.graphs.values()]

    @property
    def is_original(self) -> bool:
        """Whether it is the network as it came, beside what was made of it."""
        return all(PurePosixPath(file).name == UNPRUNED for file in self.files)


class PrunedLayer(Record):
    """What pruning left of one layer.

    Attributes:
        layer: the module's name in the network.
        before: filters (or features) of the layer.
        after: those that are left.
        tied_to: the layer whose filters' fate it shares, such as the other end of an additive
            skip; empty for the first of such a group.
    """

    layer: str
    before: int
    after: int
    tied_to: str


class PruningTrial(Record):
    """One layer group pruned alone, without tuning, and evaluated on the validation split.

    Attributes:
        saliency: that ranked the filters.
        rate: share of the group's filters that went.
        accuracy: the primary metric.
        lost: what the network lost by it, as shares of its "macs" and "parameters".
    """

    saliency: str
    rate: float
    accuracy: float
    lost: dict[str, float]


class GroupSensitivity(Record):
    """How much a group of layers matters, whose filters can go only together.

    Attributes:
        group: name of the group's first layer.
        layers: all of them.
        filters: of each.
        sensitivity: its share of the errors of all groups' trials, by saliency; they sum to 1.
        trials: by saliency, then by rate.
    """

    group: str
    layers: list[str]
    filters: int
    sensitivity: dict[str, float]
    trials: list[PruningTrial]


class Sensitivity(Record):
    """All groups of a network.

    Attributes:
        accuracy: the primary metric of the network as it is, on the validation split.
    """

    accuracy: float
    groups: list[GroupSensitivity]


class Stage(Record):
    """One turn of pruning and tuning; the first one may be of tuning alone.

    Attributes:
        sensitivity: measured before the pruning; None where the recipe does not ask for it.
        rates: share of the filters that each group lost in this stage.
        lost: of the unpruned network's "macs" and "parameters", up to and with this stage.
        pruned_accuracy: the primary metric on the validation split after pruning.
        accuracy: the same after tuning.
        curve: (step, mean loss) of the tuning.
        evaluations: (step, primary metric on the validation split) during the tuning.
        seconds: that the tuning took, over all its sittings.
    """

    sensitivity: Sensitivity | None
    rates: dict[str, float]
    lost: dict[str, float]
    pruned_accuracy: float
    accuracy: float
    curve: list[tuple[int, float]]
    evaluations: Evaluations
    seconds: float


class TensorError(Record):
    """What quantising does to one tensor of the graph, over the calibration images.

    Attributes:
        tensor: its name in the exported graph.
        low: smallest value of the range that is represented.
        high: the largest.
        sqnr_db: power of the float values over that of the difference, in dB; higher is better.
        kept_float: it is not quantised, by the recipe's wish or to meet its limit.
    """

    tensor: str
    low: float
    high: float
    sqnr_db: float
    kept_float: bool


class Failure(Record):
    """A variant that was tried and did not get into the bundle, and why."""

    variant: str
    reason: str


class CompressionReport(Record):
    """Everything that the page shows.

    Attributes:
        variants: the first is the network as it came, the last is the smallest; failures, too.
        stages: of pruning and tuning.
        layers: every convolution and linear layer, in the network's order.
        aware_curve: (step, mean loss) of the training with simulated quantisation.
        tensors: of each quantised graph, by its file's name.
        export_difference: of each exported graph from torch, as a share of the output.
        source: as in the bundle's manifest.
        bundle_digest: sha256 of the bundle's manifest, as diagnostics show it; empty where no
            bundle was written.
        limits: of the recipe, by metric; 1x is the first variant's.
        forced: variants that are over a limit and are in the bundle nevertheless.
        macs_lost_to_input: share of the first variant's MACs that the recipe's smaller input takes.
        macs_lost_to_pruning: share of the rest that pruning takes.
        metrics: what the skill says of its metrics.
    """

    schema_version: Literal[3] = 3
    skill: str
    name: str
    created: str
    primary_metric: str
    metrics: dict[str, Metric]
    variants: list[Variant]
    failures: list[Failure]
    stages: list[Stage]
    layers: list[PrunedLayer]
    aware_curve: list[tuple[int, float]]
    tensors: dict[str, list[TensorError]]
    export_difference: dict[str, float]
    source: Source
    bundle_digest: str
    tools: dict[str, str]
    host: dict[str, str]
    limits: dict[str, Limit]
    forced: list[str]
    macs_lost_to_input: float
    macs_lost_to_pruning: float


class SensitivityReport(Record):
    """What `compress sensitivity` found; fields as in `CompressionReport`."""

    schema_version: Literal[2] = 2
    skill: str
    name: str
    created: str
    primary_metric: str
    metrics: dict[str, Metric]
    sensitivity: Sensitivity
    allocations: dict[str, dict[str, float]]
    source: Source
    tools: dict[str, str]
    host: dict[str, str]


class TrainingReport(Record):
    """What a training made, for a model card; fields as in `CompressionReport` and `Stage`.

    Attributes:
        curves: what else a skill's own trainer noted, by name: (step, value).
        tables: of the same trainer, by caption.
    """

    schema_version: Literal[2] = 2
    skill: str
    name: str
    created: str
    primary_metric: str
    metrics: dict[str, Metric]
    variant: Variant
    curve: list[tuple[int, float]]
    seconds: float
    checkpoint_sha256: str
    recipe: dict[str, Any]
    recipe_sha256: str
    tools: dict[str, str]
    host: dict[str, str]
    evaluations: Evaluations
    curves: dict[str, list[tuple[int, float]]]
    tables: dict[str, list[dict[str, Any]]]


class EvaluationReport(Record):
    """What `compress evaluate` found.

    Attributes:
        verdict: one sentence.
        explained: what the metrics mean, by name; not every one is there.
        arguments: of the skill's test routine.
        bundle_digest: empty where no bundle was given.
        trials: number of them.
    """

    schema_version: Literal[1] = 1
    skill: str
    created: str
    verdict: str
    metrics: dict[str, float]
    explained: dict[str, Metric]
    tables: dict[str, list[dict[str, Any]]]
    arguments: dict[str, Any]
    bundle_digest: str
    trials: int
    tools: dict[str, str]
    host: dict[str, str]


def read_report(folder: Path) -> CompressionReport:
    """Read `report.json` back.

    Raises:
        SettingError: there is none, or it is not one of `compress run`.
    """
    path = folder / JSON_FILE
    try:
        return CompressionReport.model_validate_json(path.read_bytes())
    except OSError as error:
        message = (
            f"no report in '{folder}' ({error.strerror}): give the --output of a `compress run` "
            "that has ended"
        )
        raise SettingError(message) from error
    except ValidationError as error:
        message = (
            f"'{path}' is no report of this version of `compress run` ({first_problem(error)}): "
            "run it again"
        )
        raise SettingError(message) from error


def rows(variants: Sequence[Variant], primary_metric: str) -> list[dict[str, object]]:
    """Return the table that a reader decides from; shares are of the first variant."""
    first = variants[0]
    return [
        {
            "variant": variant.name,
            primary_metric: round(variant.metric(primary_metric), 4),
            "parameters": variant.parameters,
            "parameters lost": _lost(first.parameters, variant.parameters),
            "MMAC": round(variant.macs / 1e6, 2),
            "MACs lost": _lost(first.macs, variant.macs),
            "KiB": round(variant.bytes / 1024, 1),
            "bytes lost": _lost(first.bytes, variant.bytes),
            **_times(first, variant),
        }
        for variant in variants
    ]


def _times(first: Variant, variant: Variant) -> dict[str, object]:
    times = variant.latency_ms
    if not times:
        return {}
    return {
        "p50 ms": round(times["p50"], 2),
        "p95 ms": round(times["p95"], 2),
        "speed": f"x {first.median / variant.median:.2f}",
    }


def _lost(before: int, after: int) -> str:
    return f"{100 * (1 - after / before):.2f} %"
