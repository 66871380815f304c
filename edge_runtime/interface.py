"""What a node listens to and says, declared once.

The node, `replay`, the launch files and the tables of the documentation read it. Only the standard
library is imported: a launch may run in a Python that lacks the node's libraries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge_runtime.common_settings import CAMERA_POSE, COMMON, DEPTH_TRANSPORT, MODE, SLOP
from edge_runtime.setting import Setting  # noqa: TC001 (dataclass fields are read at run time)

TRIGGER = "std_srvs/srv/Trigger"

InputKind = Literal["colour", "right colour", "depth", "camera_info"]


@dataclass(frozen=True)
class Input:
    """A topic that a node listens to.

    Attributes:
        topic: the node's own name for it, relative: "image", "right/image".
        kind: colour comes as (H, W, 3) uint8 BGR, the right camera's too; depth as (H, W) float32
            metres, NaN where nothing was seen, registered to the first image.
        required: whether the node answers nothing without it.
        of: of a camera info, the topic of the images that it describes.
        description: for people: launch arguments, tables.
    """

    topic: str
    kind: InputKind
    required: bool = True
    of: str = ""
    description: str = ""


@dataclass(frozen=True)
class Output:
    """A topic that a node publishes, reliably, under the header of the images it answers.

    Attributes:
        topic: "~/keypoints" is /NODE/keypoints.
        type: "sensor_msgs/msg/PointCloud2". It begins with a std_msgs/Header unless it is
            `watched`.
        watched: made only while somebody subscribes. `replay` does not, so that it times the node
            as a robot has it.
        depth: how many messages are kept for a slow subscriber.
    """

    topic: str
    type: str
    watched: bool = False
    depth: int = 10
    description: str = ""


@dataclass(frozen=True)
class Service:
    """A service that a node offers while it is active.

    `type`: one whose response has `success` and `message`, such as std_srvs/srv/SetBool.
    """

    name: str
    description: str
    type: str = TRIGGER


RESET = Service("~/reset", "forget what earlier images left; the next one is a first one")
DECIDE = Service("~/decide", "answer the newest images, under their header")


@dataclass(frozen=True)
class NodeInterface:
    """A node, as others see it.

    Attributes:
        name: of the node, without a namespace.
        executable: the installed program that runs it.
        skill: whose bundles it serves.
        inputs: the first one is the image that makes a frame: its header goes to the outputs. The
            other images are paired with it by stamp.
        outputs: of which those that are not `watched` answer every frame, empty results too.
        pictures: topics for people, each raw and, below it, as JPEG (`/compressed`), drawn only
            while somebody watches.
        services: the node's own. With `RESET`, a client can reset the algorithm, as stamps that go
            back do by themselves. With `DECIDE`, the node answers on request, or every frame: the
            parameter `mode` says which. Without it, it answers every frame.
        camera_pose: whether it asks where the camera is: by TF, or the parameter `camera_pose`.
        settings: its own parameters; `parameters` has the common ones too, but for those whose
            names are here.
        models: of a bundle, by name, that it runs; none named: the one called as the skill.
    """

    name: str
    executable: str
    skill: str
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    pictures: tuple[str, ...] = ()
    services: tuple[Service, ...] = ()
    camera_pose: bool = False
    settings: tuple[Setting, ...] = ()
    models: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no node can be.

        Raises:
            ValueError: the first input is not a required image, or a camera info is of none.
        """
        images = [image.topic for image in self.images]
        if not images or self.inputs[0].topic != images[0] or not self.inputs[0].required:
            message = f"node {self.name}: the first input must be an image that is required"
            raise ValueError(message)
        for info in self.inputs:
            if info.kind == "camera_info" and info.of not in images:
                message = (
                    f"node {self.name}: {info.topic} is of {info.of!r}, not of one of {images}"
                )
                raise ValueError(message)

    @property
    def images(self) -> tuple[Input, ...]:
        """The inputs that are images."""
        return tuple(given for given in self.inputs if given.kind != "camera_info")

    @property
    def camera_infos(self) -> dict[str, str]:
        """The topic of an image -> that of its camera info."""
        return {given.of: given.topic for given in self.inputs if given.kind == "camera_info"}

    @property
    def answers(self) -> tuple[Output, ...]:
        """The outputs that come for every frame."""
        return tuple(output for output in self.outputs if not output.watched)

    @property
    def parameters(self) -> tuple[Setting, ...]:
        """Every parameter of the node: the common ones that concern it, and its own."""
        kinds = [image.kind for image in self.images]
        special = {
            DEPTH_TRANSPORT: "depth" in kinds,
            SLOP: len(kinds) > 1,
            MODE: DECIDE in self.services,
            CAMERA_POSE: self.camera_pose,
        }
        common = (*COMMON, *(one for one, concerns in special.items() if concerns))
        own = {one.name: one for one in self.settings}
        return (*(own.pop(one.name, one) for one in common), *own.values())

    def resolve(self, topic: str) -> str:
        """Return the absolute name of a topic or service where nothing is remapped."""
        return (
            topic.replace("~", f"/{self.name}", 1)
            if topic.startswith("~")
            else f"/{topic.lstrip('/')}"
        )


def decision_message(seconds: int, nanoseconds: int) -> str:
    """Return the `message` of `DECIDE`: which image was answered, by its stamp."""
    return f"answered the image of {seconds}.{nanoseconds:09d} s"
