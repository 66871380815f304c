"""`replay run`: play a recording into the real node and say how it did."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from edge_replay.bags import Recording
from edge_replay.domain import private_domain
from edge_replay.link import Link
from edge_replay.metrics import (
    INCOMPLETE,
    answers_by_frame,
    count,
    incomplete,
    latency_percentiles,
    node_messages,
)
from edge_replay.node_process import NodeProcess, UsageMeter, find_executable
from edge_replay.playback import ALLOWED_DROPS, Player, hold
from edge_replay.protocol import (
    PlayedRun,
    RecordsRuns,
    SavedRun,
    SavesRuns,
    Score,
    ShowsRuns,
    SuitsRecordings,
)
from edge_replay.report import example_pictures, write_page
from edge_replay.results import PAGE, REPORT, RecordingFacts, RunReport
from edge_replay.saving import save, saving_folder
from edge_runtime.common_settings import DEPTH_TRANSPORT, MODE, ON_REQUEST, SLOP
from edge_runtime.errors import SettingError, one_line
from edge_runtime.files import write_whole
from edge_runtime.folders import expand_user
from edge_runtime.host import provenance
from edge_runtime.interface import DECIDE
from edge_runtime.output_folder import output_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_replay.playback import Pass
    from edge_replay.protocol import NodeMessage, ReplayableSkill
    from edge_replay.results import Playback, RateTrial, Usage

LABELS = "labels.json"
NODE_LOG = "node.log"

_READY_SECONDS = 60.0
_PEAK_SECONDS = 5.0
_PASSES = 10
_STEP_DOWN = 0.93
_LATE_SHARE = 0.05
_COUNTED = frozenset(
    {"state", "topic", "rate", "age", "received", "dropped", "lost", "rejected", "incomplete"}
    | {"processed", "failed", "resident memory"}
)
_COUNTED_BY_KIND = ("rejected: ", "lost: ", INCOMPLETE)
_TIMED = (" p50", " p95", " p99", " max")
_TOOLS = ("compressed_grasp", "rclpy", "rosbags", "onnxruntime", "opencv-python-headless", "numpy")


@dataclass(frozen=True)
class RunOptions:
    """The options of the command.

    Attributes:
        folder: what the bag was made of for this run alone; reports name it instead.
        rate: Hz, or "bag" for the recording's own pace, or "max" to search the highest.
        seconds: play the recording over and over for so long; None plays it once ("max": 5 s).
        topics: input topic -> topic of the bag, where the type alone does not tell.
        parameters: of the node, name -> value as written for `-p name:=value`.
        labels: None takes labels.json of the bag directory, if there is one.
        notes: what making the bag of a folder left to be said.
        layout: data set that the folder is of, if of one.
        rerun: file to write for the viewer Rerun, too; None writes none.
    """

    bag: Path
    output: Path
    folder: Path | None = None
    rate: float | Literal["bag", "max"] = "bag"
    seconds: float | None = None
    bundle: Path | None = None
    labels: Path | None = None
    topics: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    layout: str | None = None
    rerun: Path | None = None

    @property
    def served(self) -> Path | None:
        """The bundle that the node is told to serve."""
        given = self.parameters.get("bundle")
        # As the node reads its parameter; no shell has expanded what stands behind `:=`.
        return expand_user(given) if given else self.bundle

    def mode(self, skill: ReplayableSkill) -> str | None:
        """Whether the node answers on request or every frame; None where it has no choice."""
        if DECIDE not in skill.node.services:
            return None
        return self.parameters.get(MODE.name, str(MODE.default))

    @property
    def slop(self) -> float:
        """Seconds by which the stamps of images that the node pairs may differ.

        Raises:
            SettingError: the node would refuse it.
        """
        value: object = self.parameters.get(SLOP.name, SLOP.default)
        # What is no number, `check` refuses.
        with suppress(ValueError):
            value = float(str(value))
        return float(SLOP.check(value))


@dataclass(frozen=True)
class _Measured:
    """What the node process, once it is gone, leaves behind."""

    played: Pass
    answers: list[tuple[int, dict[str, Any]]]
    messages: list[NodeMessage]
    playback: Playback
    latency: dict[str, dict[str, float]]
    usage: Usage
    search: list[RateTrial]
    identity: dict[str, str]
    incomplete: dict[str, int]
    saved: SavedRun | str | None
    exit_code: int


def run(skill: ReplayableSkill, options: RunOptions) -> RunReport:
    """Drive the installed node with a recording; write report.json, report.html and node.log.

    Raises:
        SettingError: an option or the recording does not fit.
        NodeError: the node did not start, configure or live.
        Exception: whatever the skill raises on labels that `options` names; the report is
            written before.
    """
    _check_rerun(skill, options.rerun)
    program = find_executable(skill.node.executable)
    labels = _labels(options)
    with output_folder(options.output):
        return _run(skill, options, program, labels)


def _run(
    skill: ReplayableSkill, options: RunOptions, program: Path, labels: Path | None
) -> RunReport:
    recording = Recording(options.bag, skill.node.inputs, options.topics, options.slop)
    if isinstance(skill, SuitsRecordings):
        chosen = skill.node_parameters(recording, options.layout)
        options = replace(options, parameters={**chosen, **options.parameters})
    with private_domain() as domain:
        measured = _measure(skill, options, program, recording, domain)
    report = _unscored(skill, options, recording, measured, labels)
    # Before the skill's own code runs: no fault of it may lose what was measured.
    _write(options, report)
    played = PlayedRun(
        measured.answers,
        measured.messages,
        recording,
        labels,
        options.served,
        options.parameters,
        measured.saved if isinstance(measured.saved, SavedRun) else None,
    )
    complaint = None
    try:
        if (score := skill.score(played)) is not None:
            report = report.model_copy(update={"score": Score.model_validate(score)})
    except Exception as error:  # noqa: BLE001
        complaint = error
        report = _with_note(report, f"not scored: {one_line(error)}")
    pictures: list[tuple[str, NDArray[Any]]] = []
    try:
        pictures += skill.pictures(played) if isinstance(skill, ShowsRuns) else ()
        pictures += example_pictures(skill, recording, dict(measured.answers))
    except Exception as error:  # noqa: BLE001
        report = _with_note(report, f"no pictures: {one_line(error)}")
    _write(options, report)
    write_page(options.output / PAGE, report, pictures)
    if complaint is not None and options.labels is not None:
        # Asked for by name: the report stands, but the command has not done what it was told.
        raise complaint
    if options.rerun is not None and isinstance(skill, RecordsRuns):
        skill.record(played, options.rerun)
    return report


def _check_rerun(skill: ReplayableSkill, file: Path | None) -> None:
    """Find out before the run whether its recording could be written."""
    if file is None:
        return
    if not isinstance(skill, RecordsRuns):
        message = f"--rerun: the skill {skill.name} has no recording for Rerun; leave it out"
        raise SettingError(message)
    if file.is_dir() or not file.absolute().parent.is_dir():
        message = f"--rerun {file}: give a file, .rrd, in a folder that exists"
        raise SettingError(message)
    import rerun  # noqa: F401


def _unscored(
    skill: ReplayableSkill,
    options: RunOptions,
    recording: Recording,
    measured: _Measured,
    labels: Path | None,
) -> RunReport:
    return RunReport(
        skill=skill.name,
        settings=_shown(options, labels),
        recording=RecordingFacts(
            path=str(options.folder or options.bag),
            sha256=recording.digest,
            topics={role: str(topic) for role, topic in recording.topics.items()},
            images=recording.images,
            seconds=recording.seconds,
        ),
        node=measured.identity,
        playback=measured.playback,
        latency_ms=measured.latency,
        usage=measured.usage,
        search=tuple(measured.search),
        score=None,
        notes=(
            *options.notes,
            *recording.notes,
            *_pace_notes(options, recording),
            *_remarks(measured),
        ),
        **provenance(*_TOOLS),
    )


def _write(options: RunOptions, report: RunReport) -> None:
    write_whole(options.output / REPORT, report.model_dump_json(indent=1) + "\n")


def _with_note(report: RunReport, note: str) -> RunReport:
    return report.model_copy(update={"notes": (*report.notes, note)})


def _measure(
    skill: ReplayableSkill, options: RunOptions, program: Path, recording: Recording, domain: int
) -> _Measured:
    search: list[RateTrial] = []
    with (
        Link(skill.node, recording, domain) as link,
        NodeProcess(
            program, _node_arguments(skill, options, recording), options.output / NODE_LOG
        ) as node,
    ):
        link.wait_ready(node, _READY_SECONDS)
        player = Player(link, node, on_request=options.mode(skill) == ON_REQUEST)
        player.announce(next(recording.frames()), recording.camera_infos)
        again = options.rate == "max" or options.seconds is not None
        held = hold(recording.frames()) if again else []
        if options.rate == "max":
            highest, search = player.highest_rate(held)
            rates: list[float | None] = [highest * _STEP_DOWN**step for step in range(_PASSES)]
        else:
            rates = [None if options.rate == "bag" else options.rate]
        for rate in rates:
            before = link.diagnostics()
            with UsageMeter(node.pid) as meter:
                if again:
                    played = player.repeatedly(held, rate, options.seconds or _PEAK_SECONDS)
                else:
                    played = player.once(recording.frames(), rate, recording.images)
                node.check()
                usage = meter.usage()
            if search and rate:
                # Short trials flatter: go down until a pass of full length holds as well.
                search.append(played.trial)
                if played.holds(rate):
                    break
        after = link.diagnostics()
        node.check()
        saved = None
        if isinstance(skill, SavesRuns):
            folder = saving_folder(skill.saving, options.parameters, options.output)
            saved = save(skill.saving.service, link, played, folder)
        code = node.end()
        playback = count(played, str(options.rate), before, after)
        return _Measured(
            played,
            answers_by_frame(played, link),
            node_messages(played, link),
            playback,
            latency_percentiles(played, link, skill.work_stages),
            usage,
            search,
            {"program": str(program), **_identity(after)},
            incomplete(before, after),
            saved,
            code,
        )


def _identity(diagnostics: Mapping[str, str]) -> dict[str, str]:
    """Keep what the node says it is; what it counted and timed is measured here, per pass."""
    return {
        key: value
        for key, value in diagnostics.items()
        if key not in _COUNTED and not key.startswith(_COUNTED_BY_KIND) and not key.endswith(_TIMED)
    }


def _node_arguments(skill: ReplayableSkill, options: RunOptions, recording: Recording) -> list[str]:
    values = {"image_transport": "compressed" if recording.compressed else "raw"}
    if depth := next((t for t in recording.topics.values() if t.kind == "depth"), None):
        values[DEPTH_TRANSPORT.name] = depth.transport
    if options.bundle is not None:
        values["bundle"] = str(options.bundle.absolute())
    if isinstance(skill, SavesRuns):
        folder = saving_folder(skill.saving, options.parameters, options.output)
        values[skill.saving.parameter] = str(folder)
    values.update(options.parameters)
    parameters = [word for k, v in values.items() for word in ("-p", f"{k}:={v}")]
    return ["--ros-args", *parameters]


def _labels(options: RunOptions) -> Path | None:
    if options.labels is not None:
        if not options.labels.is_file():
            message = f"--labels {options.labels} does not exist: give the labels' JSON file"
            raise SettingError(message)
        return options.labels
    inside = options.bag / LABELS
    return inside if inside.is_file() else None


def _shown(options: RunOptions, labels: Path | None) -> dict[str, str]:
    source = "bag" if options.folder is None else "folder"
    shown = {source: str(options.folder or options.bag), "rate": str(options.rate)}
    if options.seconds is not None:
        shown["seconds"] = f"{options.seconds:g}"
    if options.bundle is not None:
        shown["bundle"] = str(options.bundle)
    if labels is not None and (options.folder is None or labels == options.labels):
        shown["labels"] = str(labels)
    shown.update({f"topic {role}": name for role, name in options.topics.items()})
    shown.update({f"param {name}": value for name, value in options.parameters.items()})
    return shown


def _pace_notes(options: RunOptions, recording: Recording) -> Sequence[str]:
    return recording.pace_notes if options.rate == "bag" else ()


def _remarks(measured: _Measured) -> list[str]:
    notes: list[str] = []
    counts, played = measured.playback, measured.played
    if counts.received is None:
        notes.append(
            "the node sent no input diagnostics: frames lost in transport and frames dropped in "
            "the node cannot be told apart"
        )
    if counts.late > _LATE_SHARE * counts.published:
        notes.append(
            f"{counts.late} of {counts.published} frames went out late: this machine was too busy "
            "to keep the rate, so latencies and drops are partly its own"
        )
    if measured.search and played.dropped >= ALLOWED_DROPS:
        notes.append(
            f"no rate held: the last of {_PASSES} passes, at {played.rate:.1f} Hz, still lost "
            f"{played.dropped:.0%} of the frames; the node slows down, or this machine is busy"
        )
    notes += [
        f"{frames} frames were not answered on request: {reason}"
        for reason, frames in played.refusals.items()
    ]
    notes += [
        f"{frames} frames were answered without an input that came ({reason}): why stands in "
        f"{NODE_LOG}"
        for reason, frames in measured.incomplete.items()
    ]
    if isinstance(measured.saved, str):
        notes.append(f"nothing was saved: {measured.saved}")
    if measured.exit_code:
        notes.append(f"the node ended with exit code {measured.exit_code}; see {NODE_LOG}")
    return notes
