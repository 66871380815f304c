"""Everything a node tells about its work: log lines, counts, latency, diagnostics."""

from __future__ import annotations

import platform
import time
from typing import TYPE_CHECKING, Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from edge_runtime.counters import Counters
from edge_runtime.diagnostics import Health, diagnostics, latency_message
from edge_runtime.errors import one_line
from edge_runtime.latency import LatencyWindow
from edge_runtime.log_throttle import LogThrottle

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rclpy.lifecycle import LifecycleNode

    from edge_runtime.diagnostics import Condition
    from edge_runtime.inputs import Inputs

_WINDOW = 300
_WHEN_LOST = (
    "publish compressed, smaller or fewer images, or give the camera's process the Fast DDS "
    "profile config/fastdds.xml (docs/troubleshooting.md, 'Lost images')"
)


class Reporter:
    """Counts and publishes for one node; any of its threads may call.

    `engine`: what is served, for the diagnostics. `failure`: the last failure, "" for none.
    """

    def __init__(self, node: LifecycleNode) -> None:
        self.counters = Counters()
        self.engine: dict[str, str] = {}
        self.failure = ""
        self._node = node
        # With its namespace, because two cameras may each have a node of the same name.
        self._name = node.get_fully_qualified_name().lstrip("/")
        self._host = platform.node()
        self._window = LatencyWindow(_WINDOW)
        self._throttle = LogThrottle()
        self._reasons: dict[str, str] = {}
        self._latency = node.create_lifecycle_publisher(
            DiagnosticArray, "~/latency", result_qos(depth=10)
        )
        self._diagnostics = node.create_publisher(
            DiagnosticArray, "/diagnostics", result_qos(depth=10)
        )

    def forget(self) -> None:
        """Let go of what belongs to the engine that was served."""
        self.engine = {}
        self._window.clear()

    def processed(self, header: Any, stages: Mapping[str, float]) -> None:  # noqa: ANN401
        """Take the stage times (ms) of a frame that was served."""
        self.counters.add("processed")
        self._window.add(stages)
        if self._latency.get_subscription_count():
            self._latency.publish(latency_message(self._name, header, stages))

    def reject(self, kind: str, message: str) -> None:
        """Count and log a message that cannot be used."""
        self._count("rejected", kind)
        self._warn("rejected", kind, f"dropped: {message}")

    def incomplete(self, kind: str, message: str, frames: int = 1) -> None:
        """Count and log frames that are answered without an optional part that cannot be used."""
        self._count("incomplete", kind, frames)
        self._warn("incomplete", kind, f"answered without it: {message}")

    def lost(self, name: str, topic: str, count: int) -> None:
        """Count under a name, and log, images that were published and did not arrive."""
        self.counters.add(name, count)
        total = self.counters.total(name)
        self._warn(name, name, f"lost images of {topic}: {total}; {_WHEN_LOST}")

    def fail(self, error: Exception) -> None:
        """Count and log a frame that could not be served."""
        self.counters.add("failed")
        self.failure = one_line(error)
        if line := self._throttle.due("failure", f"frame failed: {self.failure}"):
            self._node.get_logger().error(line)

    def survived(self, error: Exception) -> None:
        """Log what a callback raised that belongs to no frame: a request that makes no sense."""
        line = f"a request or message was left undone: {one_line(error)}"
        if due := self._throttle.due("request", line):
            self._node.get_logger().warning(due)

    def refused(self, service: str, reason: str) -> None:
        """Log a request that was not fulfilled."""
        if due := self._throttle.due(service, f"{service}: {reason}"):
            self._node.get_logger().warning(due)

    def report(
        self,
        state: str,
        inputs: Inputs,
        budget_ms: float,
        condition: Condition,
    ) -> None:
        """Publish the diagnostics; to be called once a second.

        `condition`: of the node's algorithm.
        """
        now, last = time.monotonic(), inputs.last_received
        self.counters.tick(now)
        health = Health(
            state=state,
            topic=inputs.topic,
            silence_s=None if last is None else now - last,
            age_s=inputs.age_s,
            latency=self._window.percentiles(),
            budget_ms=budget_ms,
            engine=self.engine,
            failure=self.failure,
            reasons=dict(self._reasons),
            condition=condition,
        )
        stamp = self._node.get_clock().now().to_msg()
        self._diagnostics.publish(diagnostics(self._name, self._host, stamp, health, self.counters))

    def _count(self, name: str, kind: str, count: int = 1) -> None:
        self.counters.add(name, count)
        self.counters.add(f"{name}: {kind}", count)

    def _warn(self, name: str, kind: str, line: str) -> None:
        self._reasons[name] = line
        if due := self._throttle.due(kind, line):
            self._node.get_logger().warning(due)


def result_qos(depth: int) -> QoSProfile:
    """Return the quality of service of outputs: reliable, the last `depth` kept."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.VOLATILE,
    )
