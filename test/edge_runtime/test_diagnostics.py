from __future__ import annotations

import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus

from edge_runtime.diagnostics import Health, diagnostics
from edge_runtime.tally import Tally

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
    message = diagnostics("left/arm_pose", "host", Time(), health, Tally())
    assert tuple(status.level for status in message.status) == expected
    assert [status.name for status in message.status] == [
        "left/arm_pose: input",
        "left/arm_pose: inference",
    ]
