from __future__ import annotations

import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus

from edge_runtime.counters import Counters
from edge_runtime.diagnostics import Health, diagnostics

pytestmark = pytest.mark.ros

SLOW = {"total": {"p95": 200.0}}


@pytest.mark.parametrize(
    ("state", "silence_s", "expected"),
    [
        ("active", 0.1, (DiagnosticStatus.OK, DiagnosticStatus.WARN)),
        ("active", 9.0, (DiagnosticStatus.STALE, DiagnosticStatus.OK)),
        ("inactive", None, (DiagnosticStatus.OK, DiagnosticStatus.OK)),
    ],
)
def test_the_budget_is_warned_about_only_while_frames_come(
    state: str, silence_s: float | None, expected: tuple[bytes, bytes]
) -> None:
    health = Health(state, "/image", silence_s=silence_s, latency=SLOW, budget_ms=100.0)
    message = diagnostics("left/arm_pose", "host", Time(), health, Counters())
    assert tuple(status.level for status in message.status) == expected
    assert [status.name for status in message.status] == [
        "left/arm_pose: input",
        "left/arm_pose: inference",
    ]


@pytest.mark.parametrize(
    ("silence_s", "lost", "level", "words"),
    [
        (None, 0, DiagnosticStatus.STALE, "no message on /image yet"),
        (9.0, 7, DiagnosticStatus.WARN, "no message on /image for 9 s; 7 lost in the last seconds"),
        (0.1, 7, DiagnosticStatus.WARN, "7 lost in the last seconds; publish compressed"),
        (0.1, 0, DiagnosticStatus.OK, "receiving"),
    ],
)
def test_silence_does_not_hide_what_was_lost(
    silence_s: float | None, lost: int, level: bytes, words: str
) -> None:
    counters = Counters()
    counters.tick(1.0)
    counters.add("lost", lost)
    counters.tick(2.0)
    reasons = {"lost": "publish compressed", "rejected": "long ago"}
    health = Health("active", "/image", silence_s=silence_s, age_s=-3.5, reasons=reasons)
    status = diagnostics("arm_pose", "host", Time(), health, counters).status[0]
    assert status.level == level
    assert status.message.startswith(words)
    assert "long ago" not in status.message
    values = {value.key: value.value for value in status.values}
    assert values["lost"] == str(lost)
    assert values["age"] == "unknown: the stamp is 3.500 s ahead of this node's clock"
