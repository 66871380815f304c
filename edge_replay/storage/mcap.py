"""MCAP files (https://mcap.dev/spec), also cut off or damaged, with channels of any encoding."""

from __future__ import annotations

import heapq
import struct
from collections import Counter
from dataclasses import dataclass, replace
from struct import unpack_from
from typing import TYPE_CHECKING
from zlib import crc32

from edge_replay.storage.channel import Channel, ros2_type
from edge_replay.storage.compression import ALGORITHMS, CompressionError, decompress
from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path
    from typing import BinaryIO

MAGIC = b"\x89MCAP0\r\n"
_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _CHUNK_INDEX, _STATISTICS = 3, 4, 5, 6, 8, 11
_HEAD = 9  # of a record: opcode, length of the content
_MESSAGE_HEAD = 22  # channel, sequence, log time, publish time
_FOOTER = 20


@dataclass(frozen=True)
class _Part:
    """A piece of the file with messages.

    Attributes:
        begin: the first log time in it, ns.
        offset: where it stands; a chunk without its head, a message outside chunks with it.
        channels: the only ones that it holds; empty where the file does not say.
        cut: the file ends inside of it.
    """

    begin: int
    offset: int
    length: int
    is_chunk: bool = True
    channels: frozenset[int] = frozenset()
    cut: bool = False


class McapStorage:
    """An .mcap file; opened for each reading."""

    def __init__(self, path: Path, note: Callable[[str], None]) -> None:
        """Read its summary, or the whole file where it has none.

        Raises:
            SettingError: its chunks are compressed in a way that is not known here.
        """
        self._path = path
        self._note = note
        self._size = path.stat().st_size
        self._schemas: dict[int, str] = {}
        self._names: dict[int, tuple[str, str, str]] = {}
        self._counts: Counter[int] = Counter()
        self._parts: list[_Part] = []
        with path.open("rb") as file:
            if not self._read_summary(file):
                self._parts.clear()
                self._counts.clear()
                self._scan(file)
        self._parts.sort(key=lambda part: part.begin)
        self.channels = [Channel(key, *n, self._counts[key]) for key, n in self._names.items()]

    def messages(self, channels: Collection[int]) -> Iterator[tuple[int, int, bytes]]:
        """See `Storage`."""
        waiting: list[tuple[int, int, int, bytes]] = []
        order = 0
        with self._path.open("rb") as file:
            for part in self._parts:
                if part.channels and part.channels.isdisjoint(channels):
                    continue
                # Parts may overlap in time: what is later than the next one's beginning waits.
                while waiting and waiting[0][0] < part.begin:
                    time, _, channel, message = heapq.heappop(waiting)
                    yield channel, time, message
                for opcode, record in _records(self._content(file, part)):
                    if opcode == _MESSAGE and len(record) >= _MESSAGE_HEAD:
                        channel, _, time = unpack_from("<HIQ", record)
                        if channel in channels:
                            message = bytes(record[_MESSAGE_HEAD:])
                            heapq.heappush(waiting, (time, order, channel, message))
                            order += 1
            while waiting:
                time, _, channel, message = heapq.heappop(waiting)
                yield channel, time, message

    def _read_summary(self, file: BinaryIO) -> bool:
        """Read the index behind the data; return whether it is there, and complete."""
        end = len(MAGIC) + _FOOTER + _HEAD
        file.seek(max(0, self._size - end))
        footer = file.read()
        if len(footer) < end or not footer.endswith(MAGIC):
            self._note(f"{self._path} has no end: it is read as far as it goes; {self._remedy()}")
            return False
        (begin,) = unpack_from("<Q", footer, _HEAD)
        if not len(MAGIC) < begin < self._size:
            return False
        file.seek(begin)
        chunks = 0
        try:
            for opcode, record in _records(file.read(self._size - begin)):
                if opcode == _STATISTICS:
                    (chunks,) = unpack_from("<I", record, 22)
                    (length,) = unpack_from("<I", record, 42)
                    self._counts.update(dict(struct.iter_unpack("<HQ", record[46 : 46 + length])))
                elif opcode == _CHUNK_INDEX:
                    self._parts.append(_indexed(record))
                else:
                    self._take_names(opcode, record)
        except struct.error:
            return False
        # Messages that stand outside chunks have no index.
        return 0 < chunks == len(self._parts) and bool(self._names)

    def _scan(self, file: BinaryIO) -> None:
        """Read the file record by record, until its end or where it is no MCAP any more."""
        at = len(MAGIC)
        while at + _HEAD <= self._size:
            file.seek(at)
            opcode, length = unpack_from("<BQ", file.read(_HEAD))
            begin, at = at + _HEAD, at + _HEAD + length
            if opcode == 0 or (at > self._size and opcode != _CHUNK):
                break
            try:
                if opcode == _CHUNK:
                    inside = min(length, self._size - begin)
                    self._scan_part(file, _Part(0, begin, inside, cut=at > self._size))
                elif opcode == _MESSAGE:
                    self._scan_part(file, _Part(0, begin - _HEAD, length + _HEAD, is_chunk=False))
                elif opcode in {_SCHEMA, _CHANNEL}:
                    self._take_names(opcode, memoryview(file.read(length)))
            except struct.error:
                break
        if at < self._size - len(MAGIC):
            self._note(f"{self._path} is damaged from byte {at} on; {self._remedy()}")

    def _scan_part(self, file: BinaryIO, part: _Part) -> None:
        times = []
        for opcode, record in _records(self._content(file, part)):
            if opcode == _MESSAGE:
                channel, _, time = unpack_from("<HIQ", record)
                self._counts[channel] += 1
                times.append(time)
            else:
                self._take_names(opcode, record)
        if times:
            self._parts.append(replace(part, begin=min(times)))

    def _take_names(self, opcode: int, record: memoryview) -> None:
        if opcode == _SCHEMA:
            name, _ = _string(record, 2)
            self._schemas[unpack_from("<H", record)[0]] = name
        elif opcode == _CHANNEL:
            key, schema = unpack_from("<HH", record)
            topic, at = _string(record, 4)
            encoding, _ = _string(record, at)
            self._names[key] = topic, ros2_type(self._schemas.get(schema, "")), encoding

    def _content(self, file: BinaryIO, part: _Part) -> bytes:
        """Return the records of a part; none where it is damaged, which is noted."""
        file.seek(part.offset)
        data = file.read(part.length)
        if not part.is_chunk:
            return data
        try:
            size, checksum = unpack_from("<QI", data, 16)
            algorithm, at = _string(data, 28)
            if algorithm not in ALGORITHMS:
                raise SettingError(self._unknown(algorithm))
            (length,) = unpack_from("<Q", data, at)
            content = decompress(data[at + 8 : at + 8 + length], algorithm)
        except struct.error:
            wrong = "no chunk stands there"
        except CompressionError as error:
            wrong = str(error)
        else:
            whole = len(content) == size and checksum in {0, crc32(content)}
            if whole or part.cut:
                return content
            wrong = "its checksum differs"
        self._note(
            f"{self._path}: the chunk at byte {part.offset - _HEAD} is damaged ({wrong}), and its "
            f"messages are left out; {self._remedy()}"
        )
        return b""

    def _remedy(self) -> str:
        return f"`mcap recover {self._path.name} -o NEW.mcap` saves what can be read"

    def _unknown(self, algorithm: str) -> str:
        return (
            f"{self._path} is compressed with {algorithm!r}, but zstd, lz4 or nothing is needed: "
            f"`mcap compress --compression zstd {self._path.name} -o NEW.mcap` changes it"
        )


def _records(data: bytes) -> Iterator[tuple[int, memoryview]]:
    """Give opcode and content of each record, up to one that is cut off."""
    view = memoryview(data)
    at = 0
    while at + _HEAD <= len(view):
        opcode, length = unpack_from("<BQ", view, at)
        begin, at = at + _HEAD, at + _HEAD + length
        if at <= len(view):
            yield opcode, view[begin:at]


def _indexed(record: memoryview) -> _Part:
    begin, _, offset, length, index = unpack_from("<QQQQI", record)
    channels = frozenset(c for c, _ in struct.iter_unpack("<HQ", record[36 : 36 + index]))
    return _Part(begin, offset + _HEAD, length - _HEAD, channels=channels)


def _string(data: bytes | memoryview, at: int) -> tuple[str, int]:
    """Return the string that begins there, and where it ends."""
    (length,) = unpack_from("<I", data, at)
    end = at + 4 + length
    return bytes(data[at + 4 : end]).decode(errors="replace"), end
