"""ROS 1 bags, through rosbags."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rosbags.rosbag1 import Reader, ReaderError

from edge_replay.storage.channel import Channel
from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

MAGIC = b"#ROSBAG V"
# For what rosbags says; everything else is an index that is missing, old or damaged.
_REMEDIES = {"encryption": "decrypt", "Compression": "decompress"}


class Ros1Storage:
    """A .bag file; opened for each reading."""

    def __init__(self, path: Path, note: Callable[[str], None]) -> None:
        """Read its index.

        Raises:
            SettingError: it has none, or a damaged one.
        """
        self._path = path
        self._note = note
        try:
            with Reader(path) as reader:
                self.channels = [
                    Channel(c.id, c.topic, c.msgtype, "ros1", c.msgcount)
                    for c in reader.connections
                ]
        # rosbags lets through whatever its parsing of damaged bytes raises.
        except Exception as error:
            cause = _cause(error)
            message = f"{path} cannot be read ({cause}): {_remedy(cause, path)}"
            raise SettingError(message) from error

    def messages(self, channels: Collection[int]) -> Iterator[tuple[int, int, bytes]]:
        """See `Storage`."""
        try:
            with Reader(self._path) as reader:
                wanted = [c for c in reader.connections if c.id in channels]
                for connection, time, data in reader.messages(wanted):
                    yield connection.id, time, data
        except Exception as error:  # noqa: BLE001 (see above)
            cause = _cause(error)
            self._note(
                f"{self._path} is damaged ({cause}), and what follows is left out: "
                f"{_remedy(cause, self._path)}"
            )


def _cause(error: Exception) -> str:
    text = str(error).partition(": (")[0].rstrip(".")
    return text if isinstance(error, ReaderError) and text else "its bytes are no records of a bag"


def _remedy(cause: str, path: Path) -> str:
    command = next((c for word, c in _REMEDIES.items() if word in cause), "reindex")
    return f"`rosbag {command} {path.name}` makes it readable, in an installation of ROS 1"
