"""Which topic of a bag feeds which input of a node."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rosbags.highlevel import AnyReader

    from edge_replay.protocol import Input, InputKind

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"

_DEPTH_ENCODINGS = frozenset({"16UC1", "32FC1"})
_WANTED = {
    "colour": f"{IMAGE} or {COMPRESSED} with colour or grey",
    "depth": f"{IMAGE} with 16UC1 or 32FC1",
    "camera_info": CAMERA_INFO,
}


@dataclass(frozen=True)
class Topic:
    """A topic of a bag that some input could take.

    Attributes:
        name: as the bag has it; some recorders leave out the leading slash.
        content: for the report, from the first message: "640x480 bgr8".
    """

    name: str
    kind: InputKind
    compressed: bool
    content: str
    count: int = 0

    def counted(self, count: int) -> Topic:
        """Return the same topic with its number of messages."""
        return replace(self, count=count)

    def __str__(self) -> str:
        """Name and content, as error messages list it."""
        return f"{self.name} ({self.count} x {self.content})"


def topic_kind(name: str, msgtype: str, reader: AnyReader, raw: bytes) -> Topic | None:
    """Look at a topic's first message; None for what no node takes, compressedDepth included."""
    if msgtype not in {IMAGE, COMPRESSED, CAMERA_INFO}:
        return None
    message = cast("Any", reader.deserialize(raw, msgtype))
    if msgtype == CAMERA_INFO:
        return Topic(name, "camera_info", compressed=False, content="camera info")
    if msgtype == COMPRESSED:
        if "compressedDepth" in message.format:
            return None
        return Topic(name, "colour", compressed=True, content=f"compressed, {message.format}")
    kind: InputKind = "depth" if message.encoding in _DEPTH_ENCODINGS else "colour"
    content = f"{message.width}x{message.height} {message.encoding}"
    return Topic(name, kind, compressed=False, content=content)


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
        Input topic -> topic of the bag, in the inputs' order, and notes on optional inputs that
        several topics could feed: these are not fed.

    Raises:
        SettingError: a required input has no topic, or several; or the user's choice is not there.
    """
    if unknown := sorted(set(chosen) - {item.topic for item in inputs}):
        known = ", ".join(item.topic for item in inputs)
        message = f"--topic: the node has no input {unknown[0]!r}; its inputs are {known}"
        raise SettingError(message)
    found: dict[str, Topic] = {}
    notes: list[str] = []
    for item in inputs:
        fitting = [topic for topic in available if topic.kind == item.kind]
        if item.topic in chosen:
            fitting = _named(bag, item, fitting, chosen[item.topic])
        else:
            taken = {name.strip("/") for name in chosen.values()}
            fitting = [topic for topic in fitting if topic.name.strip("/") not in taken]
            if item.kind == "camera_info" and len(fitting) > 1:
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


def _named(bag: str, item: Input, fitting: list[Topic], name: str) -> list[Topic]:
    if not name:
        return []
    named = [topic for topic in fitting if topic.name.strip("/") == name.strip("/")]
    if not named:
        listed = ", ".join(str(topic) for topic in fitting) or "none"
        message = (
            f"--topic {item.topic}={name}: {bag} has no such topic with {_WANTED[item.kind]}; "
            f"it has {listed}"
        )
        raise SettingError(message)
    return named


def _siblings(item: Input, found: Mapping[str, Topic], infos: list[Topic]) -> list[Topic]:
    """Keep the camera info that stands in the same namespace as its image, as drivers name it."""
    place = item.topic.rpartition("/")[0]
    image = next((t for role, t in found.items() if role.rpartition("/")[0] == place), None)
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
    there = ", ".join(str(topic) for topic in available) or "no images at all"
    return f"{bag} has nothing for the input {item.topic!r} ({wanted}); it has {there}"
