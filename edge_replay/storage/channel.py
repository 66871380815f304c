"""What every kind of file of a recording is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence


@dataclass(frozen=True)
class Channel:
    """A topic as one file has it.

    Attributes:
        type: as ROS 2 writes it, "sensor_msgs/msg/Image".
        encoding: of the messages: "cdr", "ros1", "json", "protobuf".
        count: of messages, as far as the file can be read.
    """

    id: int
    topic: str
    type: str
    encoding: str
    count: int


class Storage(Protocol):
    """One file. Damage behind its beginning is noted, and costs only what it covers."""

    @property
    def channels(self) -> Sequence[Channel]:
        """Its topics."""

    def messages(self, channels: Collection[int]) -> Iterator[tuple[int, int, bytes]]:
        """Read (channel, record time [ns], message) of some channels, in the order of time."""


def ros2_type(name: str) -> str:
    """Return a type as ROS 2 writes it: "sensor_msgs/Image" is "sensor_msgs/msg/Image"."""
    package, _, rest = name.partition("/")
    return f"{package}/msg/{rest}" if rest and "/" not in rest else name
