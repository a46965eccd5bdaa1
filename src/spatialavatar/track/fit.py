"""The fit: identity and focal length shared, pose and expression per frame, from landmarks and outlines.

All frames are optimised together, so that smoothness in time looks both ways and nothing lags. First some key frames
that differ most give identity and focal length, then every frame is fitted with those.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spatialavatar.head.rotations import axis_angle_from_rotation_matrix
from spatialavatar.track.model import FLIP, USUAL_FOCAL, FaceModel, Unknowns, View, project_points, start_unknowns
from spatialavatar.track.observe import Observations
from spatialavatar.track.outline import mesh_extents


@dataclass(frozen=True)
class FitConfig:
    """Weights and steps. Errors are measured over the inter-ocular distance."""

    identities: int = 60
    """Identity components used."""
    key_frames: int = 32
    """Frames from which identity and focal length are found."""
    key_steps: int = 120
    """L-BFGS steps on the key frames, for each of the two stages (landmarks; with the outline)."""
    frame_steps: int = 60
    """L-BFGS steps on all frames."""
    landmark: float = 1000.0
    """Of the landmarks' robust squared error."""
    landmark_bend: float = 0.03
    """Error beyond which a landmark counts linearly."""
    outline: float = 150.0
    """Of the outline's robust squared error."""
    outline_bend: float = 0.05
    """Outline error beyond which it counts linearly."""
    hair: float = 0.4
    """How much less the outline counts where the matte reaches beyond the mesh, as hair does."""
    identity: float = 0.002
    """Of squared identity coefficients."""
    expression: float = 0.02
    """Of squared expressions."""
    bounds: float = 20.0
    """Of the square by which an expression leaves [0, 1]."""
    pairs: float = 0.05
    """Of the squared difference of the two halves' expressions."""
    focal: float = 0.5
    """Of the squared logarithm of the focal length over the usual one, in units of 0.5."""
    gaze: float = 0.05
    """Of squared gaze (radians); vergence counts 20 times."""
    smooth_turn: float = 20.0
    """Of squared second differences of rotation, at 25 frames/s."""
    smooth_place: float = 20.0
    """Of squared second differences of place and of the logarithm of the scale (this 20 times)."""
    smooth_expression: float = 0.1
    """Of squared second differences of expression."""


FAST = FitConfig(identities=40, key_frames=16, key_steps=60, frame_steps=30)

_LIPS = (
    "61 146 91 181 84 17 314 405 321 375 291 308 324 318 402 317 14 87 178 88 95 185 40 39 37 0 267 269 270 409 415 "
    "310 311 312 13 82 81 42 183 78"
)
_LIDS = (
    "33 7 163 144 145 153 154 155 133 173 157 158 159 160 161 246 263 249 390 373 374 380 381 382 362 398 384 385 386 "
    "387 388 466"
)
_LIPS_AND_LIDS = np.array((_LIPS + " " + _LIDS).split(), np.int64)
_CLEAR = 3.0
# Landmarks on skin that faces away from the camera are the detector's guess: full trust above the second cosine.
_HIDDEN_COSINE, _SEEN_COSINE = 0.05, 0.35


@dataclass(frozen=True)
class Targets:
    """Observations as tensors; T frames."""

    landmarks: Tensor
    """(T, L, 2) pixels."""
    extents: Tensor
    """(T, D) pixels, 0 where unknown."""
    has_extent: Tensor
    """(T, D) 1 where known, else 0."""
    weights: Tensor
    """(L,) mean 1."""

    def frames(self, index: Tensor) -> Targets:
        return replace(
            self,
            landmarks=self.landmarks[index],
            extents=self.extents[index],
            has_extent=self.has_extent[index],
        )


@dataclass(frozen=True)
class Fit:
    """The result: unknowns and views of all T frames of the observations."""

    unknowns: Unknowns
    view: View
    observed: Tensor
    """(T,) bool."""


def fit_head(
    model: FaceModel,
    observations: Observations,
    config: FitConfig | None = None,
    advance: Callable[..., None] = lambda *_: None,
) -> Fit:
    """Fit a head to observations; frames without a face are interpolated between their neighbours.

    Args:
        advance: Called after every optimisation step; `fit_steps` gives how many there are at most.
    """
    config = config or FitConfig()
    seen = np.flatnonzero(observations.seen)
    video = observations.kind == "video"
    view, targets = start(model, observations, seen)
    focals = 1 if video else len(seen)
    identities = min(config.identities, model.head.num_identities)
    unknowns = start_unknowns(len(seen), identities, model.head.num_expressions, focals=focals)
    unknowns = replace(unknowns, expression=unknowns.expression * model.free if model.bounded else unknowns.expression)

    keys = _key_frames(view, targets, config.key_frames) if video else torch.arange(len(seen))
    some, some_view, some_targets = unknowns.frames(keys), view.frames(keys), targets.frames(keys)
    shared = ("identity", "log_focal")
    moving = ("turn", "place", "log_scale", "gaze") + (() if model.bounded else ("jaw",))
    # The pose alone first: with free shapes a bad start would bend the face instead of turning it.
    some = _optimise(model, some, some_view, some_targets, config, moving, 20, advance, outline=False)
    everything = (*shared, "expression", *moving)
    some = _optimise(model, some, some_view, some_targets, config, everything, config.key_steps, advance, outline=False)
    some = _optimise(model, some, some_view, some_targets, config, everything, config.key_steps, advance)
    if not video:
        return _spread(model, some, view, observations, seen)

    unknowns = _interpolated(some, keys, len(seen))
    view, unknowns = _rotations_from_keys(view, unknowns)
    times = torch.from_numpy(seen.astype(np.float32))
    unknowns = _optimise(
        model, unknowns, view, targets, config, ("expression", *moving), config.frame_steps, advance,
        times=times, frame_rate=observations.frame_rate,
    )  # fmt: skip
    return _spread(model, unknowns, view, observations, seen)


def fit_steps(config: FitConfig, kind: str) -> int:
    """How many optimisation steps a fit takes at most."""
    return 20 + 2 * config.key_steps + (config.frame_steps if kind == "video" else 0)


def start(model: FaceModel, observations: Observations, seen: NDArray[np.int64]) -> tuple[View, Targets]:
    """Starting poses of the seen frames, by turning the mean face onto MediaPipe's own three-dimensional landmarks."""
    points = torch.from_numpy(observations.landmarks[seen])  # (T, 478, 3)
    used = points[:, model.indices]
    rest = model.rig.template[: model.landmarks] - model.centre
    # MediaPipe's depth is relative to the face's middle and grows away from the camera, as the camera's z does.
    target = used * FLIP
    middle = target.mean(1, keepdim=True)
    centred = rest - rest.mean(0)
    u, s, vt = torch.linalg.svd((target - middle).mT @ centred)  # of (T, 3, 3): target = R rest
    sign = torch.ones_like(s)
    sign[:, 2] = torch.sign(torch.linalg.det(u @ vt))
    rotation = u @ (sign[..., None] * vt)
    scale = (s * sign).sum(1) / centred.square().sum()
    place = used[..., :2].mean(1) - scale[:, None] * ((rest.mean(0) @ rotation.mT) * FLIP)[:, :2]
    crop_scale = torch.from_numpy(observations.scales[seen]).float()
    corner = torch.from_numpy(observations.corners[seen]).float()
    source = torch.from_numpy(observations.image_sizes[seen]).float()
    inter_ocular = torch.from_numpy(observations.inter_ocular[seen])
    # A turned head's irises move together; the measure of error must not shrink with them.
    across = (rest[model.indices == 473] - rest[model.indices == 468]).norm()
    view = View(
        principal=(source / 2 - corner) * crop_scale[:, None],
        unit=source.amax(1) * crop_scale,
        rotation=rotation,
        place=place,
        log_scale=scale.log(),
        inter_ocular=torch.maximum(inter_ocular, across * scale),
    )
    extents = torch.from_numpy(observations.extents[seen])
    known = torch.isfinite(extents)
    weights = model.weights.clone()
    weights[torch.isin(model.indices, torch.from_numpy(_LIPS_AND_LIDS))] *= _CLEAR
    return view, Targets(used[..., :2], extents.nan_to_num(0.0), known.float(), weights / weights.mean())


def loss(
    model: FaceModel,
    unknowns: Unknowns,
    view: View,
    targets: Targets,
    config: FitConfig,
    *,
    outline: bool = True,
    times: Tensor | None = None,
    frame_rate: float = 0.0,
) -> Tensor:
    """What the fit makes small: mean over frames of the data terms and the priors, plus those of the shared unknowns.

    Args:
        times: (T,) frame numbers, where neighbours are to be smooth in time.
    """
    identity = model.rig.prepare_identity(unknowns.identity)
    landmarks, vertices, rotation = project_points(model, identity, unknowns, view)
    error = (landmarks - targets.landmarks) / view.inter_ocular[:, None, None]
    facing = (model.normals @ rotation.detach().mT)[..., 2]  # cosine to the camera, (T, L)
    visible = ((facing - _HIDDEN_COSINE) / (_SEEN_COSINE - _HIDDEN_COSINE)).clamp(0.05, 1)
    total = config.landmark * (targets.weights * visible * _robust(error.square().sum(-1), config.landmark_bend)).mean()
    if outline:
        beyond = (mesh_extents(vertices) - targets.extents) / view.inter_ocular[:, None]
        side = torch.where(beyond > 0, 1.0, config.hair) * targets.has_extent
        total = total + config.outline * (side * _robust(beyond.square(), config.outline_bend)).mean()

    x = unknowns.expression
    total = total + config.identity * unknowns.identity.square().sum()
    total = total + config.expression * x.square().sum(1).mean()
    if model.bounded:
        outside = torch.relu(-x) + torch.relu(x - 1)
        total = total + config.bounds * outside.square().sum(1).mean()
        halves = x[:, model.pairs[:, 0]] - x[:, model.pairs[:, 1]]
        total = total + config.pairs * halves.square().sum(1).mean()
    from_usual = (unknowns.log_focal - math.log(USUAL_FOCAL)) / 0.5
    total = total + config.focal * from_usual.square().mean()
    gaze = unknowns.gaze.square().mean(0)
    total = total + config.gaze * (gaze[0] + gaze[1] + 20 * gaze[2])
    total = total + 0.5 * unknowns.jaw.square().sum(1).mean()
    if times is not None and len(x) > 2:
        total = total + _roughness(unknowns, times, config, frame_rate)
    return total


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
    total = total + config.smooth_expression * (
        bend(unknowns.expression) + bend(unknowns.jaw) + 4 * bend(unknowns.gaze)
    )
    return total


def _robust(squared: Tensor, bend: float) -> Tensor:
    """Huber's loss of a length whose square is given: squared up to `bend`, linear beyond."""
    length = (squared + 1e-10).sqrt()
    return torch.where(length < bend, squared, 2 * bend * length - bend * bend)


# A unit step of the optimiser in each unknown: about how far it moves in a fit.
_UNITS = {
    "identity": 1.0,
    "log_focal": 0.3,
    "expression": 0.3,
    "turn": 0.1,
    "place": 0.1,
    "log_scale": 0.05,
    "gaze": 0.2,
    "jaw": 0.1,
}


def _optimise(
    model: FaceModel,
    unknowns: Unknowns,
    view: View,
    targets: Targets,
    config: FitConfig,
    names: tuple[str, ...],
    steps: int,
    advance: Callable[..., None],
    *,
    outline: bool = True,
    times: Tensor | None = None,
    frame_rate: float = 0.0,
) -> Unknowns:
    """Minimise the loss over the named unknowns by L-BFGS."""
    fixed = unknowns.detach()
    scaled = {name: (getattr(fixed, name) / _UNITS[name]).requires_grad_() for name in names}

    def current() -> Unknowns:
        values = {name: value * _UNITS[name] for name, value in scaled.items()}
        if "expression" in values and model.bounded:
            values["expression"] = values["expression"] * model.free
        return replace(fixed, **values)

    optimiser = torch.optim.LBFGS(
        list(scaled.values()), max_iter=steps, history_size=12, line_search_fn="strong_wolfe", tolerance_change=1e-6
    )
    taken = 0

    def closure() -> Tensor:
        nonlocal taken
        optimiser.zero_grad()
        value = loss(model, current(), view, targets, config, outline=outline, times=times, frame_rate=frame_rate)
        torch.autograd.backward(value)
        if taken < steps:
            taken += 1
            advance()
        return value

    optimiser.step(closure)
    if taken < steps:
        advance(steps - taken)
    return current().detach()


def _key_frames(view: View, targets: Targets, count: int) -> Tensor:
    """Frames that differ most in pose and mouth, by farthest-point choice from the most frontal one."""
    total = len(view.rotation)
    if total <= count:
        return torch.arange(total)
    rotation = axis_angle_from_rotation_matrix(view.rotation)
    shape = (targets.landmarks - targets.landmarks.mean(1, keepdim=True)) / view.inter_ocular[:, None, None]
    features = torch.cat([3 * rotation, shape.flatten(1) * (2 / math.sqrt(shape.shape[1]))], 1)
    chosen = [int(rotation.norm(dim=1).argmin())]
    distance = (features - features[chosen[0]]).norm(dim=1)
    while len(chosen) < count:
        chosen.append(int(distance.argmax()))
        distance = torch.minimum(distance, (features - features[chosen[-1]]).norm(dim=1))
    return torch.tensor(sorted(chosen))


def _interpolated(some: Unknowns, keys: Tensor, count: int) -> Unknowns:
    """Unknowns of all frames from those of the key frames, linearly between them."""

    def spread(values: Tensor) -> Tensor:
        flat = values.reshape(len(values), -1).numpy()
        at = np.arange(count)
        columns = [np.interp(at, keys.numpy(), column) for column in flat.T]
        return torch.from_numpy(np.stack(columns, 1)).float().reshape(count, *values.shape[1:])

    moved = {f.name: spread(getattr(some, f.name)) for f in fields(some) if f.name not in ("identity", "log_focal")}
    return Unknowns(identity=some.identity, log_focal=some.log_focal, **moved)


def _rotations_from_keys(view: View, unknowns: Unknowns) -> tuple[View, Unknowns]:
    """Move the turns into the starting rotations, and the other starts too, so that smoothness acts on whole motions.

    The turn of a frame is measured from its start, and starts are as noisy as single frames are. For second
    differences to mean anything all frames must be measured from one common rotation.
    """
    from spatialavatar.head.rotations import rotation_matrix_from_axis_angle

    rotation = rotation_matrix_from_axis_angle(unknowns.turn) @ view.rotation
    u, _, vt = torch.linalg.svd(rotation.mean(0))
    mean = u @ torch.diag(torch.tensor([1.0, 1.0, float(torch.linalg.det(u @ vt))])) @ vt
    common = mean.expand_as(rotation)
    place = view.place + unknowns.place * view.inter_ocular[:, None]
    log_scale = view.log_scale + unknowns.log_scale
    size = view.inter_ocular.median().expand_as(view.inter_ocular)
    centre, middle = place.mean(0, keepdim=True), log_scale.mean()
    new = replace(
        view,
        rotation=common,
        place=centre.expand_as(place).clone(),
        log_scale=middle.expand_as(log_scale).clone(),
        inter_ocular=size.clone(),
    )
    turned = axis_angle_from_rotation_matrix(rotation @ common.mT)
    return new, replace(unknowns, turn=turned, place=(place - centre) / size[:, None], log_scale=log_scale - middle)


def _spread(
    model: FaceModel, unknowns: Unknowns, view: View, observations: Observations, seen: NDArray[np.int64]
) -> Fit:
    """Give the unseen frames what lies between their neighbours."""
    count = len(observations.names)
    observed = torch.from_numpy(observations.seen)
    if model.bounded:
        unknowns = replace(unknowns, expression=unknowns.expression.clamp(0, 1))
    if len(seen) == count:
        return Fit(unknowns, view, observed)
    keys = torch.from_numpy(seen)
    everywhere = np.arange(count)
    nearest = torch.from_numpy(seen[np.abs(everywhere[:, None] - seen).argmin(1)])
    position = torch.searchsorted(keys, nearest)
    crop_scale = torch.from_numpy(observations.scales).float()
    corner = torch.from_numpy(observations.corners).float()
    source = torch.from_numpy(observations.image_sizes).float()
    whole = replace(
        view.frames(position),
        principal=(source / 2 - corner) * crop_scale[:, None],
        unit=source.amax(1) * crop_scale,
    )
    return Fit(_interpolated(unknowns, keys, count), whole, observed)
