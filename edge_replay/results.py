"""What a replay found out, as it stands in report.json."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from edge_replay.protocol import Score  # noqa: TC001 (pydantic reads the annotation)
from edge_runtime.errors import SettingError, first_problem
from edge_runtime.records import Record

if TYPE_CHECKING:
    from pathlib import Path

REPORT = "report.json"
PAGE = "report.html"


class RecordingFacts(Record):
    """The recording played.

    Attributes:
        sha256: of the bag file; of names and hashes of its files where it is a directory.
        topics: input of the node -> topic of the bag and what it holds.
        seconds: from the first image to the last at the recorded pace, long pauses shortened.
    """

    path: str
    sha256: str
    topics: dict[str, str]
    images: int
    seconds: float


class RateTrial(Record):
    """One step of the search for the highest rate.

    Attributes:
        rate_hz: as the frames really went out.
        dropped: share of the frames that were not answered, 0..1.
    """

    rate_hz: float
    dropped: float


class Playback(Record):
    """Counts of the measured pass.

    Attributes:
        requested: "bag", "max" or a rate in Hz.
        published_hz: as the frames really went out; `answered_hz`: answers in the same time. None
            for a single frame.
        published: frames published; `answered`: those of them with an answer.
        received: frames that reached the node's callback, by its diagnostics.
        lost: published less received: lost in transport, or replaced in the reader's queue of one.
        dropped: received, then replaced by a newer frame before the worker was free.
        rejected: received, then refused as bad input; `failed`: the network or what follows failed.
        late: frames published more than half a period after their time; many of them mean that
            this machine was too busy to keep the rate.
    """

    requested: str
    seconds: float
    published_hz: float | None
    answered_hz: float | None
    published: int
    answered: int
    received: int | None
    lost: int | None
    dropped: int | None
    rejected: int | None
    failed: int | None
    late: int

    @property
    def lost_share(self) -> float:
        """Frames without an answer, whatever became of them: 0..1 of those published."""
        return 1 - self.answered / self.published if self.published else 0.0


class Usage(Record):
    """What the node process took while it was measured.

    Attributes:
        cpu_percent: 100 is one core, busy all the time.
        rss_first_mib: resident memory when the measurement began; `rss_last_mib`: when it ended.
    """

    cpu_percent: float
    rss_first_mib: float
    rss_last_mib: float
    rss_max_mib: float


class RunReport(Record):
    """report.json of `replay run`.

    Attributes:
        settings: the options of the command.
        node: what the node says of itself in its diagnostics: provider, precision, bundle hash.
        latency_ms: "end to end" (publishing a frame to receiving its answer, here), "outside node"
            (end to end less the node's own total), "overhead" (that total less the skill's own
            work), then the node's stages; each p50 p95 p99 max.
        search: short trials, then passes of full length, the last of them the one reported; empty
            without a search.
        notes: what a reader should know before trusting the figures.
    """

    schema_version: Literal[2] = 2
    kind: Literal["replay run"] = "replay run"
    skill: str
    created: str
    settings: dict[str, str]
    recording: RecordingFacts
    node: dict[str, str]
    playback: Playback
    latency_ms: dict[str, dict[str, float]]
    usage: Usage
    search: tuple[RateTrial, ...]
    score: Score | None
    notes: tuple[str, ...]
    host: dict[str, str]
    tools: dict[str, str]

    @property
    def remarks(self) -> tuple[str, ...]:
        """Notes on the run and on its score."""
        return (*self.notes, *(self.score.notes if self.score else ()))


def load_report(path: Path) -> RunReport:
    """Read report.json; `path` is the file, or the directory that holds it.

    Raises:
        SettingError: there is none, or another command or version made it.
    """
    file = path / REPORT if path.is_dir() else path
    if not file.is_file():
        message = f"{file} does not exist: give the output directory of a `replay run`"
        raise SettingError(message)
    try:
        return RunReport.model_validate_json(file.read_bytes())
    except ValidationError as error:
        message = (
            f"{file} is not a report of this version of `replay run` ({first_problem(error)}): "
            "run it again"
        )
        raise SettingError(message) from error
