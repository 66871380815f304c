"""The DDS side of a replay: feeds the node's inputs and collects what it publishes."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from edge_replay.cdr import restamped, stamp_of
from edge_replay.node_process import NodeError
from edge_replay.timeline import SECOND
from edge_runtime.interface import DECIDE, RESET, decision_message
from edge_runtime.ros_environment import NO_LOG_FILE
from edge_runtime.ros_types import load_type

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from typing_extensions import Self

    from edge_replay.bags import RecordedFrame, Recording
    from edge_replay.node_process import NodeProcess
    from edge_replay.topics import Topic
    from edge_runtime.interface import NodeInterface, Service

_POLL = 0.05
_SHORT_POLL = 0.002
_PATIENCE = 60.0
_SILENCE = f"no answer for {_PATIENCE:g} s"
_DIAGNOSTICS_PERIOD = 1.0
# Both ends report a match before each of them has told the other: give the handshake its time.
_SETTLING = 0.5
_GIVEN_UP = 1.0
_RESTING_AS = "the node is {}"
_RESTING = frozenset(_RESTING_AS.format(state) for state in ("unconfigured", "inactive"))


@dataclass(frozen=True)
class Received:
    """One message of the node: which topic, when (perf_counter_ns), and its bytes."""

    topic: str
    time: int
    message: bytes


class Link:
    """Publishers to the node's inputs, subscriptions to its outputs; a context manager."""

    def __init__(self, interface: NodeInterface, recording: Recording, domain: int) -> None:
        """Join the domain. Messages received before the node is ready are kept too."""
        self._interface = interface
        self.latency_topic = interface.resolve("~/latency")
        self.received: list[Received] = []
        self._diagnostics: list[Received] = []
        self._context = rclpy.Context()
        # Arguments given: rclpy would read those of this command, and take some for remappings.
        # No handlers: Ctrl-C stays with Python, which then ends the node in an orderly way.
        rclpy.init(
            args=list(NO_LOG_FILE),
            context=self._context,
            domain_id=domain,
            signal_handler_options=SignalHandlerOptions.NO,
        )
        self._node = rclpy.create_node(
            "replay", context=self._context, start_parameter_services=False
        )
        profile = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
        self._publishers = {
            role: self._node.create_publisher(*_endpoint(role, topic), profile)
            for role, topic in recording.topics.items()
        }
        self._required = [item.topic for item in interface.inputs if item.required]
        types = {interface.resolve(o.topic): load_type(o.type) for o in interface.answers}
        self._types: dict[str, Any] = {**types, self.latency_topic: DiagnosticArray}
        for topic, type_ in self._types.items():
            self._subscribe(topic, type_, self.received)
        self._subscribe("/diagnostics", DiagnosticArray, self._diagnostics)
        self._state: Any = self._node.create_client(GetState, interface.resolve("~/get_state"))
        self._services: dict[Service, Any] = {
            service: self._node.create_client(
                load_type(service.type), interface.resolve(service.name)
            )
            for service in interface.services
        }
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, daemon=True)

    def __enter__(self) -> Self:
        """Begin to receive."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the domain."""
        self._executor.shutdown()
        self._thread.join()
        self._node.destroy_node()
        self._context.try_shutdown()

    def wait_ready(self, node: NodeProcess, patience: float) -> None:
        """Wait until the node is active and listens to every input that the recording feeds.

        Raises:
            NodeError: it died, refused to configure, or was not ready after `patience` seconds.
        """
        end = time.monotonic() + patience
        errors_since: float | None = None
        while (lacks := self._missing()) is not None:
            node.check()
            now = time.monotonic()
            if errors_since is None and node.errors():
                errors_since = now
            # An error may be followed by another attempt; a node that still rests has given up.
            if errors_since and now > errors_since + _GIVEN_UP and lacks in _RESTING:
                end = now
            if now >= end:
                message = f"{lacks}: {node.last_message()} (all its output: {node.log})"
                raise NodeError(message)
            time.sleep(_POLL)
        time.sleep(_SETTLING)
        node.check()

    def publish(self, frame: RecordedFrame, shift: int, roles: Iterable[str] | None = None) -> None:
        """Publish a frame's messages, their stamps moved by `shift` ns.

        Args:
            frame: what to publish.
            shift: added to every stamp.
            roles: only these inputs; None for all of them.
        """
        for role, message in frame.messages:
            if roles is None or role in roles:
                moved = restamped(message, stamp_of(message) + shift) if shift else message
                self._publishers[role].publish(moved)

    @property
    def resets(self) -> bool:
        """Whether the node can be told that the recording begins anew."""
        return RESET in self._services

    def call(self, service: Service) -> None:
        """Have the node do what one of its services does.

        Raises:
            NodeError: it did not, or said nothing for a minute.
        """
        response = self._response(service)
        if response is None or not response.success:
            said = response.message if response else _SILENCE
            message = f"{self._interface.resolve(service.name)} failed: {said}"
            raise NodeError(message)

    def decide(self, stamp: int) -> str:
        """Ask for an answer to the newest image; return why that with `stamp` [ns] has none.

        "" means that its answer is on its way.
        """
        response = self._response(DECIDE)
        if response is None:
            return _SILENCE
        wanted = decision_message(*divmod(stamp, SECOND))
        return "" if response.success and response.message == wanted else str(response.message)

    def take(self) -> list[Received]:
        """Return what the node published since the last call."""
        taken = self.received[:]
        del self.received[: len(taken)]
        return taken

    def decode(self, received: Received) -> Any:  # noqa: ANN401 (any message type)
        """Return the message as an rclpy object."""
        return deserialize_message(received.message, self._types[received.topic])

    def diagnostics(self) -> dict[str, str]:
        """Wait for the node's next diagnostics, for at most a few periods.

        Returns:
            The values of all its statuses together; empty where the node sends none.
        """
        del self._diagnostics[:]
        end = time.monotonic() + 3 * _DIAGNOSTICS_PERIOD
        values: dict[str, str] = {}
        while not values and time.monotonic() < end:
            time.sleep(_POLL)
            for received in self._diagnostics[:]:
                message = deserialize_message(received.message, DiagnosticArray)
                for status in message.status:
                    if status.name.startswith(f"{self._interface.name}:"):
                        values.update({value.key: value.value for value in status.values})
        return values

    def _subscribe(self, topic: str, type_: Any, into: list[Received]) -> None:  # noqa: ANN401
        def keep(message: bytes) -> None:
            into.append(Received(topic, time.perf_counter_ns(), message))

        # Bytes, not objects: decoding here would delay the time that is taken for the next one.
        profile = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
        self._node.create_subscription(type_, topic, keep, profile, raw=True)

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            return

    def _response(self, service: Service) -> Any:  # noqa: ANN401
        request = load_type(service.type).Request()
        return self._answer(self._services[service], request, _PATIENCE)

    def _answer(self, client: Any, request: Any, patience: float) -> Any:  # noqa: ANN401
        """Return the response of a service, None where it does not come."""
        future = client.call_async(request)
        end = time.monotonic() + patience
        while not future.done() and time.monotonic() < end:
            time.sleep(_SHORT_POLL)
        return future.result() if future.done() else None

    def _missing(self) -> str | None:
        """Say what the node still lacks to be ready."""
        if not self._state.service_is_ready():
            return f"the node /{self._interface.name} has not appeared"
        response = self._answer(self._state, GetState.Request(), 1.0)
        if response is None:
            return "the node does not answer get_state"
        if response.current_state.id != State.PRIMARY_STATE_ACTIVE:
            return _RESTING_AS.format(response.current_state.label or "in transition")
        listened = {r: p.get_subscription_count() > 0 for r, p in self._publishers.items()}
        deaf = [role for role in self._required if not listened[role]]
        if deaf:
            return f"the node does not listen to {', '.join(deaf)}"
        silent = [t for t in self._types if not self._node.count_publishers(t)]
        if silent:
            return f"the node does not publish {', '.join(silent)}"
        lacks = [s.name for s, client in self._services.items() if not client.service_is_ready()]
        return f"the node does not offer {', '.join(lacks)}" if lacks else None


def _endpoint(role: str, topic: Topic) -> tuple[Any, str]:
    if topic.kind == "camera_info":
        return CameraInfo, f"/{role}"
    if not topic.compressed:
        return Image, f"/{role}"
    # As image_transport names it: the compressed form of a topic stands below it.
    return CompressedImage, f"/{role}/{topic.transport}"
