"""The lifecycle node that every skill's node is: a skill adds its interface and its algorithm."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from sensor_msgs.msg import CompressedImage, Image

from edge_runtime.bundle import load_bundle
from edge_runtime.calibration import CameraInfoReader
from edge_runtime.camera_poses import CameraPoses
from edge_runtime.common_settings import CAMERA_POSE, DEPTH_TRANSPORT, MODE, ON_REQUEST, SLOP
from edge_runtime.diagnostics import Condition
from edge_runtime.engine import AUTO, describe_engines, open_engines
from edge_runtime.errors import BundleError, one_line
from edge_runtime.folders import expand_user
from edge_runtime.frame_loop import FrameLoop
from edge_runtime.inputs import Inputs
from edge_runtime.interface import DECIDE, RESET
from edge_runtime.lifecycle import ManagedNode
from edge_runtime.pictures import Picture
from edge_runtime.reporter import result_qos
from edge_runtime.ros_types import load_type
from edge_runtime.services import offer_services
from edge_runtime.share import shipped_bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from numpy.typing import NDArray
    from rclpy.lifecycle import LifecyclePublisher

    from edge_runtime.bundle import Bundle
    from edge_runtime.engine import Engine
    from edge_runtime.frame import CameraFrame
    from edge_runtime.interface import NodeInterface, Service
    from edge_runtime.latency import Stopwatch
    from edge_runtime.services import Handler, Request

Result = TypeVar("Result")


class SkillNode(ManagedNode, Generic[Result]):
    """Serves a bundle on image topics; `Result` is what `process` hands to `publish`.

    A subclass has its `interface` and implements `load`, `process`, `publish` and `unload`; `reset`
    where it remembers something from frame to frame, `handlers` where it offers services of its
    own. All may raise any SuiteError; nothing that they raise ends the node.
    """

    interface: ClassVar[NodeInterface]

    def __init__(self, **options: Any) -> None:  # noqa: ANN401
        """Take the keyword arguments of `rclpy.node.Node`."""
        super().__init__(self.interface.name, self.interface.parameters, **options)
        self.outputs: dict[str, LifecyclePublisher[Any]] = {}
        self._engines: dict[str, Engine] = {}
        self._inputs = Inputs(self, self.interface, self.reporter)
        self._loop = FrameLoop(self, self.interface.images, self._inputs.topic, self.reporter)
        if self.interface.camera_pose:
            self.camera_poses = CameraPoses(self)
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
    def process(self, frame: CameraFrame, stopwatch: Stopwatch) -> Result:
        """Compute the result of a frame, timing its stages. Called in the worker's thread.

        While a request is answered, so are `handlers` and `reset`: never two of them at once.
        """

    @abstractmethod
    def publish(self, frame: CameraFrame, result: Result) -> None:
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

    def create_picture(
        self, topic: str, draw: Callable[[CameraFrame, Result], NDArray[Any]]
    ) -> None:
        """Say how a picture of the interface is drawn: raw on `topic`, JPEG on `topic`/compressed.

        `draw` makes a picture, (H, W, 3) uint8 BGR, while somebody watches. It is called in a
        thread of its own after the answer is published, so that no answer waits for a picture;
        a newer frame takes the place of one that is not drawn yet. It must not write to the frame.
        """
        raw, compressed = self.outputs[topic], self.outputs[f"{topic}/compressed"]
        self._loop.pictures.append(Picture(draw, raw, compressed))

    def configure(self) -> None:
        """Load the bundle."""
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
            self.clean_up()
            raise
        description = describe_engines(self._engines)
        self.reporter.engine = {
            "bundle": bundle.manifest.name,
            "bundle hash": bundle.digest,
            **description,
        }
        said = ", ".join(f"{key} {value}" for key, value in description.items())
        self.get_logger().info(f"serving {bundle.manifest.name} from {bundle.path}: {said}")

    def activate(self) -> None:
        """Start to answer, and listen."""
        self.reset()
        if self.interface.camera_pose:
            self.camera_poses.given = self.parameters[CAMERA_POSE.name]
        topics = self.wanted_images()
        self._loop.start(
            round(self.parameters["max_megapixels"] * 1e6),
            on_request=DECIDE in self.interface.services
            and self.parameters[MODE.name] == ON_REQUEST,
        )
        try:
            self._inputs.open(
                topics,
                self._transports(),
                self.parameters[SLOP.name] if len(topics) > 1 else 0.0,
                CameraInfoReader(rectified=self.parameters["rectified"]),
                self._loop,
            )
        except Exception:
            self.deactivate()
            raise

    def deactivate(self) -> None:
        """Stop listening, finish the frame in work."""
        self._inputs.close()
        self._loop.stop()

    def clean_up(self) -> None:
        """Free the engines."""
        for publisher in self.outputs.values():
            self.destroy_lifecycle_publisher(publisher)
        self.outputs.clear()
        self._loop.pictures.clear()
        self.reporter.forget()
        self.unload()
        engines, self._engines = self._engines, {}
        for engine in engines.values():
            engine.close()

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

    def _all_handlers(self) -> dict[Service, Handler]:
        every: dict[str, Handler] = {RESET.name: self._loop.reset, DECIDE.name: self._loop.decide}
        for name, does in self.handlers().items():
            every[name] = partial(self._logged, name, does)
        return {service: every[service.name] for service in self.interface.services}

    def _logged(self, name: str, does: Handler, request: object, response: object) -> None:
        try:
            does(request, response)
        except Exception as error:
            self.reporter.refused(name, one_line(error))
            raise

    def _ask(self, service: Service, request: Request) -> str:
        if self.life != "active":
            return f"{service.name} is refused: the node is {self.life}; activate it first"
        if service == RESET:
            self._inputs.forget()
            self._loop.forget_newest()
        self._loop.ask(request)
        return ""

    def _report(self) -> None:
        budget = self.parameters["latency_budget_ms"]
        condition = self.condition() if self.life == "active" else Condition()
        self.reporter.report(self.life, self._inputs, budget, condition)
