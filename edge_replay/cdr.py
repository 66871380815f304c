"""The stamp inside a serialised ROS 2 message, read and replaced without decoding the rest.

Messages travel from bag to DDS as the bytes they are: an image is never turned into Python
objects on the way. All message types here begin with a std_msgs/Header, hence with its stamp:
4 bytes of CDR encapsulation (the second one tells the byte order), int32 seconds, uint32
nanoseconds.
"""

from __future__ import annotations

import struct

from edge_runtime.errors import MessageError

_BEGIN = 4
_END = 12
_SECOND = 1_000_000_000


def stamp_of(message: bytes) -> int:
    """Return the header's stamp in ns.

    Raises:
        MessageError: the message is too short to hold one.
    """
    if len(message) < _END:
        text = f"serialised message of {len(message)} bytes has no header stamp"
        raise MessageError(text)
    seconds, nanoseconds = struct.unpack_from(_layout(message), message, _BEGIN)
    return int(seconds) * _SECOND + int(nanoseconds)


def restamped(message: bytes, stamp: int) -> bytes:
    """Return a copy whose header carries `stamp` (ns)."""
    view = memoryview(message)
    time = struct.pack(_layout(message), *divmod(stamp, _SECOND))
    return b"".join((view[:_BEGIN], time, view[_END:]))


def _layout(message: bytes) -> str:
    return "<iI" if message[1] & 1 else ">iI"
