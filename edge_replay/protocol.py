"""What a skill tells replay about itself, and nothing else of it is needed here.

Importing this module brings neither rclpy nor torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

Better = Literal["higher", "lower"]
InputKind = Literal["colour", "depth", "camera_info"]


@dataclass(frozen=True)
class Input:
    """One topic that the node listens to.

    Attributes:
        topic: the node's own name for it, relative: "image", "camera_info", "right/image".
        kind: what a recording must hold to feed it. Colour and depth are told apart by encoding.
        required: whether the node answers nothing without it.
    """

    topic: str
    kind: InputKind
    required: bool = True


class Curve(BaseModel):
    """A line of the accuracy chart: x and y have the same length."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    x_label: str
    y_label: str
    x: tuple[float, ...]
    y: tuple[float, ...]


class Score(BaseModel):
    """How well the node's answers agree with the labels.

    Attributes:
        metrics: name -> value, in the order in which the report shows them. NaN is not allowed:
            leave out what could not be measured.
        headline: the metric that reports quote, if it could be measured.
        labelled: frames that have a label; `answered`: those of them that the node answered.
            Frames without an answer are reported beside the accuracy, not inside it.
        curves: drawn in one chart each for every pair of axis labels.
        better: metric -> which of two values is the better one; those without an entry are shown
            side by side without a verdict.
        notes: what a reader should know before trusting the metrics.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    metrics: dict[str, float]
    headline: str
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


@runtime_checkable
class ReplayableSkill(Protocol):
    """A skill whose node `replay` can drive and judge.

    Attributes:
        name: "pose".
        executable: the installed node program, "pose_node".
        node_name: "arm_pose".
        inputs: the first one is the image that makes a frame; the others accompany it.
        outputs: absolute topic -> type, "/arm_pose/keypoints" -> "sensor_msgs/msg/PointCloud2".
            Every type begins with a std_msgs/Header, whose stamp is that of the frame answered.
            The first message of any of them with a frame's stamp answers this frame.
        work_stages: of the stages that the node times, those of the skill's own work, such as
            "preprocess" and "engine". What else a frame takes in the node is its overhead.
    """

    name: str
    executable: str
    node_name: str
    inputs: Sequence[Input]
    outputs: Mapping[str, str]
    work_stages: Sequence[str]

    def score(
        self, results: Sequence[tuple[int, Answers]], labels: Path, bundle: Path | None
    ) -> Score:
        """Compare answers with labels.

        Args:
            results: (stamp [ns], answers) per answered frame, in playing order. Of a frame that
                was played several times, the first answer, with the recording's stamp.
            labels: file in the skill's own format.
            bundle: the engine bundle that answered; None where the node chose it by itself.

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
