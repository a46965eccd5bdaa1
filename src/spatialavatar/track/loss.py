"""What the fit makes small: data terms on landmarks and outlines, and priors."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from spatialavatar.head.rig import Rig
from spatialavatar.track.model import (
    INTER_OCULAR_METRES,
    USUAL_DISTANCE,
    USUAL_FOCAL,
    FaceModel,
    Unknowns,
    View,
    project_points,
    project_rig,
)
from spatialavatar.track.outline import mesh_extents


@dataclass(frozen=True)
class FitConfig:
    """Weights and steps of the fit. Errors are measured over the inter-ocular distance."""

    identities: int = 80
    """Identity components used."""
    key_frames: int = 28
    """Frames from which identity and focal length are found."""
    key_steps: int = 60
    """L-BFGS steps on the key frames, for landmarks and then for outlines too."""
    photo_steps: int = 0
    """L-BFGS steps on photos for landmarks and outlines at once; 0: one after the other, as on key frames."""
    contour_rounds: int = 2
    """How often mesh and matte contours are matched anew."""
    contour_steps: int = 30
    """L-BFGS steps after each matching."""
    frame_steps: int = 40
    """L-BFGS steps on all frames."""
    landmark: float = 1000.0
    """Of the landmarks' robust squared error."""
    landmark_bend: float = 0.03
    """Error beyond which a landmark counts linearly."""
    aperture: float = 500.0
    """Of the robust squared error of how far upper and lower lid, and upper and lower lip, are apart."""
    outline: float = 150.0
    """Of the extents' robust squared error."""
    contour: float = 300.0
    """Of the matched contours' robust squared error."""
    outline_bend: float = 0.05
    """Outline error beyond which it counts linearly."""
    hair: float = 0.02
    """How much less the outline counts where hair lies between the skull and the matte's rim. Of photos: `of_video`."""
    hair_thickness: float = 0.2
    """Thickness of hair from which the rim hardly draws the skull any more."""
    identity: float = 0.001
    """Of squared identity coefficients."""
    extreme: float = 0.1
    """Of the square by which an identity coefficient leaves 2 standard deviations."""
    expression: float = 0.02
    """Of squared expressions."""
    usual_expression: float = 0.1
    """Of the squared mean expression of all frames: what is always there is the person's shape."""
    offsets: float = 1000.0
    """Of the mean squared personal offset of the landmarks."""
    bounds: float = 20.0
    """Of the square by which an expression leaves [0, 1]."""
    pairs: float = 0.05
    """Of the squared difference of the two halves' expressions."""
    focal: float = 0.01
    """Of the squared logarithm of the focal length over the usual one, in units of 0.5."""
    distance: float = 0.01
    """Of the squared logarithm of the camera's distance over the usual one, in units of 0.5."""
    video_hair: float = 0.0
    """`hair` of a video. A skull drawn into its hair grows, and the lens with it: a head that turns shows its skull."""
    video_lens: float = 0.001
    """`focal` and `distance` of a video. A photo hardly shows perspective, a head that turns does, to some percent."""
    known_focal: float = 0.0
    """Focal length over the longer side of the source's picture, where it is known; 0: found out."""
    gaze: float = 0.05
    """Of squared gaze in radians; vergence counts 20 times."""
    smooth_turn: float = 20.0
    """Of squared second differences of rotation, at 25 frames/s."""
    smooth_place: float = 20.0
    """Of squared second differences of place, and 20 times of the logarithm of the scale."""
    smooth_expression: float = 0.1
    """Of squared second differences of expression and jaw, and 4 times of gaze."""


def of_video(config: FitConfig) -> FitConfig:
    """The weights as they suit a video, whose many views tell what priors tell of a photo."""
    return replace(config, hair=config.video_hair, focal=config.video_lens, distance=config.video_lens)


FAST = FitConfig(
    identities=40, key_frames=16, key_steps=40, photo_steps=30, contour_rounds=1, contour_steps=20, frame_steps=25
)
"""Half the time for a little less accuracy."""

# Landmarks on skin that faces away from the camera are the detector's guess: full trust above the second cosine.
HIDDEN_COSINE, SEEN_COSINE = 0.05, 0.35


@dataclass(frozen=True)
class Targets:
    """Observations as tensors; T frames."""

    landmarks: Tensor
    """(T, L, 2) pixels."""
    extents: Tensor
    """(T, D) pixels, 0 where unknown."""
    has_extent: Tensor
    """(T, D) 1 where known, else 0."""
    skin: Tensor
    """(T, D) 1 where the matte's rim is skin, 0 where it is hair (or cannot be told)."""
    weights: Tensor
    """(L,) mean 1."""
    firmness: Tensor
    """(L,) how much less than others a landmark may lie beside the embedding: lids and lips must be able to close."""
    apertures: Tensor
    """(P, 2) positions in L of landmarks that face each other across an eye or the mouth."""

    def frames(self, index: Tensor) -> Targets:
        chosen = {name: getattr(self, name)[index] for name in ("landmarks", "extents", "has_extent", "skin")}
        return replace(self, **chosen)


@dataclass(frozen=True)
class Matches:
    """Vertices on the mesh's contour and the points of the matte's contour they belong to; M a frame."""

    rig: Rig
    """Poses the U vertices that occur."""
    vertices: Tensor
    """(T, M) indices into the rig's."""
    points: Tensor
    """(T, M, 2) on the matte's contour, pixels."""
    normals: Tensor
    """(T, M, 2) of the matte's contour, outwards."""
    skin: Tensor
    """(T, M) 1 where the rim is skin."""
    weights: Tensor
    """(T, M) 0 where there is no match."""


def loss(
    model: FaceModel,
    unknowns: Unknowns,
    view: View,
    targets: Targets,
    config: FitConfig,
    *,
    outline: bool = True,
    matches: Matches | None = None,
    times: Tensor | None = None,
    frame_rate: float = 0.0,
) -> Tensor:
    """Mean over frames of the data terms and of the priors of frames, plus the priors of what they share.

    Args:
        outline: Whether the extents of the outline count.
        matches: Matched contours, which then count too.
        times: (T,) frame numbers, where neighbours are to be smooth in time.
        frame_rate: Frames per second.
    """
    total = data_loss(model, unknowns, view, targets, config, outline=outline, matches=matches)
    return total + prior_loss(model, unknowns, view, targets, config, times=times, frame_rate=frame_rate)


def data_loss(
    model: FaceModel,
    unknowns: Unknowns,
    view: View,
    targets: Targets,
    config: FitConfig,
    *,
    outline: bool = True,
    matches: Matches | None = None,
) -> Tensor:
    """What the observations say, a mean over frames; the arguments are those of `loss`."""
    identity = model.rig.prepare_identity(unknowns.identity)
    landmarks, vertices, rotation = project_points(model, identity, unknowns, view)
    error = (landmarks - targets.landmarks) / view.inter_ocular[:, None, None]
    facing = (model.normals @ rotation.detach().mT)[..., 2]  # cosine to the camera, (T, L)
    visible = ((facing - HIDDEN_COSINE) / (SEEN_COSINE - HIDDEN_COSINE)).clamp(0.05, 1)
    total = config.landmark * (targets.weights * visible * _robust(error.square().sum(-1), config.landmark_bend)).mean()
    upper, lower = targets.apertures.unbind(1)
    opening = error[:, upper] - error[:, lower]
    total = total + config.aperture * _robust(opening.square().sum(-1), config.landmark_bend).mean()
    if outline:
        total = total + config.outline * _extents_loss(model, vertices, view, targets, config)
    if matches is not None:
        total = total + config.contour * _contour_loss(matches, model, unknowns, view, config)
    return total


def prior_loss(
    model: FaceModel,
    unknowns: Unknowns,
    view: View,
    targets: Targets,
    config: FitConfig,
    *,
    times: Tensor | None = None,
    frame_rate: float = 0.0,
) -> Tensor:
    """What is known before any observation, of frames, of neighbours in time and of what all frames share."""
    shifts = (unknowns.offsets / INTER_OCULAR_METRES).square().sum(1)
    total = config.offsets * (targets.firmness * shifts).mean()
    total = total + _priors(model, unknowns, view, config)
    if times is not None and len(times) > 2:
        total = total + _roughness(unknowns, times, config, frame_rate)
    return total


def _extents_loss(model: FaceModel, vertices: Tensor, view: View, targets: Targets, config: FitConfig) -> Tensor:
    """Mesh against matte, direction by direction.

    Where the rim is skin the two are one edge. Where it is hair the mesh must stay inside, and the skull (not the
    ears, which hair covers) is drawn towards the rim, less the thicker the hair is.
    """
    size = view.inter_ocular[:, None]
    beyond = (mesh_extents(vertices) - targets.extents) / size
    skull = (mesh_extents(vertices[:, ~model.ears]) - targets.extents) / size
    same = _robust(beyond.square(), config.outline_bend)
    outside = _robust(torch.relu(beyond).square(), config.outline_bend)
    thickness = torch.relu(-skull).square()
    limit = config.hair_thickness**2
    towards = config.hair * limit * thickness / (limit + thickness)
    return (targets.has_extent * torch.where(targets.skin > 0.5, same, outside + towards)).mean()


def _contour_loss(matches: Matches, model: FaceModel, unknowns: Unknowns, view: View, config: FitConfig) -> Tensor:
    """Matched points' distance along the matte's normal: both ways where the rim is skin, outwards only at hair."""
    pixels = project_rig(matches.rig, model, unknowns, view)  # (T, U, 2)
    index = matches.vertices[..., None].expand(-1, -1, 2)
    away = pixels.gather(1, index) - matches.points
    beyond = (away * matches.normals).sum(-1) / view.inter_ocular[:, None]
    counted = torch.where(matches.skin > 0.5, beyond, torch.relu(beyond))
    return (matches.weights * _robust(counted.square(), config.outline_bend)).sum() / matches.weights.sum().clamp_min(1)


def _priors(model: FaceModel, unknowns: Unknowns, view: View, config: FitConfig) -> Tensor:
    x = unknowns.expression
    total = config.identity * unknowns.identity.square().sum()
    total = total + config.extreme * torch.relu(unknowns.identity.abs() - 2).square().sum()
    total = total + config.expression * x.square().sum(1).mean()
    total = total + config.usual_expression * x.mean(0).square().sum()
    if model.bounded:
        outside = torch.relu(-x) + torch.relu(x - 1)
        total = total + config.bounds * outside.square().sum(1).mean()
        halves = x[:, model.pairs[:, 0]] - x[:, model.pairs[:, 1]]
        total = total + config.pairs * halves.square().sum(1).mean()
    from_usual = (unknowns.log_focal - math.log(USUAL_FOCAL)) / 0.5
    total = total + config.focal * from_usual.square().mean()
    depth = unknowns.log_focal + view.unit.log() - view.log_scale - unknowns.log_scale
    total = total + config.distance * ((depth - math.log(USUAL_DISTANCE)) / 0.5).square().mean()
    gaze = unknowns.gaze.square().mean(0)
    total = total + config.gaze * (gaze[0] + gaze[1] + 20 * gaze[2])
    return total + 0.5 * unknowns.jaw.square().sum(1).mean()


def _roughness(unknowns: Unknowns, times: Tensor, config: FitConfig, frame_rate: float) -> Tensor:
    """Squared second differences in time, of neighbours without a gap between them."""
    together = ((times[2:] - times[:-2]) == 2).float()
    # The same motion sampled twice as often has second differences a quarter as large.
    rate = (max(frame_rate, 1.0) / 25) ** 4

    def bend(values: Tensor) -> Tensor:
        values = values.reshape(len(values), -1)
        return (together * (values[2:] - 2 * values[1:-1] + values[:-2]).square().sum(1)).mean() * rate

    total = config.smooth_turn * bend(unknowns.turn)
    total = total + config.smooth_place * (bend(unknowns.place) + 20 * bend(unknowns.log_scale))
    moved = bend(unknowns.expression) + bend(unknowns.jaw) + 4 * bend(unknowns.gaze)
    return total + config.smooth_expression * moved


def _robust(squared: Tensor, bend: float) -> Tensor:
    """Huber's loss of a length whose square is given: squared up to `bend`, linear beyond."""
    length = (squared + 1e-10).sqrt()
    return torch.where(length < bend, squared, 2 * bend * length - bend * bend)
