"""One line for each figure of a report, for those who did not write it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_replay.metrics import END_TO_END, OUTSIDE, OVERHEAD
from edge_replay.protocol import DescribesMetrics
from edge_runtime.errors import SettingError
from edge_runtime.skills import load_skill

if TYPE_CHECKING:
    from collections.abc import Mapping

STAGES = {
    END_TO_END: "from publishing a frame here to receiving its answer here",
    OUTSIDE: "end to end less the node's total: transport to the node and back, and this program",
    OVERHEAD: "the node's total less the skill's own work: waiting, conversion, publishing",
    "queue": "waiting until the node's worker was free",
    "decode": "from message to pixels",
    "preprocess": "scaling and padding the image for the network",
    "engine": "the network",
    "publish": "making and sending the answer",
    "total": "in the node, from the frame's arrival to its answer",
}
"""Stage of a latency table -> what it is; a skill's own stages may have none."""


def metric_descriptions(skill: str) -> Mapping[str, str]:
    """Return those of an installed skill; empty where it has none, or is not installed here."""
    try:
        found = load_skill(skill)
    except SettingError:
        return {}
    return found.metric_descriptions if isinstance(found, DescribesMetrics) else {}
