"""Recordings of any kind (ROS 1 .bag, ROS 2 sqlite3 or mcap) as frames ready to publish."""

from __future__ import annotations

import hashlib
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.typesys import Stores, get_typestore

from edge_replay.cdr import stamp_of
from edge_replay.topics import Topic, choose_topics, topic_kind
from edge_runtime.errors import SettingError
from edge_runtime.files import sha256
from edge_runtime.pairing import SLOP_S

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from rosbags.interfaces import Connection

    from edge_replay.protocol import Input

_WAITING_LIMIT = 30
_ROS2_TYPES = get_typestore(Stores.ROS2_HUMBLE)


@dataclass(frozen=True)
class Frame:
    """What one camera frame makes the driver publish.

    Attributes:
        stamp: of the image, ns.
        time: when it was recorded, ns.
        messages: (input topic, CDR), in the order to publish: camera infos, then the images that
            accompany it, then the image itself.
    """

    stamp: int
    time: int
    messages: tuple[tuple[str, bytes], ...]

    @property
    def image(self) -> bytes:
        """The image's own message."""
        return self.messages[-1][1]

    @property
    def size(self) -> int:
        """Bytes of all messages."""
        return sum(len(message) for _, message in self.messages)


class Recording:
    """A bag, and which of its topics feed which input of a node.

    Attributes:
        topics: input topic -> topic of the bag, for every input that the bag feeds.
        images: number of images on the first input's topic.
        seconds: from the first message of the bag to the last.
        digest: SHA-256 of the bag's content.
        notes: what a reader of the results should know about it.
    """

    def __init__(
        self,
        path: Path,
        inputs: Sequence[Input],
        chosen: Mapping[str, str],
        slop: float = SLOP_S,
    ) -> None:
        """Open a bag and settle its topics.

        Args:
            path: .bag file, bag directory, or a lone .db3 or .mcap file.
            inputs: of the node, the image that makes a frame first.
            chosen: input topic -> bag topic where the type alone does not tell; "" feeds nothing.
            slop: seconds by which the stamps of an image and of what accompanies it may differ.

        Raises:
            SettingError: not a bag, or a required input cannot be fed, or not unambiguously.
        """
        self.path = path
        self._inputs = tuple(inputs)
        self._slop_ns = round(slop * 1e9)
        with _opened(path) as reader:
            available = _topics(reader)
            self.topics, self.notes = choose_topics(str(path), inputs, available, chosen)
            image = self.topics[inputs[0].topic]
            self.images = image.count
            self.seconds = reader.duration / 1e9
            self._first_infos = {
                role: _first(reader, topic)
                for role, topic in self.topics.items()
                if topic.kind == "camera_info"
            }
        self.digest = _digest(path)

    @property
    def compressed(self) -> bool:
        """Whether its images are CompressedImage."""
        return self.topics[self._inputs[0].topic].compressed

    @property
    def camera_infos(self) -> list[str]:
        """The inputs that take camera infos."""
        return list(self._first_infos)

    def frames(self) -> Iterator[Frame]:
        """Read the frames in recorded order.

        Every frame carries the camera infos recorded last before it (the first ones of the bag
        where none were), and the accompanying images nearest in stamp, within the slop.
        """
        pairing = _Pairing(self._first_infos, self._companions(), self._slop_ns)
        with _opened(self.path) as reader:
            roles = {topic.name: role for role, topic in self.topics.items()}
            connections = [c for c in reader.connections if c.topic in roles]
            first = self._inputs[0].topic
            for connection, time, raw in reader.messages(connections):
                role = roles[connection.topic]
                message = _cdr(reader, connection, raw)
                if role in self._first_infos:
                    pairing.infos[role] = message
                elif role == first:
                    pairing.add_image(role, time, message)
                else:
                    pairing.add_companion(role, message)
                yield from pairing.complete()
            yield from pairing.rest()

    def _companions(self) -> list[str]:
        first = self._inputs[0].topic
        return [r for r, t in self.topics.items() if t.kind != "camera_info" and r != first]


@dataclass
class _Waiting:
    stamp: int
    time: int
    role: str
    message: bytes
    infos: dict[str, bytes]


@dataclass
class _Pairing:
    """Holds images until their companions (depth, right image) are known."""

    infos: dict[str, bytes]
    roles: list[str]
    slop_ns: int
    waiting: deque[_Waiting] = field(default_factory=deque)
    companions: dict[str, deque[tuple[int, bytes]]] = field(init=False)

    def __post_init__(self) -> None:
        self.infos = dict(self.infos)
        self.companions = {role: deque(maxlen=_WAITING_LIMIT) for role in self.roles}

    def add_image(self, role: str, time: int, message: bytes) -> None:
        self.waiting.append(_Waiting(stamp_of(message), time, role, message, dict(self.infos)))

    def add_companion(self, role: str, message: bytes) -> None:
        self.companions[role].append((stamp_of(message), message))

    def complete(self) -> Iterator[Frame]:
        """Give the frames to which nothing nearer can come any more."""
        while self.waiting and (len(self.waiting) > _WAITING_LIMIT or self._settled()):
            yield self._frame(self.waiting.popleft())

    def rest(self) -> Iterator[Frame]:
        while self.waiting:
            yield self._frame(self.waiting.popleft())

    def _settled(self) -> bool:
        stamp = self.waiting[0].stamp
        return all(held and held[-1][0] >= stamp for held in self.companions.values())

    def _frame(self, image: _Waiting) -> Frame:
        messages = list(image.infos.items())
        for role, held in self.companions.items():
            nearest = min(held, key=lambda pair: abs(pair[0] - image.stamp), default=None)
            if nearest is not None and abs(nearest[0] - image.stamp) <= self.slop_ns:
                messages.append((role, nearest[1]))
        messages.append((image.role, image.message))
        return Frame(image.stamp, image.time, tuple(messages))


@contextmanager
def _opened(path: Path) -> Iterator[AnyReader]:
    if not path.exists():
        message = f"bag {path} does not exist: give a .bag file or the directory of a ROS 2 bag"
        raise SettingError(message)
    try:
        # Bags from before ROS 2 Iron do not bring their message definitions.
        reader = AnyReader([path], default_typestore=_ROS2_TYPES)
        reader.open()
    except (AnyReaderError, OSError) as error:
        message = (
            f"{path} cannot be read as a bag ({error}): give a ROS 1 .bag file, or a ROS 2 bag "
            "directory with metadata.yaml (`ros2 bag reindex` makes a missing one)"
        )
        raise SettingError(message) from error
    try:
        yield reader
    finally:
        reader.close()


def _topics(reader: AnyReader) -> list[Topic]:
    counts: dict[str, int] = {}
    kinds: dict[str, Topic] = {}
    for connection in reader.connections:
        count = connection.msgcount
        counts[connection.topic] = counts.get(connection.topic, 0) + count
        if connection.topic not in kinds and count:
            raw = next(reader.messages([connection]))[2]
            topic = topic_kind(connection.topic, connection.msgtype, reader, raw)
            if topic is not None:
                kinds[connection.topic] = topic
    return [topic.counted(counts[name]) for name, topic in kinds.items()]


def _first(reader: AnyReader, topic: Topic) -> bytes:
    connections = [c for c in reader.connections if c.topic == topic.name]
    connection, _, raw = next(reader.messages(connections))
    return _cdr(reader, connection, raw)


def _cdr(reader: AnyReader, connection: Connection, raw: bytes) -> bytes:
    """Return the message as ROS 2 has it on the wire; a rewrite of bytes for ROS 1 bags."""
    if reader.is2:
        return raw
    # By the ROS 2 definitions: those that the bag brings would keep the sequence number, which
    # headers have in ROS 1 only.
    return bytes(_ROS2_TYPES.ros1_to_cdr(raw, connection.msgtype))


def _digest(path: Path) -> str:
    """Hash a bag file, or names and content of all storage files of a bag directory."""
    if path.is_file():
        return sha256(path)
    files = sorted(p for p in path.iterdir() if p.suffix in {".db3", ".mcap", ".zstd", ".yaml"})
    lines = "".join(f"{file.name} {sha256(file)}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()
