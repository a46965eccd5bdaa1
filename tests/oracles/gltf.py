"""A slow reader of `.glb` files, written from the glTF 2.0 specification and sharing nothing with the writer."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


@dataclass(frozen=True)
class Glb:
    document: dict[str, Any]
    binary: bytes

    def array(self, index: int) -> np.ndarray:
        """The accessor's elements as (N, width), sparse values put in, fractions resolved."""
        accessor = self.document["accessors"][index]
        kind, width, count = COMPONENTS[accessor["componentType"]], WIDTHS[accessor["type"]], accessor["count"]
        values = np.zeros((count, width), kind)
        if "bufferView" in accessor:
            values = self._view(accessor["bufferView"], kind, count * width).reshape(count, width).copy()
        if "sparse" in accessor:
            sparse = accessor["sparse"]
            moved = self._view(
                sparse["indices"]["bufferView"], COMPONENTS[sparse["indices"]["componentType"]], sparse["count"]
            )
            assert (np.diff(moved.astype(np.int64)) > 0).all(), "sparse indices ascend"
            values[moved] = self._view(sparse["values"]["bufferView"], kind, sparse["count"] * width).reshape(-1, width)
        if "min" in accessor:
            assert np.array_equal(values.min(0), np.array(accessor["min"], kind))
            assert np.array_equal(values.max(0), np.array(accessor["max"], kind))
        if accessor.get("normalized"):
            return values / np.iinfo(kind).max
        return values

    def _view(self, index: int, kind: str, count: int) -> np.ndarray:
        view = self.document["bufferViews"][index]
        assert view["byteOffset"] % 4 == 0 and "byteStride" not in view
        assert view["byteLength"] == count * np.dtype(kind).itemsize
        return np.frombuffer(self.binary, kind, count, view["byteOffset"])

    def image(self, index: int) -> bytes:
        view = self.document["bufferViews"][self.document["images"][index]["bufferView"]]
        return self.binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]


def read_glb(path: Path) -> Glb:
    content = path.read_bytes()
    magic, version, length = struct.unpack_from("<4sII", content)
    assert (magic, version, length) == (b"glTF", 2, len(content))
    start, chunks = 12, {}
    while start < length:
        size, kind = struct.unpack_from("<I4s", content, start)
        assert size % 4 == 0
        chunks[kind] = content[start + 8 : start + 8 + size]
        start += 8 + size
    document = json.loads(chunks[b"JSON"])
    binary = chunks[b"BIN\0"]
    assert document["asset"]["version"] == "2.0"
    assert 0 <= len(binary) - document["buffers"][0]["byteLength"] < 4
    return Glb(document, binary)


def posed_vertices(glb: Glb, weights: np.ndarray, rotations: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """The first primitive's vertices as an engine poses them: morph targets, then the skin.

    Args:
        weights: (E,) of the morph targets.
        rotations: (J, 3, 3) turn of each joint's node, in the skin's order.
        translation: (3,) added to the root joint's own.
    """
    document = glb.document
    mesh_node = next(node for node in document["nodes"] if "skin" in node)
    primitive = document["meshes"][mesh_node["mesh"]]["primitives"][0]
    vertices = glb.array(primitive["attributes"]["POSITION"]).astype(np.float64)
    for weight, target in zip(weights, primitive["targets"], strict=True):
        vertices = vertices + weight * glb.array(target["POSITION"])
    skin = document["skins"][mesh_node["skin"]]
    parent_of = {child: index for index, node in enumerate(document["nodes"]) for child in node.get("children", [])}
    joints = skin["joints"]

    def world(node: int) -> np.ndarray:
        matrix = np.eye(4)
        matrix[:3, 3] = document["nodes"][node]["translation"]
        matrix[:3, :3] = rotations[joints.index(node)]
        if node not in parent_of:
            matrix[:3, 3] += translation
            return matrix
        return world(parent_of[node]) @ matrix

    # Matrices lie column by column in the file.
    inverse = glb.array(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
    matrices = np.stack([world(node) @ back for node, back in zip(joints, inverse, strict=True)])
    total = np.zeros((len(vertices), 3))
    for number in range(2):
        if f"JOINTS_{number}" not in primitive["attributes"]:
            continue
        indices = glb.array(primitive["attributes"][f"JOINTS_{number}"])
        shares = glb.array(primitive["attributes"][f"WEIGHTS_{number}"])
        for influence in range(4):
            chosen = matrices[indices[:, influence]]
            moved = (chosen[:, :3, :3] @ vertices[..., None])[..., 0] + chosen[:, :3, 3]
            total += shares[:, influence, None] * moved
    return total
