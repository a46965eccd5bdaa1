"""A small writer of glTF 2.0: JSON and one binary buffer, as `.glb` or as `.gltf` with its `.bin`.

Written from the glTF 2.0 specification (Khronos Group): every accessor gets a buffer view of its own, aligned to four
bytes; matrices are column by column; y is up, metres, which are our world's own conventions.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import spatialavatar

POINTS, TRIANGLES = 0, 4
_ARRAY_BUFFER, _ELEMENT_ARRAY_BUFFER = 34962, 34963
_COMPONENT_TYPES = {"int8": 5120, "uint8": 5121, "int16": 5122, "uint16": 5123, "uint32": 5125, "float32": 5126}
_TYPES = {(): "SCALAR", (2,): "VEC2", (3,): "VEC3", (4,): "VEC4", (4, 4): "MAT4"}
_GLB_MAGIC, _JSON_CHUNK, _BINARY_CHUNK = 0x46546C67, 0x4E4F534A, 0x004E4942

Use = Literal["vertices", "indices", "other"]


class GltfWriter:
    """Collects the parts of one document. `document` is the JSON as it grows; the adders return indices into it."""

    def __init__(self) -> None:
        self.document: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": f"spatialavatar {spatialavatar.__version__}"}
        }
        self._binary = bytearray()

    def add(self, kind: str, value: dict[str, Any]) -> int:
        """Append to one of the document's lists (`nodes`, `meshes`, `materials`, ...)."""
        entries = self.document.setdefault(kind, [])
        entries.append(value)
        return len(entries) - 1

    def use_extension(self, name: str) -> None:
        """List an extension as used; a reader without it still shows something."""
        used = self.document.setdefault("extensionsUsed", [])
        if name not in used:
            used.append(name)

    def add_view(self, content: bytes, use: Use = "other") -> int:
        """Append bytes to the buffer as a buffer view."""
        self._binary += b"\0" * (-len(self._binary) % 4)
        view: dict[str, Any] = {"buffer": 0, "byteOffset": len(self._binary), "byteLength": len(content)}
        if use != "other":
            view["target"] = _ARRAY_BUFFER if use == "vertices" else _ELEMENT_ARRAY_BUFFER
        self._binary += content
        return self.add("bufferViews", view)

    def add_accessor(
        self, values: NDArray[Any], use: Use = "vertices", *, bounds: bool = False, normalized: bool = False
    ) -> int:
        """Append an array (N,), (N, 2..4) or (N, 4, 4).

        Args:
            bounds: State minimum and maximum, as positions need.
            normalized: Integers stand for fractions of their range.
        """
        accessor = self._accessor(values, bounds)
        # Matrices are stored column by column.
        content = np.ascontiguousarray(np.swapaxes(values, 1, 2) if values.ndim == 3 else values)
        accessor["bufferView"] = self.add_view(_little_endian(content), use)
        if normalized:
            accessor["normalized"] = True
        return self.add("accessors", accessor)

    def add_displacements(self, values: NDArray[np.float32]) -> int:
        """Append the displacements (V, 3) of a morph target, sparse where that is smaller."""
        moved = np.flatnonzero(np.abs(values).max(1) > 0)
        # Sparse costs 4 + 12 bytes for each moved vertex, dense 12 for every vertex.
        if 16 * len(moved) >= 12 * len(values) or len(moved) == 0:
            return self.add_accessor(values, bounds=True)
        accessor = self._accessor(values, bounds=True)
        accessor["sparse"] = {
            "count": len(moved),
            "indices": {"bufferView": self.add_view(_little_endian(moved.astype(np.uint32))), "componentType": 5125},
            "values": {"bufferView": self.add_view(_little_endian(values[moved]))},
        }
        return self.add("accessors", accessor)

    def add_image(self, png: bytes, name: str) -> int:
        """Append a PNG picture, embedded in the buffer."""
        return self.add("images", {"bufferView": self.add_view(png), "mimeType": "image/png", "name": name})

    def scene(self, nodes: Sequence[int], name: str) -> None:
        """The scene that is shown."""
        self.document["scene"] = self.add("scenes", {"name": name, "nodes": list(nodes)})

    def glb(self) -> bytes:
        """The whole document as one binary file."""
        binary = bytes(self._binary) + b"\0" * (-len(self._binary) % 4)
        document = {**self.document, "buffers": [{"byteLength": len(binary)}]} if binary else self.document
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<II", len(text), _JSON_CHUNK) + text
        if binary:
            chunks += struct.pack("<II", len(binary), _BINARY_CHUNK) + binary
        return struct.pack("<III", _GLB_MAGIC, 2, 12 + len(chunks)) + chunks

    @staticmethod
    def _accessor(values: NDArray[Any], bounds: bool) -> dict[str, Any]:
        accessor: dict[str, Any] = {
            "componentType": _COMPONENT_TYPES[values.dtype.name],
            "count": len(values),
            "type": _TYPES[values.shape[1:]],
        }
        if bounds:
            accessor["min"] = np.atleast_1d(values.min(0)).tolist()
            accessor["max"] = np.atleast_1d(values.max(0)).tolist()
        return accessor


def _little_endian(values: NDArray[Any]) -> bytes:
    return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
