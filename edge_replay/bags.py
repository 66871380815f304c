"""Recordings of any kind (ROS 1 .bag, ROS 2 sqlite3 or mcap) as frames ready to publish."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

from edge_replay.cdr import restamped, stamp_of
from edge_replay.ground_truth import read_transforms, read_truth
from edge_replay.storage.bag import Bag
from edge_replay.timeline import SECOND, make_timeline
from edge_replay.topics import CAMERA_INFO, Topic, choose_topics, topic_kind
from edge_runtime.errors import SettingError
from edge_runtime.files import sha256
from edge_runtime.pairing import SLOP_S, RecordedPairing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from edge_replay.timeline import Timeline
    from edge_runtime.interface import Input
    from edge_runtime.trajectory import Trajectory

_WAITING_LIMIT = 30
_LOOKED_AT = 10
# Farther than any slop: only messages at the same place of their topics belong together.
_PLACE = 100 * SECOND


@dataclass(frozen=True)
class RecordedFrame:
    """What one camera frame makes the driver publish.

    Attributes:
        stamp: of the image, ns.
        time: when it is due at the recording's own pace, ns after the first image.
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
        seconds: from the first image to the last, at the pace at which they are played.
        digest: SHA-256 of the bag's content.
        pace_notes: what is not played at the recorded pace, and why.
    """

    def __init__(
        self,
        path: Path,
        inputs: Sequence[Input],
        chosen: Mapping[str, str],
        slop: float = SLOP_S,
    ) -> None:
        """Open a bag, settle its topics and look at all times of its images.

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
        self._slop_ns = round(slop * SECOND)
        self._bag = Bag(path)
        self.topics, self._topic_notes = self._settled_topics(chosen)
        self._first_infos = {
            role: next(self._bag.messages([topic.name]))[2]
            for role, topic in self.topics.items()
            if topic.kind == "camera_info"
        }
        self._timeline = self._look_at_times()
        self.images = len(self._timeline.due)
        self.seconds = self._timeline.due[-1] / SECOND
        self.pace_notes = self._timeline.pace_notes
        self.digest = _digest(path)

    @property
    def notes(self) -> list[str]:
        """What a reader of the results should know about it."""
        return [*self._topic_notes, *self._bag.notes, *self._timeline.notes]

    @property
    def compressed(self) -> bool:
        """Whether its images are CompressedImage."""
        return self._image.compressed

    @cached_property
    def camera_infos(self) -> dict[str, Any]:
        """Input topic -> the first camera info that the bag has for it, as rosbags reads it."""
        return {
            role: self._bag.deserialize(message, CAMERA_INFO)
            for role, message in self._first_infos.items()
        }

    @cached_property
    def truth(self) -> Trajectory | None:
        """The poses of /ground_truth/pose, None where the bag has none."""
        return read_truth(self._bag)

    @cached_property
    def transforms(self) -> list[Any]:
        """The geometry_msgs/TransformStamped of /tf_static, then those of /tf, as recorded."""
        return read_transforms(self._bag)

    def frames(self) -> Iterator[RecordedFrame]:
        """Read the frames in recorded order.

        Every frame carries the camera infos recorded last before it (the first ones of the bag
        where none were), and the accompanying images nearest in stamp, within the slop. Where the
        stamps of the images do not tell them apart, record times take their place.
        """
        line = self._timeline
        first = self._inputs[0].topic
        pairing = RecordedPairing(first, [], self._companions(), held=_WAITING_LIMIT)
        pairing.slop_ns = self._slop_ns
        infos = dict(self._first_infos)
        roles = {topic.name: role for role, topic in self.topics.items()}
        places: Counter[str] = Counter()
        for topic, time, message in self._bag.messages(roles):
            role = roles[topic]
            place = places[role]
            places[role] += 1
            if role in infos:
                infos[role] = message
                continue
            content: Any = message
            if role == first:
                content = _Image(line.stamps[place], line.due[place], message, dict(infos))
            moments = {"stamp": stamp_of(message), "time": time, "place": place * _PLACE}
            # The earliest is not 0, which would mean that there is no stamp.
            moment = moments[line.paired_by] + 1
            yield from map(self._frame, pairing.add(role, moment, content, 0.0))
        yield from map(self._frame, pairing.rest())

    def _frame(self, found: dict[str, Any]) -> RecordedFrame:
        first, *companions = found
        image: _Image = found[first]
        messages = [*image.infos.items(), *((role, found[role]) for role in companions)]
        frame = RecordedFrame(image.stamp, image.due, (*messages, (first, image.message)))
        return self._stamped(frame)

    def _stamped(self, frame: RecordedFrame) -> RecordedFrame:
        """Give all messages of a frame its stamp, where their own tell nothing."""
        if self._timeline.paired_by == "stamp" and stamp_of(frame.image) == frame.stamp:
            return frame
        messages = [(role, restamped(message, frame.stamp)) for role, message in frame.messages]
        return replace(frame, messages=tuple(messages))

    def _look_at_times(self) -> Timeline:
        moments: dict[str, list[tuple[int, int]]] = {
            self.topics[role].name: [] for role in [self._inputs[0].topic, *self._companions()]
        }
        for topic, time, message in self._bag.messages(moments):
            moments[topic].append((time, stamp_of(message)))
        images, *companions = moments.values()
        return make_timeline(
            [time for time, _ in images],
            [stamp for _, stamp in images],
            [[stamp for _, stamp in companion] for companion in companions],
        )

    @property
    def _image(self) -> Topic:
        return self.topics[self._inputs[0].topic]

    def _companions(self) -> list[str]:
        first = self._inputs[0].topic
        return [r for r, t in self.topics.items() if t.kind != "camera_info" and r != first]

    def _settled_topics(self, chosen: Mapping[str, str]) -> tuple[dict[str, Topic], list[str]]:
        bag = self._bag
        available = _topics(bag)
        if not available and (bag.notes or bag.is_empty):
            reasons = bag.notes or ["it holds no messages; look whether its topics were published"]
            message = f"nothing can be read from {self.path}: {'; '.join(reasons)}"
            raise SettingError(message)
        try:
            return choose_topics(str(self.path), self._inputs, available, chosen)
        except SettingError as error:
            if not bag.left_out:
                raise
            message = f"{error}; topics in other encodings: {', '.join(bag.left_out)}"
            raise SettingError(message) from error


@dataclass(frozen=True)
class _Image:
    """An image, and what its frame will carry."""

    stamp: int
    due: int
    message: bytes
    infos: dict[str, bytes]


def _topics(bag: Bag) -> list[Topic]:
    """Look at the beginning of every topic."""
    topics = []
    for name, channel in bag.channels.items():
        for _, _, message in islice(bag.messages([name] if channel.count else []), _LOOKED_AT):
            try:
                topic = topic_kind(name, channel.type, bag, message)
            # Whatever rosbags comes upon in a damaged message: perhaps the next one is whole.
            except Exception:  # noqa: BLE001, S112
                continue
            if topic is not None:
                topics.append(topic.counted(channel.count))
            break
    return topics


def _digest(path: Path) -> str:
    """Hash a bag file, or names and content of all storage files of a bag directory."""
    if path.is_file():
        return sha256(path)
    files = sorted(p for p in path.iterdir() if p.suffix in {".db3", ".mcap", ".zstd", ".yaml"})
    lines = "".join(f"{file.name} {sha256(file)}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()
