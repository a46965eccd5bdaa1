"""A made-up person ready to be drawn: mesh, strands, texture, and how much light reaches every part of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from spatialavatar.head.head import Head
from spatialavatar.head.motion import Motion
from spatialavatar.head.open_head import load_open_head
from spatialavatar.head.rig import PreparedIdentity, joint_rotations, joint_transforms
from spatialavatar.synth.canvas import load_canvas, step
from spatialavatar.synth.hair import grow_hair
from spatialavatar.synth.light import directions, visibility
from spatialavatar.synth.paint import neckline, paint_person
from spatialavatar.synth.person import Person
from spatialavatar.synth.raster import Floats, Integers, vertex_normals
from spatialavatar.synth.strands import Body, Strands

_CLOTH_THICKNESS = 0.006
# Below the rim of the bust the clothes go on, so that a tilted head does not show a person cut off.
_SKIRT = ((-0.05, 1.05), (-0.16, 1.12), (-0.45, 1.2))
_LIGHT_POSE_JAW = 0.3


@dataclass(frozen=True)
class Model:
    """What is drawn. Vertices are those of the head, then those of the clothes below its rim.

    texture: (R, R, 9) albedo, shine, roughness, bleeding, and the gradient of fine relief.
    faces, uv, uv_faces: the whole mesh.
    place: (V, 3) each vertex on the template, millimetres; below the rim it goes on downwards.
    cloth: (V,) thickness of the clothes over the head's vertices, metres.
    visible: (V, D) share of each direction's light that arrives, at rest.
    hair_visible: (S, Q, D) the same at Q points of each strand; hair_out: (S, Q, 3) away from the head.
    """

    person: Person
    head: Head
    prepared: PreparedIdentity
    texture: Floats
    faces: Integers
    uv: Floats
    uv_faces: Integers
    rim: NDArray[np.int64]
    place: Floats
    cloth: Floats
    visible: Floats
    hair: Strands | None
    hair_visible: Floats | None
    hair_out: Floats | None
    sunk: Floats
    """(V,) 1 in the mouth, where light comes only through the lips."""


@dataclass(frozen=True)
class Posed:
    """One instant. skull and body are (3, 4) maps from rest; vertices (V, 3), normals (V, 3), hair (S, P, 3)."""

    vertices: Floats
    normals: Floats
    hair: Floats | None
    skull: Floats
    body: Floats
    on_skull: Floats
    """(V,) how much a vertex moves with the skull."""


def build_model(person: Person, texture_size: int = 512) -> Model:
    """Everything about a person that does not change from frame to frame: about two seconds."""
    head = load_open_head()
    prepared = head.prepare_identity(torch.tensor(person.identity))
    template = head.template.numpy()
    canvas = load_canvas(texture_size)
    paint = paint_person(person, canvas)
    relief = _relief_gradient(paint.surface[..., 3], canvas.texture(canvas.place))
    texture = np.concatenate([paint.albedo, paint.surface[..., :3], relief], -1).astype(np.float32)
    faces, uv, uv_faces, rim = _with_skirt(head)
    below = neckline(person, template * 1000)
    is_skin = np.zeros(len(template), bool)
    is_skin[head.faces[head.part_faces("skin")].unique().numpy()] = True
    cloth = (_CLOTH_THICKNESS * step(below, 0, 14) * is_skin).astype(np.float32)
    down = np.array([0, 1, 0], np.float32)
    place = np.concatenate([template, *(template[rim] + drop * down for drop, _ in _SKIRT)]).astype(np.float32) * 1000
    sunk = np.zeros(len(template) + len(_SKIRT) * len(rim), np.float32)
    sunk[head.faces[head.part_faces("mouth_socket", "upper_teeth", "lower_teeth", "tongue")].unique().numpy()] = 1
    bare = Model(
        person=person,
        head=head,
        prepared=prepared,
        texture=texture,
        faces=faces,
        uv=uv,
        uv_faces=uv_faces,
        rim=rim,
        place=place,
        cloth=cloth,
        visible=np.zeros((0, 0), np.float32),
        hair=None,
        hair_visible=None,
        hair_out=None,
        sunk=sunk,
    )
    skin_faces = head.part_faces("skin").numpy()
    rest = pose_model(bare, head.neutral_motion(1))
    body = Body(
        vertices=rest.vertices[: len(template)],
        template=template,
        faces=head.faces.numpy()[skin_faces].astype(np.int32),
        face_index=np.flatnonzero(skin_faces),
    )
    hair = grow_hair(person, body)
    return _with_light(replace(bare, hair=hair))


def pose_model(model: Model, motion: Motion) -> Posed:
    """The mesh and the strands in the first frame of `motion`."""
    head = model.head
    with torch.no_grad():
        vertices = head.pose(model.prepared, motion[0])[0].numpy()
        joints = model.prepared.joints + torch.einsum(
            "e,ejc->jc", motion.expression[0], head.rig.joint_expression_basis
        )
        transforms = joint_transforms(joint_rotations(motion[0]), joints[None], motion[0], head.joint_parents)[
            0
        ].numpy()
    normals = vertex_normals(vertices, head.faces.numpy().astype(np.int32))
    vertices = vertices + normals * model.cloth[:, None]
    body, skull = transforms[0], transforms[1]
    weights = head.skinning_weights.numpy()
    on_skull = np.concatenate([1 - weights[:, 0], np.zeros(len(_SKIRT) * len(model.rim), np.float32)])
    vertices = np.concatenate([vertices, _skirt(vertices[model.rim], body)])
    hair = None if model.hair is None else _pose_hair(model, model.hair, vertices, skull, body)
    return Posed(
        vertices=vertices.astype(np.float32),
        normals=vertex_normals(vertices, model.faces),
        hair=hair,
        skull=skull,
        body=body,
        on_skull=on_skull.astype(np.float32),
    )


def _with_skirt(head: Head) -> tuple[Integers, Floats, Integers, NDArray[np.int64]]:
    """Faces, UV coordinates and UV faces with the clothes' continuation, and the rim's vertices."""
    faces = head.faces.numpy()
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    of_face = np.tile(np.arange(len(faces)), 3)
    key = np.sort(edges, 1) @ np.array([len(head.template), 1])
    _, first, counts = np.unique(key, return_index=True, return_counts=True)
    open_edges = first[counts == 1]
    open_edges = open_edges[(head.template.numpy()[edges[open_edges]][..., 1] < -0.2).all(1)]
    rim = np.unique(edges[open_edges])
    number = {int(vertex): index for index, vertex in enumerate(rim)}
    uv, uv_faces = head.uv_coordinates.numpy(), head.uv_faces.numpy()
    uv_of = {}
    for edge in open_edges:
        face = of_face[edge]
        for vertex in edges[edge]:
            corner = int(np.flatnonzero(faces[face] == vertex)[0])
            uv_of[int(vertex)] = uv[uv_faces[face, corner]]
    count, total = len(head.template), len(rim)
    new_faces, new_uv_faces = [], []
    for edge in open_edges:
        a, b = (number[int(v)] for v in edges[edge])
        for ring in range(len(_SKIRT)):
            upper = [int(rim[a]), int(rim[b])] if ring == 0 else [count + (ring - 1) * total + k for k in (a, b)]
            lower = [count + ring * total + k for k in (a, b)]
            # The edge runs the other way round in the neighbour.
            new_faces += [[upper[1], upper[0], lower[0]], [upper[1], lower[0], lower[1]]]
            new_uv_faces += [[len(uv) + k for k in (b, a, a)], [len(uv) + k for k in (b, a, b)]]
    all_uv = np.concatenate([uv, np.stack([uv_of[int(v)] for v in rim])]).astype(np.float32)
    return (
        np.concatenate([faces, new_faces]).astype(np.int32),
        all_uv,
        np.concatenate([uv_faces, new_uv_faces]).astype(np.int32),
        rim.astype(np.int64),
    )


def _skirt(rim: Floats, body: Floats) -> Floats:
    """The rings below the rim (K, 3), which stands as `body` (3, 4) turned it."""
    middle = rim.mean(0)
    down, rings = body[:, 1], []
    for drop, spread in _SKIRT:
        rings.append(middle + (rim - middle) * spread + down * drop)
    return np.concatenate(rings)


def _pose_hair(model: Model, hair: Strands, vertices: Floats, skull: Floats, body: Floats) -> Floats:
    points = hair.points
    with_skull = points @ skull[:, :3].T + skull[:, 3]
    if np.min(points[..., 1]) < -0.07:
        # Long hair lies on the shoulders, which stay when the head turns.
        hanging = step(-points[..., 1:2], 0.06, 0.19).astype(np.float32)
        with_skull += hanging * (points @ body[:, :3].T + body[:, 3] - with_skull)
    beard = ~hair.on_skull
    if beard.any():
        corners = model.head.faces.numpy()[hair.face[beard]]
        rest = model.prepared.shaped_template.numpy()
        weights = hair.barycentric[beard][..., None]
        root, rest_root = (vertices[corners] * weights).sum(1), hair.points[beard][:, 0]
        turn = _triangle_frames(vertices[corners]) @ np.swapaxes(_triangle_frames(rest[corners]), 1, 2)
        offset = points[beard] - rest_root[:, None]
        with_skull[beard] = root[:, None] + np.einsum("sij,spj->spi", turn, offset)
    return with_skull.astype(np.float32)


def _triangle_frames(corners: Floats) -> Floats:
    """(N, 3, 3) orthonormal columns of triangles (N, 3, 3)."""
    first = corners[:, 1] - corners[:, 0]
    first /= np.linalg.norm(first, axis=1, keepdims=True) + 1e-12
    normal = np.cross(first, corners[:, 2] - corners[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-12
    return np.stack([first, normal, np.cross(first, normal)], -1)


def _with_light(model: Model) -> Model:
    """Find what light arrives where, with the mouth a little open so that its inside gets some."""
    motion = model.head.neutral_motion(1)
    motion.expression[0, model.head.expression_names.index("jawOpen")] = _LIGHT_POSE_JAW
    posed = pose_model(model, motion)
    meshes = [(posed.vertices, model.faces)]
    receivers = [(posed.vertices + 0.002 * posed.normals, 0.004, 0.006)]
    if model.hair is None or posed.hair is None:
        return replace(model, visible=_reached(model, posed, visibility(meshes, [], receivers)[0]))
    sparse = slice(None, None, 3)
    ribbons = [(posed.hair[sparse], model.hair.width[sparse] * 2.2)]
    at = hair_stations(posed.hair.shape[1])
    stations = posed.hair[:, at]
    receivers.append((stations.reshape(-1, 3), 0.004, 0.022))
    skin, strands = visibility(meshes, ribbons, receivers)
    out = stations - np.array([0.0, 0.03, -0.04], np.float32)
    out /= np.linalg.norm(out, axis=-1, keepdims=True)
    return replace(
        model,
        visible=_reached(model, posed, skin),
        hair_visible=strands.reshape(*stations.shape[:2], -1),
        hair_out=out.astype(np.float32),
    )


def hair_stations(steps: int) -> NDArray[np.int64]:
    """The points of a strand where the light is looked at."""
    return np.unique(np.linspace(0, steps - 1, 4).round().astype(np.int64))


def _reached(model: Model, posed: Posed, visible: Floats) -> Floats:
    return _into_the_mouth(_soft_edges(visible, posed.normals), model.sunk)


def _soft_edges(visible: Floats, normals: Floats) -> Floats:
    """Fade where a direction grazes the surface: there the depth maps are least exact."""
    cosine = normals @ directions().T
    return (visible * np.clip(0.5 + cosine * 6, 0, 1)).astype(np.float32)


def _into_the_mouth(visible: Floats, sunk: Floats) -> Floats:
    """Light that finds its way between lips that open wider than they did when it was measured."""
    return np.where(sunk[:, None] > 0, 0.12 + 0.75 * visible**0.6, visible).astype(np.float32)


def _relief_gradient(height: Floats, place: Floats) -> Floats:
    """(R, R, 3) gradient of the relief (R, R) along the surface, in the template's frame; both in millimetres.

    Solves g . dP/du = dh/du, g . dP/dv = dh/dv for the tangent vector g.
    """
    du, dv = np.gradient(place, axis=1), np.gradient(place, axis=0)
    hu, hv = np.gradient(height, axis=1), np.gradient(height, axis=0)
    a, b, c = (du * du).sum(-1), (du * dv).sum(-1), (dv * dv).sum(-1)
    determinant = a * c - b * b + 0.02 * (a + c) ** 2 + 1e-6
    gradient = ((c * hu - b * hv) / determinant)[..., None] * du + ((a * hv - b * hu) / determinant)[..., None] * dv
    # Across the gaps between islands the place jumps.
    steep = np.maximum(np.abs(du).max(-1), np.abs(dv).max(-1)) > 8
    gradient[steep] = 0
    return np.clip(gradient, -0.6, 0.6).astype(np.float32)
