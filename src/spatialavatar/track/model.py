"""What the fit turns: shared and per-frame unknowns, and where they put landmarks and outline in the image."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import lru_cache

import torch
from torch import Tensor

from spatialavatar.head.head import Head
from spatialavatar.head.landmarks import LandmarkEmbedding, load_landmarks
from spatialavatar.head.motion import Motion
from spatialavatar.head.rig import PreparedIdentity, Rig
from spatialavatar.head.rotations import rotation_matrix_from_axis_angle
from spatialavatar.track.outline import ear_vertices, outline_vertices

FLIP = torch.tensor([1.0, -1.0, -1.0])
"""World axes (x right, y up, z towards the camera) to camera axes (x right, y down, z forward), and back."""

# Gaze at full weight of ARKit's eyeLook shapes, which move the lids along with the eyes; also how gaze is read from
# such weights when a recording drives an avatar.
_LARGEST_PITCH, _LARGEST_YAW = math.radians(25.0), math.radians(30.0)

# Expressions that no landmark of the face shows, or that the eyes' rotations show better.
_UNSEEN = ("tongueOut", "cheekPuff")


@dataclass(frozen=True)
class Unknowns:
    """What is optimised; T frames. All tensors are leaves of the same graph.

    Attributes:
        identity: (K,) in standard deviations.
        log_focal: (1,) or (T,) logarithm of the focal length over the longer side of the source image.
        expression: (T, E).
        turn: (T, 3) axis-angle, applied after the starting rotation.
        place: (T, 2) where the head's centre lies in the image, in units of the inter-ocular distance from the start.
        log_scale: (T,) logarithm of pixels per metre at the head's centre, from the start.
        gaze: (T, 3) pitch, yaw and vergence of the eyes in radians.
        jaw: (T, 3) axis-angle; stays zero for a head whose expressions open the jaw.
        offsets: (L, 3) metres by which this person's landmarks lie beside the embedding's, at rest.
    """

    identity: Tensor
    log_focal: Tensor
    expression: Tensor
    turn: Tensor
    place: Tensor
    log_scale: Tensor
    gaze: Tensor
    jaw: Tensor
    offsets: Tensor

    def detach(self) -> Unknowns:
        return Unknowns(**{f.name: getattr(self, f.name).detach().clone() for f in fields(self)})

    def frames(self, index: Tensor) -> Unknowns:
        """The unknowns of some frames; identity and a shared focal length stay."""
        per_frame = {name: getattr(self, name)[index] for name in PER_FRAME}
        focal = self.log_focal if len(self.log_focal) == 1 else self.log_focal[index]
        return replace(self, log_focal=focal, **per_frame)


PER_FRAME = ("expression", "turn", "place", "log_scale", "gaze", "jaw")
"""The unknowns that every frame has its own of."""


@dataclass(frozen=True)
class FaceModel:
    """The parts of a head that the fit looks at: L landmarks and S vertices that can form the outline.

    Attributes:
        head: The whole head.
        rig: Poses the L + S points.
        landmarks: L.
        indices: (L,) MediaPipe's numbers.
        weights: (L,) trust in each landmark.
        centre: (3,) of the face at rest, about which it turns.
        normals: (L, 3) of the surface at the landmarks, at rest.
        free: (E,) 1 for expressions that the fit may use, else 0.
        bounded: Whether expressions are activations in [0, 1] (ARKit's) or components without bounds.
        pairs: (P, 2) expressions of the left and right half.
        lids: (8,) positions of the expressions by which lids follow the gaze, in the order of `_LOOKS`; or empty.
        ears: (S,) bool, the outline's vertices that are ears: hair covers them.
    """

    head: Head
    rig: Rig
    landmarks: int
    indices: Tensor
    weights: Tensor
    centre: Tensor
    normals: Tensor
    free: Tensor
    bounded: bool
    pairs: Tensor
    lids: Tensor
    ears: Tensor


@lru_cache(maxsize=1)
def face_model_of(head: Head) -> FaceModel:
    """`face_model` with the head's packaged landmarks, prepared once: to find its outline takes a twentieth of what a
    photo does."""
    return face_model(head, load_landmarks(head))


def face_model(head: Head, embedding: LandmarkEmbedding) -> FaceModel:
    """Prepare a head for fitting."""
    corners = head.faces[embedding.triangles]  # (L, 3)
    on_surface = _points_rig(head.rig, corners, embedding.barycentric)
    nose = float(on_surface.template[embedding.indices == 2][0, 1])
    irises = (embedding.indices == 468) | (embedding.indices == 473)
    eyes = float(on_surface.template[irises, 1].mean())
    ears = ear_vertices(head.template, nose, eyes)
    # Ears hide the skull's own outline, which is needed where hair hides the ears.
    everything = outline_vertices(head.template, nose)
    bare = torch.nonzero(~ears)[:, 0]
    outline = torch.unique(torch.cat([everything, bare[outline_vertices(head.template[bare], nose)]]))
    rig = _joined(on_surface, head.rig.restrict(outline))
    normals = torch.linalg.cross(
        head.template[corners[:, 1]] - head.template[corners[:, 0]],
        head.template[corners[:, 2]] - head.template[corners[:, 0]],
    )
    names = head.expression_names
    bounded = "jawOpen" in names
    free = torch.ones(len(names))
    if bounded:
        for k, name in enumerate(names):
            if name in _UNSEEN or name.startswith("eyeLook"):
                free[k] = 0
    lids = [names.index(name) for name in _LOOKS] if bounded and set(_LOOKS) <= set(names) else []
    pairs = [(k, names.index(n[:-4] + "Right")) for k, n in enumerate(names) if n.endswith("Left") and bounded]
    pairs = [(a, b) for a, b in pairs if names[a] not in ("mouthLeft", "jawLeft")]
    return FaceModel(
        head=head,
        rig=rig,
        landmarks=len(embedding),
        indices=embedding.indices,
        weights=embedding.weights,
        centre=on_surface.template[:468].mean(0),
        normals=torch.nn.functional.normalize(normals, dim=-1),
        free=free,
        bounded=bounded,
        pairs=torch.tensor(pairs, dtype=torch.long).reshape(-1, 2),
        lids=torch.tensor(lids, dtype=torch.long),
        ears=ears[outline],
    )


@dataclass(frozen=True)
class View:
    """The known part of T cameras and the start of the unknown poses.

    Attributes:
        principal: (T, 2) principal point in pixels of the crop.
        unit: (T,) the source image's longer side in pixels of the crop: focal length = exp(log_focal) * unit.
        rotation: (T, 3, 3) starting rotation, head to world.
        place: (T, 2) starting place of the head's centre in pixels.
        log_scale: (T,) starting logarithm of pixels per metre.
        inter_ocular: (T,) distance of the iris centres in pixels, the measure of errors (of a turned head too).
    """

    principal: Tensor
    unit: Tensor
    rotation: Tensor
    place: Tensor
    log_scale: Tensor
    inter_ocular: Tensor

    def frames(self, index: Tensor) -> View:
        return replace(self, **{f.name: getattr(self, f.name)[index] for f in fields(self)})


def eyes_rotation(gaze: Tensor) -> Tensor:
    """(T, 3) pitch, yaw, vergence -> (T, 6) axis-angle of the left and the right eye."""
    pitch, yaw, vergence = gaze.unbind(-1)
    zero = torch.zeros_like(pitch)
    # The left eye stands on the positive x side and turns to the negative one to converge.
    return torch.stack([pitch, yaw - vergence / 2, zero, pitch, yaw + vergence / 2, zero], -1)


_LOOKS = (
    *("eyeLookDownLeft", "eyeLookUpLeft", "eyeLookOutLeft", "eyeLookInLeft"),
    *("eyeLookDownRight", "eyeLookUpRight", "eyeLookInRight", "eyeLookOutRight"),
)
"""Down, up, to the subject's left, to the right; of the left eye, then of the right."""


def full_expression(model: FaceModel, unknowns: Unknowns) -> Tensor:
    """(T, E) the expression with the lids' part in looking around, which follows from the gaze."""
    if len(model.lids) == 0:
        return unknowns.expression
    eyes = eyes_rotation(unknowns.gaze)
    looks = []
    for pitch, yaw in ((eyes[:, 0], eyes[:, 1]), (eyes[:, 3], eyes[:, 4])):
        looks += [pitch / _LARGEST_PITCH, -pitch / _LARGEST_PITCH, yaw / _LARGEST_YAW, -yaw / _LARGEST_YAW]
    return unknowns.expression.index_copy(1, model.lids, torch.stack(looks, -1).clamp(0, 1))


def local_motion(model: FaceModel, unknowns: Unknowns) -> Motion:
    """The motion within the head's own frame: expression, jaw and eyes, at rest otherwise."""
    zero = torch.zeros_like(unknowns.turn)
    return Motion(
        expression=full_expression(model, unknowns),
        global_rotation=zero,
        neck_rotation=zero,
        jaw_rotation=unknowns.jaw,
        eyes_rotation=eyes_rotation(unknowns.gaze),
        translation=zero,
        neck_translation=zero,
    )


def head_rotation(unknowns: Unknowns, view: View) -> Tensor:
    """(T, 3, 3) head to world."""
    return rotation_matrix_from_axis_angle(unknowns.turn) @ view.rotation


def head_position(unknowns: Unknowns, view: View) -> tuple[Tensor, Tensor]:
    """(T, 3) camera coordinates of the head's centre in metres, and (T,) focal lengths in pixels."""
    focal = unknowns.log_focal.exp() * view.unit
    depth = focal / (view.log_scale + unknowns.log_scale).exp()
    pixel = view.place + unknowns.place * view.inter_ocular[:, None]
    lateral = (pixel - view.principal) * (depth / focal)[:, None]
    return torch.cat([lateral, depth[:, None]], 1), focal


def project_points(
    model: FaceModel, identity: PreparedIdentity, unknowns: Unknowns, view: View
) -> tuple[Tensor, Tensor, Tensor]:
    """Where the model's points fall.

    Returns:
        (T, L, 2) landmarks and (T, S, 2) outline vertices in pixels, and (T, 3, 3) head rotations.
    """
    local = model.rig.pose(identity, local_motion(model, unknowns)) - model.centre  # (T, L + S, 3)
    local = torch.cat([local[:, : model.landmarks] + unknowns.offsets, local[:, model.landmarks :]], 1)
    rotation = head_rotation(unknowns, view)
    pixels = _seen(local, rotation, unknowns, view)
    return pixels[:, : model.landmarks], pixels[:, model.landmarks :], rotation


def project_rig(rig: Rig, model: FaceModel, unknowns: Unknowns, view: View) -> Tensor:
    """(T, N, 2) pixels of the vertices of any rig of the head, which moves as one with the face."""
    local = rig.pose(unknowns.identity, local_motion(model, unknowns)) - model.centre
    return _seen(local, head_rotation(unknowns, view), unknowns, view)


def _seen(local: Tensor, rotation: Tensor, unknowns: Unknowns, view: View) -> Tensor:
    """(T, N, 3) points about the face's centre -> (T, N, 2) pixels."""
    position, focal = head_position(unknowns, view)
    camera = (local @ rotation.mT) * FLIP + position[:, None]
    return camera[..., :2] * (focal[:, None] / camera[..., 2].clamp_min(0.05))[..., None] + view.principal[:, None]


def start_unknowns(model: FaceModel, frames: int, identities: int, *, focals: int = 1, focal: float = 0.0) -> Unknowns:
    """Everything at rest, with a focal length (over the longer side) of a usual camera, unless one is given."""
    return Unknowns(
        identity=torch.zeros(identities),
        log_focal=torch.full((focals,), math.log(focal or USUAL_FOCAL)),
        expression=0.02 * model.free.repeat(frames, 1) if model.bounded else torch.zeros(frames, len(model.free)),
        turn=torch.zeros(frames, 3),
        place=torch.zeros(frames, 2),
        log_scale=torch.zeros(frames),
        gaze=torch.zeros(frames, 3),
        jaw=torch.zeros(frames, 3),
        offsets=torch.zeros(model.landmarks, 3),
    )


USUAL_FOCAL = 1.3
"""Focal length over the longer side: between a phone's (0.8) and a portrait lens's (2.4)."""
USUAL_DISTANCE = 0.9
"""Metres from camera to face: between a phone held in the hand (0.4) and a photographer's (2)."""
INTER_OCULAR_METRES = 0.06
"""A person's inter-ocular distance."""


def _points_rig(rig: Rig, corners: Tensor, weights: Tensor) -> Rig:
    """A rig of points on triangles: (L, 3) corner vertices and weights. Exact where a triangle moves as one."""

    def blend(values: Tensor) -> Tensor:  # (..., V, C) -> (..., L, C)
        return (values[..., corners, :] * weights[..., None]).sum(-2)

    return replace(
        rig,
        template=blend(rig.template),
        identity_basis=blend(rig.identity_basis),
        expression_basis=blend(rig.expression_basis),
        pose_correctives=None if rig.pose_correctives is None else blend(rig.pose_correctives),
        skinning_weights=blend(rig.skinning_weights),
    )


def _joined(first: Rig, second: Rig) -> Rig:
    """One rig with the points of both."""
    both = first.pose_correctives is not None and second.pose_correctives is not None
    return replace(
        first,
        template=torch.cat([first.template, second.template]),
        identity_basis=torch.cat([first.identity_basis, second.identity_basis], 1),
        expression_basis=torch.cat([first.expression_basis, second.expression_basis], 1),
        pose_correctives=torch.cat([first.pose_correctives, second.pose_correctives], 1)  # type: ignore[list-item]
        if both
        else None,
        skinning_weights=torch.cat([first.skinning_weights, second.skinning_weights]),
    )
