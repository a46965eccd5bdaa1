"""The UDP packets of the Live Link Face app (version 6 of their layout, docs/live.md)."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from spatialavatar.drive.live_protocol import Frame
from spatialavatar.drive.recording import ARKIT_NAMES

DEFAULT_PORT = 11111
VERSION = 6
VALUES = 61
"""52 weights, then yaw, pitch and roll of the head, the left eye and the right eye."""
_LONGEST_NAME = 256


@dataclass(frozen=True)
class Packet:
    """One packet.

    subject: The name given in the app.
    rate: Frames per second of its clock.
    frame: None when the app sees no face.
    """

    device: str
    subject: str
    rate: float
    frame: Frame | None


def read_packet(content: bytes) -> Packet | None:
    """Read a packet, or None where it is none: anybody may send anything to a UDP port."""
    try:
        if content[0] != VERSION:
            return None
        device, start = _text(content, 1)
        subject, start = _text(content, start)
        number, _, numerator, denominator = struct.unpack_from(">ifii", content, start)
        start += 16
        if denominator <= 0 or numerator <= 0:
            return None
        if len(content) == start:
            return Packet(device, subject, numerator / denominator, None)
        if content[start] != VALUES or len(content) != start + 1 + 4 * VALUES:
            return None
        values = struct.unpack_from(f">{VALUES}f", content, start + 1)
    except (IndexError, struct.error, UnicodeDecodeError):
        return None
    if not all(math.isfinite(value) and abs(value) < 1000 for value in values):
        return None
    count = len(ARKIT_NAMES)
    weights = tuple(min(1.0, max(0.0, value)) for value in values[:count])
    yaw, pitch, roll, left_yaw, left_pitch, _, right_yaw, right_pitch, _ = values[count:]
    eyes = (left_yaw, left_pitch, right_yaw, right_pitch)
    frame = Frame(weights, (yaw, pitch, roll), eyes, max(0, number))
    return Packet(device, subject, numerator / denominator, frame)


def write_packet(packet: Packet, number: int = 0) -> bytes:
    """A packet as the app sends it, to try a receiver without a phone."""
    content = bytes([VERSION])
    for text in (packet.device, packet.subject):
        encoded = text.encode()
        content += struct.pack(">i", len(encoded)) + encoded
    content += struct.pack(">ifii", number, 0.0, round(packet.rate), 1)
    if packet.frame is None:
        return content
    eyes = packet.frame.eyes or (0.0, 0.0, 0.0, 0.0)
    values = (*packet.frame.weights, *packet.frame.head, eyes[0], eyes[1], 0.0, eyes[2], eyes[3], 0.0)
    return content + bytes([VALUES]) + struct.pack(f">{VALUES}f", *values)


def _text(content: bytes, start: int) -> tuple[str, int]:
    """A text with its length before it, and where it ends."""
    (length,) = struct.unpack_from(">i", content, start)
    start += 4
    if not 0 <= length <= _LONGEST_NAME or start + length > len(content):
        raise IndexError
    return content[start : start + length].decode("utf-8").rstrip("\0"), start + length
