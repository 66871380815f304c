"""A recording as a whole: the files that it is made of, told by their content, not their names."""

from __future__ import annotations

import re
import shutil
import tempfile
import weakref
from dataclasses import replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import yaml
from rosbags.typesys import Stores, get_typestore

from edge_replay.storage import mcap, ros1, sqlite
from edge_replay.storage.compression import (
    ZSTD_MAGIC,
    decompress,
    decompress_file,
)
from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from edge_replay.storage.channel import Channel, Storage

METADATA = "metadata.yaml"
# The definitions that a bag brings are not needed: the messages of cameras are the same in every
# ROS 2, and those of ROS 1 differ in the header's sequence number only.
TYPES = get_typestore(Stores.ROS2_HUMBLE)

_ENCODINGS = ("cdr", "ros1")
_STORED = re.compile(r".*\.(db3|mcap)(\.zstd?|\.zst)?", re.IGNORECASE)
_STORAGES: dict[bytes, Callable[[Path, Callable[[str], None]], Storage]] = {
    mcap.MAGIC: mcap.McapStorage,
    sqlite.MAGIC: sqlite.SqliteStorage,
    ros1.MAGIC: ros1.Ros1Storage,
}
_OTHERS = {
    b"version https://git-lfs": "it is a pointer of git-lfs: `git lfs pull` fetches the file",
    b"<": "it is a web page, saved in place of the file: download the file itself",
    b"PK\x03\x04": "it is a zip archive: unpack it",
    b"\x1f\x8b": "it is a gzip archive: unpack it",
}
_SHORTEST = 12  # what every message of a camera has: CDR's head and a stamp


class Bag:
    """A .bag, .mcap or .db3 file, or a ROS 2 bag directory.

    Attributes:
        channels: topic -> its channel in the first file that has it, with the messages of all
            files counted; only those whose messages can be turned into CDR.
        left_out: topics in other encodings, as error messages list them.
        is_empty: whether it holds no message of any encoding.
        notes: what of it cannot be read, and what helps; grows with the reading.
    """

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            SettingError: it is no recording, or nothing of it can be read.
        """
        self.path = path
        self.notes: list[str] = []
        self._storages = [self._opened(file) for file in self._files()]
        channels = [channel for storage in self._storages for channel in storage.channels]
        self.channels: dict[str, Channel] = {}
        for channel in channels:
            known = self.channels.get(channel.topic, replace(channel, count=0))
            if channel.encoding in _ENCODINGS and channel.type == known.type:
                self.channels[channel.topic] = replace(known, count=known.count + channel.count)
        self.is_empty = not any(channel.count for channel in channels)
        self.left_out = sorted(
            {f"{c.topic} ({c.encoding} {c.type})" for c in channels if c.topic not in self.channels}
        )

    def messages(self, topics: Collection[str]) -> Iterator[tuple[str, int, bytes]]:
        """Read (topic, record time [ns], CDR) of some topics, in the order of time."""
        for storage in self._storages:
            wanted = {c.id: c for c in storage.channels if c.topic in topics and self._reads(c)}
            if not wanted:
                continue
            try:
                for key, time, raw in storage.messages(wanted):
                    channel = wanted[key]
                    message = _cdr(channel, raw)
                    if message is None:
                        self.note(f"messages of {channel.topic} that are damaged are left out")
                    else:
                        yield channel.topic, time, message
            except OSError as error:
                self.note(f"{self.path} cannot be read to its end ({error.strerror})")

    def deserialize(self, message: bytes, type_: str) -> object:
        """Return the CDR message as an object."""
        return TYPES.deserialize_cdr(message, type_)

    def note(self, text: str) -> None:
        """Remember once what a reader of the results should know."""
        if text not in self.notes:
            self.notes.append(text)

    def _reads(self, channel: Channel) -> bool:
        known = self.channels.get(channel.topic)
        return known is not None and (channel.type, channel.encoding) == (
            known.type,
            known.encoding,
        )

    def _files(self) -> list[Path]:
        if self.path.is_dir():
            return self._listed() or self._found()
        if self.path.is_file():
            return [self.path]
        wrong = "is no file" if self.path.exists() else "does not exist"
        message = f"bag {self.path} {wrong}: give a .bag file or the directory of a ROS 2 bag"
        raise SettingError(message)

    def _listed(self) -> list[Path]:
        """Return the files that metadata.yaml names; none where it does not help."""
        reindex = f"`ros2 bag reindex {self.path}` makes it anew"
        try:
            content = yaml.safe_load((self.path / METADATA).read_text("utf-8"))
            listed = content["rosbag2_bagfile_information"]["relative_file_paths"]
            files = [self.path / PurePath(name).name for name in listed]
        except FileNotFoundError:
            self.note(f"{self.path} has no {METADATA}: {reindex}; its files are played as they are")
            return []
        except Exception:  # noqa: BLE001
            self.note(f"{METADATA} of {self.path} is damaged: {reindex}; it was not needed")
            return []
        there = [file for file in files if file.is_file()]
        if missing := ", ".join(file.name for file in files if file not in there):
            self.note(f"{self.path} lacks {missing}, which its {METADATA} names")
        return there

    def _found(self) -> list[Path]:
        files = [f for f in self.path.iterdir() if _STORED.fullmatch(f.name) and f.is_file()]
        if not files:
            message = (
                f"{self.path} holds no .db3 or .mcap file: give the directory of a ROS 2 bag, or "
                "a .bag file"
            )
            raise SettingError(message)
        # bag_10.db3 comes after bag_9.db3.
        return sorted(files, key=lambda file: [int(n) for n in re.findall(r"\d+", file.name)])

    def _opened(self, file: Path) -> Storage:
        try:
            with file.open("rb") as stream:
                head = stream.read(64)
        except OSError as error:
            message = f"{file} cannot be read ({error.strerror})"
            raise SettingError(message) from error
        if head.startswith(ZSTD_MAGIC):
            return self._opened(self._decompressed(file))
        for magic, storage in _STORAGES.items():
            if head.startswith(magic):
                return storage(file, self.note)
        begins = (text for magic, text in _OTHERS.items() if head.lstrip().startswith(magic))
        wrong = next(begins, "it begins with none of the marks of .bag, .mcap and .db3 files")
        message = f"{file} is no recording: {wrong if head else 'it is empty'}"
        raise SettingError(message)

    def _decompressed(self, file: Path) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="replay-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        target = folder / file.stem
        if not decompress_file(file, target):
            if not target.stat().st_size:
                message = f"{file} is cut off or damaged: nothing can be decompressed"
                raise SettingError(message)
            self.note(f"{file} is cut off or damaged: it is read as far as it goes")
        return target


def _cdr(channel: Channel, raw: bytes) -> bytes | None:
    """Return the message as ROS 2 has it on the wire; None where it is none."""
    try:
        if channel.encoding == "ros1":
            # A rewrite of bytes, without the sequence number that headers have in ROS 1 only.
            raw = bytes(TYPES.ros1_to_cdr(raw, channel.type))
        elif raw.startswith(ZSTD_MAGIC):
            raw = decompress(raw, "zstd")
    # Whatever rosbags comes upon in a damaged message.
    except Exception:  # noqa: BLE001
        return None
    return raw if len(raw) >= _SHORTEST else None
