"""The files beside an ONNX graph that hold its weights, read off the graph without `onnx`.

Field numbers are those of onnx.proto; the robot has no `onnx`, whose classes would know them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor",
        6: "graph",
        10: "tensor",
        11: "graph",
        22: "sparse tensor",
        23: "sparse tensor",
    },
    "sparse tensor": {1: "tensor", 2: "tensor"},
    "tensor": {13: "external data"},
}
_KEY, _VALUE = 1, 2
# Protobuf's wire types. A group is its fields between two marks without content.
_VARINT, _EIGHT_BYTES, _COUNTED, _GROUP, _END_OF_GROUP, _FOUR_BYTES = range(6)
_MORE, _SEVEN_BITS = 0x80, 0x7F


def external_files(graph: bytes) -> set[str]:
    """Return the locations, relative to the graph's own folder, as they stand there.

    What is no ONNX graph has none from where it stops being one: ONNX Runtime refuses it.
    """
    found = set()
    pending = [("model", memoryview(graph))]
    while pending:
        kind, message = pending.pop()
        fields = _fields(message)
        if kind == "external data":
            entry = {number: bytes(content) for number, content in fields}
            if entry.get(_KEY) == b"location":
                found.add(entry.get(_VALUE, b"").decode(errors="replace"))
        else:
            inside = _INSIDE[kind]
            pending += [(inside[number], content) for number, content in fields if number in inside]
    return found


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield number and content of the fields that can hold a message."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        wire = tag & 7
        if wire == _VARINT:
            _, at = _varint(message, at)
        elif wire == _EIGHT_BYTES:
            at += 8
        elif wire == _FOUR_BYTES:
            at += 4
        elif wire == _COUNTED:
            size, at = _varint(message, at)
            yield tag >> 3, message[at : at + size]
            at += size
        elif wire not in {_GROUP, _END_OF_GROUP}:
            return


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return a number of seven bits a byte, the lowest first, and where it ends."""
    value = shift = 0
    for byte in message[at : at + 10]:
        value |= (byte & _SEVEN_BITS) << shift
        shift += 7
        at += 1
        if not byte & _MORE:
            break
    return value, at
