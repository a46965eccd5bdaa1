"""The avatar's head as a rigged mesh in glTF 2.0: five joints, every expression as a morph target, a baked texture.

The mesh at rest is the subject's neutral head in the head's own frame: x to the subject's left, y up, z out of the
face, metres. glTF poses it as we do: morph targets add expressions, the skin's joints turn about their own places.
Colours hold the light they were seen in, so the material is unlit (KHR_materials_unlit).
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.avatar.binding import face_normals
from spatialavatar.export.gltf import TRIANGLES, GltfWriter
from spatialavatar.export.texture import bake_texture
from spatialavatar.files import write_atomically
from spatialavatar.head.rig import JOINT_NAMES

_PLAIN_COLOR = (0.9, 0.88, 0.84, 1.0)
"""Of faces without a place in the texture: FLAME's added teeth."""


@dataclass(frozen=True, eq=False)
class SplitMesh:
    """The head's mesh with one vertex for each pair of a vertex and a UV coordinate, as engines want it.

    vertex_of: (W,) int64, the head's vertex that each of the W vertices is a copy of.
    uv: (W, 2) in [0, 1], origin at the top left (glTF's own).
    textured: (F1, 3) int64 triangles with a place in the texture, in the head's order.
    plain: (F2, 3) int64 triangles without one.
    textured_of_face: (F,) int64, which of the `textured` triangles a face of the head became; -1 for plain ones.
    """

    vertex_of: Tensor
    uv: Tensor
    textured: Tensor
    plain: Tensor
    textured_of_face: Tensor


def split_mesh(avatar: Avatar) -> SplitMesh:
    """Split vertices where the UV map is cut."""
    head = avatar.head
    has_uv = (head.uv_faces >= 0).all(1)
    pairs = torch.stack([head.faces, head.uv_faces.clamp_min(-1)], -1).reshape(-1, 2)
    pairs[~has_uv.repeat_interleave(3), 1] = -1
    unique, index = torch.unique(pairs, dim=0, return_inverse=True)
    triangles = index.reshape(-1, 3)
    uv = torch.zeros(len(unique), 2)
    placed = unique[:, 1] >= 0
    uv[placed] = head.uv_coordinates[unique[placed, 1]].float()
    numbers = torch.where(has_uv, has_uv.cumsum(0) - 1, -torch.ones_like(head.part_of_face))
    return SplitMesh(unique[:, 0], uv, triangles[has_uv], triangles[~has_uv], numbers)


def write_mesh_glb(avatar: Avatar, path: str | os.PathLike[str], texture_size: int = 1024) -> None:
    """Write the rigged, textured mesh as `.glb`, whole or not at all.

    Raises:
        UserError: It cannot be written.
    """
    content = mesh_glb(avatar, split_mesh(avatar), bake_texture(avatar, texture_size))
    with write_atomically(path) as temporary:
        temporary.write_bytes(content)


def mesh_glb(avatar: Avatar, mesh: SplitMesh, texture: NDArray[np.uint8]) -> bytes:
    """The document.

    Args:
        mesh: From `split_mesh`.
        texture: (R, R, 3) uint8.
    """
    head = avatar.head
    positions = avatar.prepared.shaped_template
    writer = GltfWriter()
    writer.use_extension("KHR_materials_unlit")
    attributes: dict[str, int] = {
        "POSITION": writer.add_accessor(_floats(positions[mesh.vertex_of]), bounds=True),
        "NORMAL": writer.add_accessor(_floats(vertex_normals(positions, head.faces)[mesh.vertex_of])),
        "TEXCOORD_0": writer.add_accessor(_floats(mesh.uv)),
    }
    joints, weights = skin_influences(head.skinning_weights)
    for index in range(joints.shape[1] // 4):
        part = slice(4 * index, 4 * index + 4)
        of_vertex = mesh.vertex_of.numpy()
        attributes[f"JOINTS_{index}"] = writer.add_accessor(np.ascontiguousarray(joints[of_vertex, part]))
        attributes[f"WEIGHTS_{index}"] = writer.add_accessor(np.ascontiguousarray(weights[of_vertex, part]))
    targets = [
        {"POSITION": writer.add_displacements(_floats(head.expression_basis[index][mesh.vertex_of]))}
        for index in range(head.num_expressions)
    ]

    def primitive(faces: Tensor, material: int) -> dict[str, Any]:
        indices = writer.add_accessor(faces.reshape(-1).numpy().astype(np.uint32), "indices")
        return {
            "attributes": attributes,
            "indices": indices,
            "material": material,
            "mode": TRIANGLES,
            "targets": targets,
        }

    primitives = [primitive(mesh.textured, _textured_material(writer, texture))]
    if len(mesh.plain):
        primitives.append(primitive(mesh.plain, _plain_material(writer)))
    number = writer.add(
        "meshes",
        {
            "name": "head",
            "primitives": primitives,
            "weights": [0.0] * head.num_expressions,
            "extras": {"targetNames": list(head.expression_names)},
        },
    )
    body = writer.add("nodes", {"name": "head", "mesh": number})
    root = _add_skeleton(writer, avatar, body)
    writer.scene([body, root], "avatar")
    return writer.glb()


def skin_influences(skinning_weights: Tensor) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """(V, 4) joints and weights, or (V, 8) where some vertex follows all five joints; zeros beyond."""
    weights, joints = skinning_weights.sort(dim=1, descending=True, stable=True)
    weights = torch.where(weights > 1e-6, weights, torch.zeros_like(weights))
    width = 4 if weights.shape[1] <= 4 or not bool((weights[:, 4:] > 0).any()) else 8
    weights = torch.nn.functional.pad(weights, (0, max(0, width - weights.shape[1])))[:, :width]
    joints = torch.nn.functional.pad(joints, (0, max(0, width - joints.shape[1])))[:, :width]
    weights = weights / weights.sum(1, keepdim=True)
    # The specification wants joint 0 where the weight is zero.
    joints = torch.where(weights > 0, joints, torch.zeros_like(joints))
    return joints.numpy().astype(np.uint8), _floats(weights)


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """(V, 3) unit normals, means of the faces' around each vertex by area; up where there is no face."""
    normals = face_normals(vertices, faces).repeat_interleave(3, 0)
    summed = torch.zeros_like(vertices).index_add(0, faces.reshape(-1), normals)
    length = summed.norm(dim=-1, keepdim=True)
    return torch.where(length > 1e-12, summed / length.clamp_min(1e-12), vertices.new_tensor([0.0, 1.0, 0.0]))


def _add_skeleton(writer: GltfWriter, avatar: Avatar, body: int) -> int:
    """Nodes of the joints and the skin that binds the mesh to them; returns the root joint's node."""
    positions, parents = avatar.prepared.joints, avatar.head.joint_parents
    nodes = []
    for joint, parent in enumerate(parents):
        offset = positions[joint] if parent < 0 else positions[joint] - positions[parent]
        nodes.append(writer.add("nodes", {"name": JOINT_NAMES[joint], "translation": offset.tolist()}))
    for joint, node in enumerate(nodes):
        children = [nodes[child] for child, parent in enumerate(parents) if parent == joint]
        if children:
            writer.document["nodes"][node]["children"] = children
    inverse = torch.eye(4).repeat(len(nodes), 1, 1)
    inverse[:, :3, 3] = -positions
    skin = {
        "name": "joints",
        "joints": nodes,
        "skeleton": nodes[0],
        "inverseBindMatrices": writer.add_accessor(_floats(inverse), "other"),
    }
    writer.document["nodes"][body]["skin"] = writer.add("skins", skin)
    return nodes[0]


def _textured_material(writer: GltfWriter, texture: NDArray[np.uint8]) -> int:
    stream = io.BytesIO()
    Image.fromarray(texture).save(stream, format="PNG", optimize=False)
    image = writer.add_image(stream.getvalue(), "texture")
    sampler = writer.add("samplers", {"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071})
    number = writer.add("textures", {"source": image, "sampler": sampler})
    surface = {"baseColorTexture": {"index": number}, "metallicFactor": 0.0, "roughnessFactor": 1.0}
    return writer.add(
        "materials",
        {"name": "skin", "pbrMetallicRoughness": surface, "extensions": {"KHR_materials_unlit": {}}},
    )


def _plain_material(writer: GltfWriter) -> int:
    surface = {"baseColorFactor": list(_PLAIN_COLOR), "metallicFactor": 0.0, "roughnessFactor": 1.0}
    return writer.add(
        "materials",
        {"name": "teeth", "pbrMetallicRoughness": surface, "extensions": {"KHR_materials_unlit": {}}},
    )


def _floats(values: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(values.detach().cpu().numpy(), np.float32)
