"""Posed Gaussians as `.spz`, Niantic's compressed format: one tenth of the `.ply`.

Written from the format's public description: one gzip stream of a 16-byte header and then, Gaussian after Gaussian
within each, positions (3 x 24-bit fixed point), opacities (8 bits), colours (8 bits of 0.15 f_dc + 0.5), logarithms of
scales (8 bits in sixteenths from -10) and rotations. Version 2 stores x, y, z of a rotation in 8 bits each, version 3
the three smallest of its components in 10. The axes are x right, y up, z back, our world's own.
"""

from __future__ import annotations

import gzip
import os
import struct
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from spatialavatar.errors import UserError
from spatialavatar.export.ply import DC_BASIS
from spatialavatar.files import write_atomically
from spatialavatar.splat.gaussians import WorldGaussians

MAGIC = 0x5053474E
FRACTION_BITS = 16
"""Positions in steps of 15 micrometres, up to 128 metres."""
_COLOR_SCALE = 0.15
_SQRT_HALF = np.float32(np.sqrt(0.5))
_LONGEST = 10_000_000


def write_spz(gaussians: WorldGaussians, path: str | os.PathLike[str], version: Literal[2, 3] = 3) -> None:
    """Write Gaussians, whole or not at all. Those that cannot be seen (opacity below 1/255) are left out.

    Args:
        version: 3 keeps rotations to a quarter of a degree. 2 opens in older readers and turns some by ten degrees.

    Raises:
        UserError: They have other than three colour channels, or the file cannot be written.
    """
    if gaussians.colors.shape[1] != 3:
        raise UserError(f"a .spz holds three colour channels, not {gaussians.colors.shape[1]}.", where=path)
    visible = gaussians.detach().to("cpu", torch.float32)
    visible = visible[visible.opacities >= 1 / 255]
    steps = (visible.positions.numpy().astype(np.float64) * 2**FRACTION_BITS).round()
    fixed = np.clip(steps, -(2**23), 2**23 - 1).astype("<i4")
    positions = fixed.reshape(-1, 1).view(np.uint8)[:, :3]
    coefficients = (visible.colors.numpy() - 0.5) / DC_BASIS
    colors = _bytes((coefficients * _COLOR_SCALE + 0.5) * 255)
    scales = _bytes((np.log(visible.scales.numpy().clip(min=1e-12)) + 10) * 16)
    xyzw = visible.quaternions_wxyz.numpy()[:, [1, 2, 3, 0]]
    xyzw = xyzw / np.linalg.norm(xyzw, axis=1, keepdims=True).clip(min=1e-12)
    rotations = _smallest_three(xyzw) if version == 3 else _first_three(xyzw)
    header = struct.pack("<IIIBBBB", MAGIC, version, len(visible), 0, FRACTION_BITS, 0, 0)
    parts = [positions, _bytes(visible.opacities.numpy() * 255), colors, scales, rotations]
    content = gzip.compress(header + b"".join(np.ascontiguousarray(part).tobytes() for part in parts), mtime=0)
    with write_atomically(path) as temporary:
        temporary.write_bytes(content)


def read_spz(path: str | os.PathLike[str]) -> WorldGaussians:
    """Read such a file of version 2 or 3; colours beyond the constant ones are left out.

    Raises:
        UserError: It is no such file.
    """
    try:
        with gzip.open(path, "rb") as file:
            header = file.read(16)
            if len(header) < 16 or struct.unpack_from("<I", header)[0] != MAGIC:
                raise UserError("this is not a .spz file.", where=path)
            _, version, count, _, fraction_bits, _, _ = struct.unpack("<IIIBBBB", header)
            if version not in (2, 3) or count > _LONGEST:
                raise UserError(f"this .spz file has version {version}; versions 2 and 3 are read.", where=path)
            widths = {"positions": 9, "opacities": 1, "colors": 3, "scales": 3, "rotations": 3 if version == 2 else 4}
            body = file.read(count * sum(widths.values()))
    except FileNotFoundError:
        raise UserError("there is no such file.", where=path) from None
    except (OSError, EOFError) as error:
        raise UserError(f"this is not a readable .spz file ({error}).", where=path) from None
    if len(body) < count * sum(widths.values()):
        raise UserError("this file is cut short.", where=path)
    parts: dict[str, NDArray[np.uint8]] = {}
    start = 0
    for name, width in widths.items():
        parts[name] = np.frombuffer(body, np.uint8, count * width, start).reshape(count, width)
        start += count * width
    # The third byte carries the sign.
    triples = parts["positions"].reshape(-1, 3).astype(np.int32)
    fixed = triples[:, 0] | triples[:, 1] << 8 | ((triples[:, 2] ^ 0x80) - 0x80) << 16
    xyzw = _from_first_three(parts["rotations"]) if version == 2 else _from_smallest_three(parts["rotations"])
    coefficients = (parts["colors"].astype(np.float32) / 255 - 0.5) / _COLOR_SCALE
    return WorldGaussians(
        positions=_tensor(fixed.reshape(count, 3) / 2.0**fraction_bits),
        quaternions_wxyz=_tensor(xyzw[:, [3, 0, 1, 2]]),
        scales=_tensor(np.exp(parts["scales"] / np.float32(16) - 10)),
        opacities=_tensor(parts["opacities"][:, 0] / np.float32(255)),
        colors=_tensor(coefficients * DC_BASIS + 0.5),
    )


def _bytes(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def _tensor(values: NDArray[np.floating]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))


def _first_three(xyzw: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(N, 3): x, y, z of the quaternion whose w is not negative."""
    return _bytes(np.where(xyzw[:, 3:] < 0, -1, 1) * xyzw[:, :3] * 127.5 + 127.5)


def _from_first_three(stored: NDArray[np.uint8]) -> NDArray[np.float32]:
    xyz = stored.astype(np.float32) / np.float32(127.5) - 1
    w = np.sqrt(np.clip(1 - (xyz**2).sum(1, keepdims=True), 0, None))
    return np.concatenate([xyz, w], 1)


def _smallest_three(xyzw: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(N, 4) little-endian: 2 bits for which component is largest and made positive, then a sign and 9 bits for each
    of the other three, in order."""
    rows = np.arange(len(xyzw))
    largest = np.abs(xyzw).argmax(1)
    turned = xyzw * np.where(xyzw[rows, largest] < 0, -1, 1)[:, None]
    packed = largest.astype(np.uint32)
    for component in range(4):
        value = turned[:, component]
        # No other component can be larger than sqrt(1/2).
        magnitude = np.clip(np.abs(value) / _SQRT_HALF * 511 + 0.5, 0, 511).astype(np.uint32)
        bits = (value < 0).astype(np.uint32) << 9 | magnitude
        packed = np.where(largest == component, packed, packed << 10 | bits)
    return packed.astype("<u4").reshape(-1, 1).view(np.uint8)


def _from_smallest_three(stored: NDArray[np.uint8]) -> NDArray[np.float32]:
    packed = np.ascontiguousarray(stored).view("<u4")[:, 0].astype(np.uint32)
    largest = (packed >> 30).astype(np.int64)
    xyzw = np.zeros((len(packed), 4), np.float32)
    for component in range(3, -1, -1):
        bits = packed & 1023
        value = (bits & 511) / np.float32(511) * _SQRT_HALF * np.where(bits & 512, -1, 1)
        is_stored = largest != component
        xyzw[:, component] = np.where(is_stored, value, 0)
        packed = np.where(is_stored, packed >> 10, packed)
    xyzw[np.arange(len(xyzw)), largest] = np.sqrt(np.clip(1 - (xyzw**2).sum(1), 0, None))
    return xyzw
