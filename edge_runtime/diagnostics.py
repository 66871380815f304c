"""What a node says about itself: /diagnostics (REP 107) and the latency of every frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from edge_runtime.host import resident_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_runtime.counters import Counters

_STALE_S = 3.0
_LOSSES = ("dropped", "lost", "rejected", "incomplete")
_MIB = 1024**2


@dataclass(frozen=True)
class Condition:
    """What a node's algorithm says of itself: a warning, "" for none, and values to show."""

    warning: str = ""
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Health:
    """What is known of a node at one moment.

    `silence_s`: since the last message of the first input, None before any. `age_s`: of that
    message when it came, by its stamp. `latency`: percentiles in ms by stage. `engine`: what the
    engine and its bundle say about themselves. `failure`: why the node could not be configured,
    or the last failure of the engine. `reasons`: by kind of loss, why the last one was.
    `condition`: of the algorithm.
    """

    state: str
    topic: str
    silence_s: float | None = None
    age_s: float | None = None
    latency: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    budget_ms: float = 0.0
    engine: Mapping[str, str] = field(default_factory=dict)
    failure: str = ""
    reasons: Mapping[str, str] = field(default_factory=dict)
    condition: Condition = field(default_factory=Condition)

    @property
    def is_stale(self) -> bool:
        """Whether nothing has come for so long that what is known of the frames is old."""
        return self.silence_s is None or self.silence_s > _STALE_S


def diagnostics(
    node: str,
    host: str,
    stamp: Any,  # noqa: ANN401
    health: Health,
    counters: Counters,
) -> DiagnosticArray:
    """Return the two statuses of a node, `<node>: input` and `<node>: inference`."""
    message = DiagnosticArray()
    message.header.stamp = stamp
    message.status = [
        _input_status(node, host, health, counters),
        _inference_status(node, host, health, counters),
    ]
    return message


def latency_message(node: str, header: Any, stages: Mapping[str, float]) -> DiagnosticArray:  # noqa: ANN401
    """Return the stages of one frame in milliseconds, under the image's own header."""
    status = DiagnosticStatus(
        level=DiagnosticStatus.OK,
        name=f"{node}: latency",
        message="ms",
        values=[KeyValue(key=name, value=f"{ms:.3f}") for name, ms in stages.items()],
    )
    return DiagnosticArray(header=header, status=[status])


def _input_status(node: str, host: str, health: Health, counters: Counters) -> DiagnosticStatus:
    level, text = DiagnosticStatus.OK, "receiving"
    losses = [*_LOSSES, *(f"lost: {name}" for name in counters.with_prefix("lost: "))]
    if health.state != "active":
        text = f"not listening: the node is {health.state}"
    else:
        said = []
        if health.is_stale:
            level = DiagnosticStatus.STALE
            since = "yet" if health.silence_s is None else f"for {health.silence_s:.0f} s"
            said.append(f"no message on {health.topic} {since}")
        if recent := [name for name in losses if counters.recent(name)]:
            # Also where nothing arrives: what is lost was published.
            level = DiagnosticStatus.WARN
            counts = ", ".join(f"{counters.recent(name)} {name}" for name in recent)
            said.append(f"{counts} in the last seconds")
            said += [health.reasons[name] for name in recent if name in health.reasons]
        text = "; ".join(said) or text
    values = {
        "topic": health.topic,
        "rate": f"{counters.rate('received'):.1f} Hz",
        "age": _age(health.age_s),
        **{name: str(counters.total(name)) for name in ("received", *losses)},
        **_by_kind("rejected: ", counters),
        **_by_kind("incomplete: ", counters),
    }
    return _status(f"{node}: input", host, level, text, values)


def _age(age_s: float | None) -> str:
    if age_s is None:
        return "unknown"
    if age_s < 0:
        return f"unknown: the stamp is {-age_s:.3f} s ahead of this node's clock"
    return f"{age_s * 1e3:.1f} ms"


def _by_kind(prefix: str, counters: Counters) -> dict[str, str]:
    return {f"{prefix}{kind}": str(count) for kind, count in counters.with_prefix(prefix).items()}


def _inference_status(node: str, host: str, health: Health, counters: Counters) -> DiagnosticStatus:
    level, text = DiagnosticStatus.OK, "running" if health.state == "active" else health.state
    slow = health.latency.get("total", {}).get("p95", 0.0)
    if health.failure and (health.state != "active" or counters.recent("failed")):
        level, text = DiagnosticStatus.ERROR, health.failure
    elif 0 < health.budget_ms < slow and health.state == "active" and not health.is_stale:
        level = DiagnosticStatus.WARN
        text = f"p95 of the total is {slow:.1f} ms, over the budget of {health.budget_ms:g} ms"
    elif health.condition.warning:
        level, text = DiagnosticStatus.WARN, health.condition.warning
    values = {
        "state": health.state,
        "rate": f"{counters.rate('processed'):.1f} Hz",
        "processed": str(counters.total("processed")),
        "failed": str(counters.total("failed")),
        **health.condition.values,
        **health.engine,
        "resident memory": f"{resident_bytes() / _MIB:.1f} MiB",
        **{
            f"{stage} {name}": f"{ms:.3f} ms"
            for stage, percentiles in health.latency.items()
            for name, ms in percentiles.items()
        },
    }
    return _status(f"{node}: inference", host, level, text, values)


def _status(
    name: str, host: str, level: bytes, text: str, values: Mapping[str, str]
) -> DiagnosticStatus:
    return DiagnosticStatus(
        level=level,
        name=name,
        message=text,
        hardware_id=host,
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )
