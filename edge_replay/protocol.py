"""What a skill tells replay about itself, and nothing else of it is needed here.

Importing this module brings neither rclpy nor torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_replay.bags import Recording
    from edge_runtime.interface import NodeInterface, Service

Better = Literal["higher", "lower"]


class Curve(BaseModel):
    """A line of the accuracy chart: x and y have the same length."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    x_label: str
    y_label: str
    x: tuple[float, ...]
    y: tuple[float, ...]


class Score(BaseModel):
    """How well the node did, in figures.

    Attributes:
        metrics: name -> value, in the order in which the report shows them. NaN is not allowed:
            leave out what could not be measured.
        primary_metric: the metric that reports quote, if it could be measured.
        labelled: frames that have a label or a true pose, 0 where the figures need none;
            `answered`: those of them that the node answered. Frames without an answer are reported
            beside the accuracy, not inside it.
        curves: drawn in one chart each for every pair of axis labels.
        better: metric -> which of two values is the better one; those without an entry are shown
            side by side without a verdict.
        notes: what a reader should know before trusting the metrics.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    metrics: dict[str, float]
    primary_metric: str
    labelled: int
    answered: int
    curves: tuple[Curve, ...] = ()
    better: dict[str, Better] = {}
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FolderLabels:
    """What a folder of images knows beyond its pixels.

    Attributes:
        labels: JSON-able; `replay convert` writes it as `labels.json` into the bag, and `score`
            reads it there. None where the folder has no labels.
        camera_matrix: row-major 3x3, pixels; None where the folder does not give one.
    """

    labels: dict[str, Any] | None
    camera_matrix: tuple[float, ...] | None


Answers = Mapping[str, Any]
"""Output topic -> the rclpy message that answered one frame."""


@dataclass(frozen=True)
class NodeMessage:
    """One message of the node.

    Attributes:
        topic: an output's absolute name.
        turn: how often the recording had been played from its beginning before, 0 for the first
            time; None where the stamp is that of no frame.
        stamp: ns, of the frame in the recording; where it is of none, as the node gave it.
        decode: makes the rclpy message of it.
    """

    topic: str
    turn: int | None
    stamp: int
    decode: Callable[[], Any]


@dataclass(frozen=True)
class SavedRun:
    """What the node saved after the last image.

    Attributes:
        folder: that it wrote.
        stamps: ns, of the images as they were played -> in the recording.
    """

    folder: Path
    stamps: Mapping[int, int]


@dataclass(frozen=True)
class PlayedRun:
    """A whole run, to be scored.

    Attributes:
        answers: (stamp [ns], answers) per answered frame, in playing order. Of a frame that was
            played several times, the first answer, with the recording's stamp.
        messages: every message of the outputs, in the order in which they came.
        recording: its `path`, `truth` (poses, or None), `transforms` and `camera_infos`.
        labels: file in the skill's own format, None where there is none.
        bundle: the engine bundle that answered; None where the node chose it by itself.
        parameters: of the node, as they were given or chosen; the others had their defaults.
        saved: of a skill whose node saves; None where it did not.
    """

    answers: Sequence[tuple[int, Answers]]
    messages: Sequence[NodeMessage]
    recording: Recording
    labels: Path | None
    bundle: Path | None
    parameters: Mapping[str, str] = field(default_factory=dict)
    saved: SavedRun | None = None


@runtime_checkable
class ReplayableSkill(Protocol):
    """A skill whose node `replay` can drive and judge.

    Attributes:
        name: "pose".
        node: what its node listens to and says. The first message of any output that is not
            `watched` with a frame's stamp answers this frame.
        work_stages: of the stages that the node times, those of the skill's own work, such as
            "preprocess" and "engine". What else a frame takes in the node is its overhead.
    """

    name: str
    node: NodeInterface
    work_stages: Sequence[str]

    def score(self, run: PlayedRun) -> Score | None:
        """Compare a run with labels or true poses; None where there is nothing to compare it with.

        Raises:
            SettingError: the labels cannot be read, or do not fit the answers.
        """

    def draw(self, bgr: NDArray[Any], answers: Answers) -> NDArray[Any]:
        """Draw one frame's answers on a copy of its image, (H, W, 3) uint8 BGR."""

    def convert_labels(self, folder: Path, stamps: Mapping[str, int]) -> FolderLabels:
        """Read what stands beside the images of a folder.

        Args:
            folder: as given to `replay convert`.
            stamps: image path relative to `folder`, with forward slashes -> stamp [ns].

        Raises:
            SettingError: there is a label file, but it cannot be read.
        """


@runtime_checkable
class DescribesMetrics(Protocol):
    """What a skill may have beside its protocols: its metrics in words.

    Attributes:
        metric_descriptions: metric -> one line that says what is counted and in which unit;
            reports of `replay` and `compress` show those of the metrics that they hold.
    """

    metric_descriptions: ClassVar[dict[str, str]]


@runtime_checkable
class ShowsRuns(Protocol):
    """What a skill may have beside: pictures of a whole run for the report, such as a map."""

    def pictures(self, run: PlayedRun) -> Sequence[tuple[str, NDArray[Any]]]:
        """Draw (caption, (H, W, 3) uint8 BGR) for each."""


@runtime_checkable
class RecordsRuns(Protocol):
    """What a skill may have beside: a whole run as a recording for the viewer Rerun."""

    def record(self, run: PlayedRun, path: Path) -> None:
        """Write the recording, .rrd.

        Raises:
            SettingError: there is nothing to show, or it cannot be written.
        """


@runtime_checkable
class SuitsRecordings(Protocol):
    """What a skill may have beside: parameters of its node that go with a recording."""

    def node_parameters(self, recording: Recording, layout: str | None) -> Mapping[str, str]:
        """Choose parameters; those that the user gives stand before them.

        Args:
            recording: its `topics`, which feed the node's inputs, its `truth` and `transforms`.
            layout: data set that it was made of, a key of `edge_replay.datasets.layouts.LAYOUTS`.
        """


class Saving(NamedTuple):
    """How a node saves what it made of a run.

    Attributes:
        service: of the node, that saves.
        parameter: of the node, that names the folder to write.
        folder: its name in the output of a replay, where the user gives no other by the parameter.
    """

    service: Service
    parameter: str
    folder: str


@runtime_checkable
class SavesRuns(Protocol):
    """What a skill may have beside: a node that saves, which `replay` calls for at the end."""

    saving: ClassVar[Saving]
