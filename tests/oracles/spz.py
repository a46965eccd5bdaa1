"""A slow reader of `.spz` files, Gaussian by Gaussian, written from the format's public description."""

from __future__ import annotations

import gzip
import math
import struct
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Splat:
    position: tuple[float, ...]
    opacity: float
    color: tuple[float, ...]
    scale: tuple[float, ...]
    xyzw: tuple[float, ...]


def read_spz_slowly(path: Path) -> tuple[int, list[Splat]]:
    """The version and all Gaussians."""
    content = gzip.decompress(path.read_bytes())
    magic, version, count, degree, fraction_bits, flags, reserved = struct.unpack("<4sIIBBBB", content[:16])
    assert magic == b"NGSP" and degree == 0 and flags == 0 and reserved == 0
    turn_bytes = 4 if version == 3 else 3
    assert len(content) == 16 + count * (9 + 1 + 3 + 3 + turn_bytes)
    starts = [16, 16 + 9 * count, 16 + 10 * count, 16 + 13 * count, 16 + 16 * count]
    splats = []
    for index in range(count):
        place = content[starts[0] + 9 * index :][:9]
        position = tuple(
            int.from_bytes(place[3 * axis : 3 * axis + 3], "little", signed=True) / 2**fraction_bits
            for axis in range(3)
        )
        color = tuple(
            ((byte / 255 - 0.5) / 0.15) * 0.5 / math.sqrt(math.pi) + 0.5
            for byte in content[starts[2] + 3 * index :][:3]
        )
        scale = tuple(math.exp(byte / 16 - 10) for byte in content[starts[3] + 3 * index :][:3])
        turn = content[starts[4] + turn_bytes * index :][:turn_bytes]
        xyzw = _three_bytes(turn) if version == 2 else _smallest_three(turn)
        splats.append(Splat(position, content[starts[1] + index] / 255, color, scale, xyzw))
    return version, splats


def _three_bytes(turn: bytes) -> tuple[float, ...]:
    x, y, z = (byte / 127.5 - 1 for byte in turn)
    return x, y, z, math.sqrt(max(0.0, 1 - x * x - y * y - z * z))


def _smallest_three(turn: bytes) -> tuple[float, ...]:
    number = int.from_bytes(turn, "little")
    bits = f"{number:032b}"
    largest = int(bits[:2], 2)
    stored = [bits[2:12], bits[12:22], bits[22:32]]
    small = [(-1 if text[0] == "1" else 1) * int(text[1:], 2) / 511 / math.sqrt(2) for text in stored]
    rest = math.sqrt(max(0.0, 1 - sum(value * value for value in small)))
    small.insert(largest, rest)
    return tuple(small)
