"""The lifecycle node that every skill's node is: a skill adds inputs, parameters and outputs."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.time_source import CLOCK_TOPIC
from sensor_msgs.msg import CompressedImage, Image

from edge_runtime.bundle import load_bundle
from edge_runtime.common_settings import COMMON, DEPTH_TRANSPORT, SLOP
from edge_runtime.engine import AUTO, open_engine
from edge_runtime.errors import MessageError, SettingError, one_line
from edge_runtime.folders import expand_user
from edge_runtime.frame import decode
from edge_runtime.inputs import Inputs
from edge_runtime.latency import Stopwatch
from edge_runtime.parameters import Settings
from edge_runtime.pictures import Picture
from edge_runtime.reporter import Reporter, result_qos
from edge_runtime.share import shipped_bundle
from edge_runtime.sim_time import checked_clock
from edge_runtime.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from rclpy.lifecycle import LifecyclePublisher, LifecycleState
    from rclpy.parameter import Parameter
    from rclpy.subscription import Subscription

    from edge_runtime.bundle import Bundle
    from edge_runtime.engine import Engine
    from edge_runtime.frame import Arrival, Frame, ImageInput
    from edge_runtime.parameters import Setting

Result = TypeVar("Result")


class SkillNode(LifecycleNode, ABC, Generic[Result]):
    """Serves a bundle on image topics; `Result` is what `process` hands to `publish`.

    A subclass says `node_name`, `skill`, `inputs` (the first one's header goes to the outputs) and
    `settings` (its own parameters), and implements `load`, `process` and `publish`. These three
    may raise any SuiteError; nothing that they raise ends the node.
    """

    node_name: ClassVar[str]
    skill: ClassVar[str]
    inputs: ClassVar[tuple[ImageInput, ...]]
    settings: ClassVar[tuple[Setting, ...]] = ()

    def __init__(self, **options: Any) -> None:  # noqa: ANN401
        """Take the keyword arguments of `rclpy.node.Node`."""
        super().__init__(
            self.node_name, automatically_declare_parameters_from_overrides=True, **options
        )
        self._state = "unconfigured"
        self._outputs: list[LifecyclePublisher[Any]] = []
        self._pictures: list[Picture[Result]] = []
        self._served: Engine | None = None
        self.parameters = Settings(
            self, self.all_settings(), lambda: self._state in {"inactive", "active"}
        )
        self._reporter = Reporter(self)
        self._inputs = Inputs(self, self.inputs, self._reporter)
        self._worker = Worker(self._handle, self._reporter.fail)
        self._painter = Worker(self._paint, self._reporter.fail)
        # A steady clock: with use_sim_time and no /clock the node must still say that it is alive.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0, self._report, clock=steady)

    @abstractmethod
    def load(self, bundle: Bundle, engine: Engine) -> None:
        """Get ready; make outputs with `create_output`, `create_picture`. Called in configure."""

    @abstractmethod
    def process(self, frame: Frame, stopwatch: Stopwatch) -> Result:
        """Compute the result of a frame, timing its stages. Called in the worker's thread."""

    @abstractmethod
    def publish(self, frame: Frame, result: Result) -> None:
        """Publish the result under the frame's header. Called in the worker's thread."""

    @abstractmethod
    def unload(self) -> None:
        """Let go of the engine and what `load` made. Called in cleanup and after a failed load."""

    @classmethod
    def all_settings(cls) -> tuple[Setting, ...]:
        """Return every parameter of the node: the common ones and the skill's own."""
        kinds = [image.kind for image in cls.inputs]
        special = [DEPTH_TRANSPORT] * ("depth" in kinds) + [SLOP] * (len(kinds) > 1)
        return (*COMMON, *special, *cls.settings)

    def create_output(
        self, message_type: type[Any], topic: str, depth: int = 10
    ) -> LifecyclePublisher[Any]:
        """Return a reliable publisher that speaks while the node is active, until cleanup."""
        publisher = self.create_lifecycle_publisher(message_type, topic, result_qos(depth))
        self._outputs.append(publisher)
        return publisher

    def create_picture(self, topic: str, draw: Callable[[Frame, Result], NDArray[Any]]) -> None:
        """Show what was found: raw on `topic`, as JPEG on `topic`/compressed, until cleanup.

        `draw` makes a picture, (H, W, 3) uint8 BGR, while somebody watches. It is called in a
        thread of its own after the answer is published, so that no answer waits for a picture;
        a newer frame takes the place of one that is not drawn yet. It must not write to the frame.
        """
        raw = self.create_output(Image, topic, depth=1)
        compressed = self.create_output(CompressedImage, f"{topic}/compressed", depth=1)
        self._pictures.append(Picture(draw, raw, compressed))

    def start(self) -> None:
        """Configure and activate, if the parameter `autostart` says so."""
        if (
            self.parameters["autostart"]
            and self.trigger_configure() == TransitionCallbackReturn.SUCCESS
        ):
            self.trigger_activate()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the bundle; on any failure stay unconfigured, with one line in the log."""

        def configure() -> None:
            self._refuse_problems()
            self._load()
            self._state = "inactive"

        return self._attempt("configure", configure, state, super().on_configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start the worker and listen."""

        def activate() -> None:
            self._worker.start()
            self._painter.start()
            slop = self.parameters["slop"] if len(self.inputs) > 1 else 0.0
            self._decode = partial(
                decode,
                inputs=self._inputs.by_name,
                rectified=self.parameters["rectified"],
                max_pixels=round(self.parameters["max_megapixels"] * 1e6),
            )
            try:
                self._inputs.open(self._transports(), slop, self._deliver)
            except Exception:
                self._stop()
                raise
            self._state = "active"

        return self._attempt("activate", activate, state, super().on_activate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop listening, finish the frame in work."""

        def deactivate() -> None:
            self._stop()
            self._state = "inactive"

        return self._attempt("deactivate", deactivate, state, super().on_deactivate)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the engine."""
        return self._attempt("cleanup", self._release, state, super().on_cleanup)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and free everything, from any state."""

        def shutdown() -> None:
            self._stop()
            self._release()
            self._state = "finalized"

        return self._attempt("shutdown", shutdown, state, super().on_shutdown)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Come back to unconfigured after a transition that broke."""

        def recover() -> None:
            self._stop()
            self._release()

        return self._attempt("recover", recover, state, super().on_error)

    def set_parameters_atomically(
        self, parameter_list: list[Parameter[Any]]
    ) -> SetParametersResult:
        """Refuse unknown names with the list of those that there are."""
        unknown = self.parameters.unknown(parameter_list)
        if unknown:
            reason = self.parameters.refuse_unknown(unknown)
            return SetParametersResult(successful=False, reason=reason)
        return super().set_parameters_atomically(self.parameters.in_their_type(parameter_list))

    def create_subscription(
        self,
        msg_type: type[Any],
        topic: str,
        callback: Callable[..., None],
        *arguments: Any,  # noqa: ANN401
        **options: Any,  # noqa: ANN401
    ) -> Subscription[Any]:
        """Subscribe; of /clock, which rclpy subscribes by itself, only times that it can take."""
        if topic == CLOCK_TOPIC:
            callback = checked_clock(callback, self._reject)
        return super().create_subscription(msg_type, topic, callback, *arguments, **options)

    def survive(self, error: Exception) -> None:
        """Say what a callback raised; whoever spins this node may go on after that."""
        self._reporter.survived(error)

    def destroy_node(self) -> None:
        """Stop the worker before the publishers go."""
        self._stop()
        super().destroy_node()

    def _reject(self, kind: str, message: str) -> None:
        # rclpy subscribes to /clock before there is a reporter.
        self._reporter.reject(kind, message)

    def _attempt(
        self,
        name: str,
        step: Callable[[], None],
        state: LifecycleState,
        entities: Callable[[LifecycleState], TransitionCallbackReturn],
    ) -> TransitionCallbackReturn:
        # rclpy turns an exception in a transition into an error state without a word.
        try:
            step()
        except Exception as error:  # noqa: BLE001
            self._reporter.failure = f"{name} failed: {one_line(error)}"
            self.get_logger().error(self._reporter.failure)
            return TransitionCallbackReturn.FAILURE
        self._reporter.failure = ""
        return entities(state)

    def _refuse_problems(self) -> None:
        # Refused once: whoever configures again after that means the values that hold now.
        problems, self.parameters.problems = self.parameters.problems, []
        if problems:
            raise SettingError("; ".join(problems))

    def _load(self) -> None:
        given = self.parameters["bundle"]
        path = expand_user(given) if given else shipped_bundle(self.skill)
        bundle = load_bundle(path, self.skill)
        precision = self.parameters["precision"]
        engine = open_engine(
            bundle,
            self.parameters["provider"],
            self.parameters["threads"],
            None if precision == AUTO else precision,
        )
        self._served = engine
        try:
            engine.warm_up()
            self.load(bundle, engine)
        except Exception:
            self._release()
            raise
        description = engine.describe()
        self._reporter.engine = {
            "bundle": bundle.manifest.name,
            "bundle hash": bundle.digest,
            **description,
        }
        said = ", ".join(f"{key} {value}" for key, value in description.items())
        self.get_logger().info(f"serving {bundle.manifest.name} from {bundle.path}: {said}")

    def _transports(self) -> dict[str, str]:
        """Return by kind of input what is put after a topic's name."""
        transports = {"colour": self.parameters["image_transport"]}
        if DEPTH_TRANSPORT in self.all_settings():
            transports["depth"] = self.parameters[DEPTH_TRANSPORT.name]
        return transports

    def _stop(self) -> None:
        self._inputs.close()
        self._worker.stop()
        self._painter.stop()

    def _release(self) -> None:
        for publisher in self._outputs:
            self.destroy_lifecycle_publisher(publisher)
        self._outputs.clear()
        self._pictures.clear()
        self._reporter.forget()
        self._state = "unconfigured"
        self.unload()
        if self._served is not None:
            self._served.close()
            self._served = None

    def _deliver(self, arrivals: Sequence[Arrival]) -> None:
        self._reporter.tally.add("dropped", self._worker.give(arrivals))

    def _handle(self, arrival: Arrival) -> None:
        stopwatch = Stopwatch()
        stopwatch.add("queue", (time.perf_counter() - arrival.received) * 1e3)
        try:
            with stopwatch.stage("decode"):
                frame = self._decode(arrival)
            for error in frame.unusable:
                self._reporter.incomplete(error.kind, str(error))
            result = self.process(frame, stopwatch)
            with stopwatch.stage("publish"):
                self.publish(frame, result)
            stopwatch.add("total", (time.perf_counter() - arrival.received) * 1e3)
            self._reporter.processed(frame.header, stopwatch.stages)
            if any(picture.is_watched for picture in self._pictures):
                self._painter.give([(frame, result)])
        except MessageError as error:
            self._reporter.reject(error.kind, str(error))

    def _paint(self, found: tuple[Frame, Result]) -> None:
        for picture in self._pictures:
            picture.publish(*found)

    def _report(self) -> None:
        self._reporter.report(self._state, self._inputs, self.parameters["latency_budget_ms"])
