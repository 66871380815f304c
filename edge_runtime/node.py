"""The lifecycle node that every skill's node is: a skill adds its interface and its algorithm."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.time_source import CLOCK_TOPIC
from sensor_msgs.msg import CompressedImage, Image

from edge_runtime.bundle import load_bundle
from edge_runtime.camera_poses import CameraPoses
from edge_runtime.common_settings import CAMERA_POSE, DEPTH_TRANSPORT, MODE, ON_REQUEST, SLOP
from edge_runtime.diagnostics import Condition
from edge_runtime.engine import AUTO, describe_engines, open_engines
from edge_runtime.errors import BundleError, MessageError, SettingError, one_line
from edge_runtime.folders import expand_user
from edge_runtime.frame import Decoder
from edge_runtime.inputs import Inputs
from edge_runtime.interface import DECIDE, RESET, decision_message
from edge_runtime.latency import Stopwatch
from edge_runtime.parameters import Settings
from edge_runtime.pictures import Picture
from edge_runtime.reporter import Reporter, result_qos
from edge_runtime.ros_types import load_type
from edge_runtime.services import Request, offer_services
from edge_runtime.share import shipped_bundle
from edge_runtime.sim_time import checked_clock
from edge_runtime.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from numpy.typing import NDArray
    from rclpy.lifecycle import LifecyclePublisher, LifecycleState
    from rclpy.parameter import Parameter
    from rclpy.subscription import Subscription

    from edge_runtime.bundle import Bundle
    from edge_runtime.engine import Engine
    from edge_runtime.frame import Arrival, Frame
    from edge_runtime.interface import NodeInterface, Service
    from edge_runtime.services import Handler

Result = TypeVar("Result")


class SkillNode(LifecycleNode, ABC, Generic[Result]):
    """Serves a bundle on image topics; `Result` is what `process` hands to `publish`.

    A subclass has its `interface` and implements `load`, `process`, `publish` and `unload`; `reset`
    where it remembers something from frame to frame, `handlers` where it offers services of its
    own. All may raise any SuiteError; nothing that they raise ends the node.
    """

    interface: ClassVar[NodeInterface]

    def __init__(self, **options: Any) -> None:  # noqa: ANN401
        """Take the keyword arguments of `rclpy.node.Node`."""
        super().__init__(
            self.interface.name, automatically_declare_parameters_from_overrides=True, **options
        )
        self._state = "unconfigured"
        self.outputs: dict[str, LifecyclePublisher[Any]] = {}
        self._pictures: list[Picture[Result]] = []
        self._engines: dict[str, Engine] = {}
        self.parameters = Settings(
            self, self.interface.parameters, lambda: self._state in {"inactive", "active"}
        )
        self._reporter = Reporter(self)
        self._inputs = Inputs(self, self.interface, self._reporter)
        self._newest: Arrival | None = None
        if self.interface.camera_pose:
            self.camera_poses = CameraPoses(self)
        self._worker = Worker(self._handle, self._reporter.fail)
        self._painter = Worker(self._paint, self._reporter.fail)
        offer_services(self, self._all_handlers(), self._ask)
        # A steady clock: with use_sim_time and no /clock the node must still say that it is alive.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0, self._report, clock=steady)

    @abstractmethod
    def load(self, bundle: Bundle, engines: Mapping[str, Engine]) -> None:
        """Get ready; say with `create_picture` how pictures are drawn. Called in configure.

        `engines`: of all models of the bundle by name, those that the interface names among them.
        """

    @abstractmethod
    def process(self, frame: Frame, stopwatch: Stopwatch) -> Result:
        """Compute the result of a frame, timing its stages. Called in the worker's thread.

        While a request is answered, so are `handlers` and `reset`: never two of them at once.
        """

    @abstractmethod
    def publish(self, frame: Frame, result: Result) -> None:
        """Publish the result on `self.outputs` under the frame's header, in the same thread.

        `outputs`: by topic, as the interface names it. Where nobody subscribes to one that is
        `watched`, its message need not be made.
        """

    @abstractmethod
    def unload(self) -> None:
        """Let go of the engines and what `load` made.

        Called in cleanup, at the end, and after a failed load; also where nothing was loaded.
        """

    def reset(self) -> None:
        """Forget earlier frames: the next one is a first one.

        Called before the first frame after activation, when stamps go back (a bag that begins
        anew), and by the service `~/reset` where the interface has it.
        """

    def handlers(self) -> Mapping[str, Handler]:
        """Return what does each service of the interface, by its name, but `RESET` and `DECIDE`.

        A handler takes request and response, as rclpy's do; it is called in the worker's thread.
        What it raises refuses the request, in the response's `message`.
        """
        return {}

    def wanted_images(self) -> Collection[str]:
        """Return the topics of the images that are used, as the parameters say; here all of them.

        The first one of the interface is among them. Called in activate.
        """
        return [image.topic for image in self.interface.images]

    def condition(self) -> Condition:
        """Return what the diagnostics tell of the algorithm. Called in the executor's thread."""
        return Condition()

    def create_picture(self, topic: str, draw: Callable[[Frame, Result], NDArray[Any]]) -> None:
        """Say how a picture of the interface is drawn: raw on `topic`, JPEG on `topic`/compressed.

        `draw` makes a picture, (H, W, 3) uint8 BGR, while somebody watches. It is called in a
        thread of its own after the answer is published, so that no answer waits for a picture;
        a newer frame takes the place of one that is not drawn yet. It must not write to the frame.
        """
        raw, compressed = self.outputs[topic], self.outputs[f"{topic}/compressed"]
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
            self.reset()
            on_request = DECIDE in self.interface.services
            self._on_request = on_request and self.parameters[MODE.name] == ON_REQUEST
            self._decoder = Decoder(
                self.interface.images,
                rectified=self.parameters["rectified"],
                max_pixels=round(self.parameters["max_megapixels"] * 1e6),
            )
            if self.interface.camera_pose:
                self.camera_poses.given = self.parameters[CAMERA_POSE.name]
            topics = self.wanted_images()
            slop = self.parameters[SLOP.name] if len(topics) > 1 else 0.0
            self._worker.start()
            self._painter.start()
            try:
                self._inputs.open(topics, self._transports(), slop, self._deliver, self._begin_anew)
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
        """Free the engines."""
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
        """Stop, and let go of what was loaded, before the publishers go."""
        self._stop()
        self._release()
        # rclpy forgets it, and it holds the node: the participant would end with the process
        # only, without removing its shared memory.
        self._state_machine.destroy_when_not_in_use()
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
        path = expand_user(given) if given else shipped_bundle(self.interface.skill)
        bundle = load_bundle(path, self.interface.skill)
        self._refuse_other_models(bundle)
        precision = self.parameters["precision"]
        self._engines = open_engines(
            bundle,
            self.parameters["provider"],
            self.parameters["threads"],
            None if precision == AUTO else precision,
        )
        try:
            for engine in self._engines.values():
                engine.warm_up()
            self._open_outputs()
            self.load(bundle, self._engines)
        except Exception:
            self._release()
            raise
        description = describe_engines(self._engines)
        self._reporter.engine = {
            "bundle": bundle.manifest.name,
            "bundle hash": bundle.digest,
            **description,
        }
        said = ", ".join(f"{key} {value}" for key, value in description.items())
        self.get_logger().info(f"serving {bundle.manifest.name} from {bundle.path}: {said}")

    def _refuse_other_models(self, bundle: Bundle) -> None:
        expected = self.interface.models or (self.interface.skill,)
        if missing := set(expected) - set(bundle.manifest.models):
            msg = (
                f"bundle {bundle.path} has the models {', '.join(bundle.manifest.models)}, not "
                f"{', '.join(sorted(missing))}: choose one that was made for this skill"
            )
            raise BundleError(msg)

    def _open_outputs(self) -> None:
        wanted = [(o.topic, load_type(o.type), o.depth) for o in self.interface.outputs]
        for topic in self.interface.pictures:
            wanted += [(topic, Image, 1), (f"{topic}/compressed", CompressedImage, 1)]
        for topic, type_, depth in wanted:
            publisher = self.create_lifecycle_publisher(type_, topic, result_qos(depth))
            self.outputs[topic] = publisher

    def _transports(self) -> dict[str, str]:
        """Return by kind of input what is put after a topic's name."""
        colour = self.parameters["image_transport"]
        transports = {"colour": colour, "right colour": colour}
        if DEPTH_TRANSPORT in self.interface.parameters:
            transports["depth"] = self.parameters[DEPTH_TRANSPORT.name]
        return transports

    def _stop(self) -> None:
        self._inputs.close()
        self._worker.stop()
        self._painter.stop()
        self._newest = None

    def _release(self) -> None:
        for publisher in self.outputs.values():
            self.destroy_lifecycle_publisher(publisher)
        self.outputs.clear()
        self._pictures.clear()
        self._reporter.forget()
        self._state = "unconfigured"
        self.unload()
        engines, self._engines = self._engines, {}
        for engine in engines.values():
            engine.close()

    def _all_handlers(self) -> dict[Service, Handler]:
        every: dict[str, Handler] = {RESET.name: self._reset, DECIDE.name: self._decide}
        for name, does in self.handlers().items():
            every[name] = partial(self._logged, name, does)
        return {service: every[service.name] for service in self.interface.services}

    def _logged(self, name: str, does: Handler, request: object, response: object) -> None:
        try:
            does(request, response)
        except Exception as error:
            self._reporter.refused(name, one_line(error))
            raise

    def _ask(self, service: Service, request: Request) -> str:
        if self._state != "active":
            return f"{service.name} is refused: the node is {self._state}; activate it first"
        if service == RESET:
            self._inputs.forget()
            self._newest = None
        self._worker.ask(request)
        return ""

    def _begin_anew(self) -> None:
        self._newest = None
        self._worker.ask(Request(lambda: self._reset(None, None), ""))

    def _reset(self, _request: object, response: Any) -> None:  # noqa: ANN401
        try:
            self.reset()
        except Exception as error:
            self._reporter.fail(error)
            raise
        if response is not None:
            response.message = "the next image is a first one"

    def _decide(self, _request: object, response: Any) -> None:  # noqa: ANN401
        asked = time.perf_counter()
        if not self._on_request:
            msg = f"the parameter {MODE.name!r} is not {ON_REQUEST!r}: every image is answered"
            raise SettingError(msg)
        arrival = self._newest
        if arrival is None:
            msg = f"no image yet: none came on {self._inputs.topic} since the start or a reset"
            raise MessageError(msg, "no image")
        try:
            header = self._serve(replace(arrival, received=asked))
        except MessageError as error:
            self._reporter.reject(error.kind, str(error))
            raise
        except Exception as error:
            self._reporter.fail(error)
            raise
        stamp = header.stamp
        response.message = decision_message(stamp.sec, stamp.nanosec)

    def _deliver(self, arrivals: Sequence[Arrival]) -> None:
        if self._on_request:
            self._newest = arrivals[-1]
        else:
            self._reporter.counters.add("dropped", self._worker.give(arrivals))

    def _handle(self, arrival: Arrival) -> None:
        try:
            self._serve(arrival)
        except MessageError as error:
            self._reporter.reject(error.kind, str(error))

    def _serve(self, arrival: Arrival) -> Any:  # noqa: ANN401
        """Answer images, and return their header."""
        stopwatch = Stopwatch()
        stopwatch.add("queue", (time.perf_counter() - arrival.received) * 1e3)
        with stopwatch.stage("decode"):
            frame = self._decoder.decode(arrival)
        for error in frame.unusable:
            self._reporter.incomplete(error.kind, str(error))
        result = self.process(frame, stopwatch)
        with stopwatch.stage("publish"):
            self.publish(frame, result)
        stopwatch.add("total", (time.perf_counter() - arrival.received) * 1e3)
        self._reporter.processed(frame.header, stopwatch.stages)
        if any(picture.is_watched for picture in self._pictures):
            self._painter.give([(frame, result)])
        return frame.header

    def _paint(self, found: tuple[Frame, Result]) -> None:
        for picture in self._pictures:
            picture.publish(*found)

    def _report(self) -> None:
        budget = self.parameters["latency_budget_ms"]
        condition = self.condition() if self._state == "active" else Condition()
        self._reporter.report(self._state, self._inputs, budget, condition)
