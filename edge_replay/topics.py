"""Which topic of a bag feeds which input of a node."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

from edge_runtime.errors import MessageError, SettingError
from edge_runtime.images import image_kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_replay.storage.bag import Bag
    from edge_runtime.interface import Input, InputKind

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"

Transport = Literal["raw", "compressed", "compressedDepth"]

_VIDEO = frozenset(
    {
        "ffmpeg_image_transport_msgs/msg/FFMPEGPacket",
        "foxglove_msgs/msg/CompressedVideo",
        "theora_image_transport/msg/Packet",
    }
)
_WANTED = {
    "colour": f"{IMAGE} or {COMPRESSED} with colour or grey",
    "right colour": f"{IMAGE} or {COMPRESSED} with colour or grey, of the right camera",
    "depth": f"{IMAGE} or {COMPRESSED} with 16UC1 or 32FC1",
    "camera_info": CAMERA_INFO,
}
# How drivers and data sets name the right camera of a pair.
_RIGHT = re.compile(r"right|cam1|infra2")
# Of several forms of the same images, the one that is played: nothing is lost, nothing to decode.
_PREFERRED: tuple[Transport, ...] = ("raw", "compressedDepth", "compressed")


@dataclass(frozen=True)
class Topic:
    """A topic of a bag with images or a camera info.

    Attributes:
        name: as the bag has it; some recorders leave out the leading slash.
        kind: None for images that no node can read.
        content: for the report, from the first message: "640x480 bgr8".
        transport: as image_transport names it.
        problem: why no node can read it.
    """

    name: str
    kind: InputKind | None
    content: str
    transport: Transport = "raw"
    problem: str = ""
    count: int = 0

    def counted(self, count: int) -> Topic:
        """Return the same topic with its number of messages."""
        return replace(self, count=count)

    @property
    def compressed(self) -> bool:
        """Whether its messages are CompressedImage."""
        return self.transport != "raw"

    @property
    def base(self) -> str:
        """The name that it shares with other forms of the same images."""
        name = self.name.strip("/")
        return name.removesuffix(f"/{self.transport}") if self.compressed else name

    def __str__(self) -> str:
        """Name and content, as error messages list it."""
        return f"{self.name} ({self.count} x {self.content})"


def topic_kind(name: str, msgtype: str, reader: Bag, raw: bytes) -> Topic | None:
    """Look at a topic's first message, by the rules of a node; None for what is no image."""
    if msgtype in _VIDEO:
        problem = "video is not read; republish it raw or compressed"
        return Topic(name, None, msgtype, problem=problem)
    if msgtype not in {IMAGE, COMPRESSED, CAMERA_INFO}:
        return None
    message = cast("Any", reader.deserialize(raw, msgtype))
    if msgtype == CAMERA_INFO:
        return Topic(name, "camera_info", "camera info")
    transport: Transport = "raw"
    if msgtype == IMAGE:
        content = f"{message.width}x{message.height} {message.encoding}"
    else:
        transport = "compressedDepth" if "compressedDepth" in message.format else "compressed"
        content = f"compressed, {message.format}"
    try:
        return Topic(name, image_kind(message), content, transport)
    except MessageError as error:
        return Topic(name, None, content, transport, problem=str(error))


def choose_topics(
    bag: str, inputs: Sequence[Input], available: Sequence[Topic], chosen: Mapping[str, str]
) -> tuple[dict[str, Topic], list[str]]:
    """Match inputs with topics by type.

    Args:
        bag: its name, for messages.
        inputs: of the node.
        available: of the bag.
        chosen: input topic -> bag topic, as the user says; "" feeds nothing.

    Returns:
        Input topic -> topic of the bag, in the inputs' order, and notes on what is left out:
        optional inputs that several topics could feed, images that no node can read, and other
        forms of the same images.

    Raises:
        SettingError: a required input has no topic, or several; or the user's choice is not there.
    """
    if unknown := sorted(set(chosen) - {item.topic for item in inputs}):
        known = ", ".join(item.topic for item in inputs)
        message = f"--topic: the node has no input {unknown[0]!r}; its inputs are {known}"
        raise SettingError(message)
    found: dict[str, Topic] = {}
    notes = [f"left out: {topic}: {topic.problem}" for topic in available if topic.problem]
    stereo = any(item.kind == "right colour" for item in inputs)
    for item in inputs:
        fitting = _of_kind(item, available)
        if item.topic in chosen:
            fitting = _named(bag, item, available, chosen[item.topic])
        else:
            taken = {name.strip("/") for name in chosen.values()}
            fitting = [topic for topic in fitting if topic.name.strip("/") not in taken]
            fitting = _one_form(fitting, notes)
            if item.kind == "right colour" or (stereo and item.kind == "colour" and fitting[1:]):
                fitting = _of_side(item, fitting)
            if item.of and item.of not in found:
                fitting = []  # a camera without images
            elif item.kind == "camera_info" and len(fitting) > 1:
                fitting = _siblings(item, found, fitting)
        if len(fitting) == 1:
            found[item.topic] = fitting[0]
            continue
        listed = ", ".join(str(topic) for topic in fitting)
        if item.required:
            raise SettingError(_refusal(bag, item, listed, available))
        if fitting:
            notes.append(f"input {item.topic!r} is not fed: several topics fit ({listed})")
    return found, notes


def _of_kind(item: Input, topics: Sequence[Topic]) -> list[Topic]:
    kind = "colour" if item.kind == "right colour" else item.kind
    return [topic for topic in topics if topic.kind == kind]


def _of_side(item: Input, topics: list[Topic]) -> list[Topic]:
    """Of the topics of a stereo pair, keep those that are named like the wanted camera."""
    right = item.kind == "right colour"
    return [topic for topic in topics if bool(_RIGHT.search(topic.name.lower())) == right]


def _named(bag: str, item: Input, available: Sequence[Topic], name: str) -> list[Topic]:
    if not name:
        return []
    same = [topic for topic in available if topic.name.strip("/") == name.strip("/")]
    named = _of_kind(item, same)
    if not named:
        fitting = _of_kind(item, available)
        listed = ", ".join(_explained(topic) for topic in same or fitting) or "none"
        message = (
            f"--topic {item.topic}={name}: {bag} has no such topic with {_WANTED[item.kind]}; "
            f"it has {listed}"
        )
        raise SettingError(message)
    return named


def _one_form(fitting: list[Topic], notes: list[str]) -> list[Topic]:
    """Keep one of the topics that carry the same images, and note the others."""
    kept: dict[str, Topic] = {}
    for topic in sorted(fitting, key=lambda topic: _PREFERRED.index(topic.transport)):
        same = kept.setdefault(topic.base, topic)
        if same is not topic:
            notes.append(f"left out: {topic}: {same.name} has the same images")
    return [topic for topic in fitting if topic in kept.values()]


def _siblings(item: Input, found: Mapping[str, Topic], infos: list[Topic]) -> list[Topic]:
    """Keep the camera info that stands in the same namespace as its image, as drivers name it."""
    image = found.get(item.of)
    if image is None:
        return infos
    parts = image.name.strip("/").split("/")
    for length in range(len(parts) - 1, 0, -1):
        name = "/".join([*parts[:length], "camera_info"])
        if near := [info for info in infos if info.name.strip("/") == name]:
            return near
    return infos


def _refusal(bag: str, item: Input, listed: str, available: Sequence[Topic]) -> str:
    wanted = _WANTED[item.kind]
    if listed:
        return (
            f"{bag} has several topics for the input {item.topic!r} ({wanted}): {listed}; "
            f"choose one with --topic {item.topic}=NAME"
        )
    there = ", ".join(_explained(topic) for topic in available) or "no images at all"
    return f"{bag} has nothing for the input {item.topic!r} ({wanted}); it has {there}"


def _explained(topic: Topic) -> str:
    return f"{topic}: {topic.problem}" if topic.problem else str(topic)
