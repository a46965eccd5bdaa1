"""The fit: identity and focal length shared, pose and expression per frame, from landmarks and outlines.

All frames are optimised together, so that smoothness in time looks both ways and nothing lags. First some key frames
that differ most give identity and focal length, then every frame is fitted with those.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spatialavatar.head.rotations import axis_angle_from_rotation_matrix, rotation_matrix_from_axis_angle
from spatialavatar.track.cuts import apart_in_time, nearest_of
from spatialavatar.track.loss import FitConfig, Matches, Targets, data_loss, loss, of_video, prior_loss
from spatialavatar.track.match import match_contours
from spatialavatar.track.model import FLIP, PER_FRAME, FaceModel, Unknowns, View, start_unknowns
from spatialavatar.track.observe import Observations
from spatialavatar.track.outline import contour_extents

_LIPS = (
    "61 146 91 181 84 17 314 405 321 375 291 308 324 318 402 317 14 87 178 88 95 185 40 39 37 0 267 269 270 409 415 "
    "310 311 312 13 82 81 42 183 78"
)
_LIDS = (
    "33 7 163 144 145 153 154 155 133 173 157 158 159 160 161 246 263 249 390 373 374 380 381 382 362 398 384 385 386 "
    "387 388 466"
)
_LIPS_AND_LIDS = torch.tensor([int(n) for n in (_LIPS + " " + _LIDS).split()])
# Pairs that touch when an eye or the mouth is shut.
_APERTURES = (
    *((159, 145), (158, 153), (160, 144), (161, 163), (157, 154)),
    *((386, 374), (385, 380), (387, 373), (388, 390), (384, 381)),
    *((13, 14), (82, 87), (312, 317), (81, 178), (311, 402), (80, 88), (310, 318)),
)
_CLEAR = 3.0
_FIRM = 20.0
_AT_ONCE = 1500
"""Frames whose loss is taken at once, a minute at 25 a second; of more, half as many at a time."""
_POSE_STEPS, _FEW_POSE_STEPS = 20, 8

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
    "offsets": 0.002,
}


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
    video = observations.kind == "video"
    if video:
        config = of_video(config)
    seen = np.flatnonzero(observations.seen)
    view, targets = start(model, observations, seen)
    identities = min(config.identities, model.head.num_identities)
    focals = 1 if video else len(seen)
    unknowns = start_unknowns(model, len(seen), identities, focals=focals, focal=config.known_focal)

    keys = _key_frames(view, targets, config.key_frames) if video else torch.arange(len(seen))
    some = _Problem(model, view.frames(keys), targets.frames(keys), config, advance)
    key_landmarks = observations.landmarks[seen][keys.numpy()][..., :2]
    key_contours = observations.contours[seen][keys.numpy()]
    moving = ("turn", "place", "log_scale", "gaze") + (() if model.bounded else ("jaw",))
    everything = (*_shared(config), "expression", *moving)
    # The pose alone first: with free shapes a bad start would bend the face instead of turning it.
    at_once = config.photo_steps if not video else 0
    found = some.optimise(unknowns.frames(keys), moving, _FEW_POSE_STEPS if at_once else _POSE_STEPS, outline=False)
    if not at_once:
        found = some.optimise(found, everything, config.key_steps, outline=False)
    found = some.optimise(found, everything, at_once or config.key_steps)
    for _ in range(config.contour_rounds):
        matches = match_contours(model, found, some.view, key_contours, key_landmarks, observations.size)
        found = some.optimise(found, everything, config.contour_steps, matches=matches)
    if not video:
        return _spread(model, found, view, observations, seen)

    view, unknowns = _measured_from_one_start(view, _interpolated(found, keys, len(seen)))
    times = torch.from_numpy(apart_in_time(seen, observations.cuts))
    every = _Problem(model, view, targets, config, advance, times, observations.frame_rate)
    unknowns = every.optimise(unknowns, ("expression", *moving), config.frame_steps)
    return _spread(model, unknowns, view, observations, seen)


def fit_person(model: FaceModel, observations: Observations, config: FitConfig) -> Unknowns:
    """Identity, focal length and personal offsets of one person in some frames, from landmarks alone.

    Returns:
        Unknowns of the key frames, in no order that matters.
    """
    seen = np.flatnonzero(observations.seen)
    view, targets = start(model, observations, seen)
    keys = _key_frames(view, targets, config.key_frames)
    problem = _Problem(model, view.frames(keys), targets.frames(keys), of_video(config), lambda *_: None)
    identities = min(config.identities, model.head.num_identities)
    moving = ("turn", "place", "log_scale", "gaze") + (() if model.bounded else ("jaw",))
    found = start_unknowns(model, len(keys), identities, focal=config.known_focal)
    found = problem.optimise(found, moving, _POSE_STEPS, outline=False)
    everything = (*_shared(config), "expression", *moving)
    return problem.optimise(found, everything, config.key_steps, outline=False)


def _shared(config: FitConfig) -> tuple[str, ...]:
    """The unknowns that all frames of a video share."""
    return ("identity", "offsets") if config.known_focal else ("identity", "log_focal", "offsets")


def fit_steps(config: FitConfig, kind: str) -> int:
    """How many optimisation steps a fit takes at most."""
    contours = config.contour_rounds * config.contour_steps
    if kind != "video" and config.photo_steps:
        return _FEW_POSE_STEPS + config.photo_steps + contours
    keys = _POSE_STEPS + 2 * config.key_steps + contours
    return keys + (config.frame_steps if kind == "video" else 0)


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
    principal, unit = _cameras(observations, seen)
    # A turned head's irises move together; the measure of error must not shrink with them.
    across = (rest[model.indices == 473] - rest[model.indices == 468]).norm()
    view = View(
        principal=principal,
        unit=unit,
        rotation=rotation,
        place=place,
        log_scale=scale.log(),
        inter_ocular=torch.maximum(torch.from_numpy(observations.inter_ocular[seen]), across * scale),
    )
    pairs = [contour_extents(observations.contours[k], observations.landmarks[k, :, :2]) for k in seen]
    extents = torch.from_numpy(np.stack([pair[0] for pair in pairs]))
    skin = torch.from_numpy(np.stack([pair[1] for pair in pairs])).float()
    clear = torch.isin(model.indices, _LIPS_AND_LIDS).float()
    weights = model.weights * (1 + (_CLEAR - 1) * clear)
    position = {int(index): k for k, index in enumerate(model.indices)}
    apertures = [(position[a], position[b]) for a, b in _APERTURES if a in position and b in position]
    targets = Targets(
        landmarks=used[..., :2],
        extents=extents.nan_to_num(0.0),
        has_extent=torch.isfinite(extents).float(),
        skin=skin,
        weights=weights / weights.mean(),
        firmness=1 + (_FIRM - 1) * clear,
        apertures=torch.tensor(apertures, dtype=torch.long).reshape(-1, 2),
    )
    return view, targets


def _cameras(observations: Observations, frames: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """(T, 2) principal points and (T,) the sources' longer sides, in pixels of the crops."""
    scale = torch.from_numpy(observations.scales[frames]).float()
    corner = torch.from_numpy(observations.corners[frames]).float()
    source = torch.from_numpy(observations.image_sizes[frames]).float()
    return (source / 2 - corner) * scale[:, None], source.amax(1) * scale


@dataclass(frozen=True)
class _Problem:
    """What stays the same over the stages of the fit of some frames."""

    model: FaceModel
    view: View
    targets: Targets
    config: FitConfig
    advance: Callable[..., None]
    times: Tensor | None = None
    frame_rate: float = 0.0

    def optimise(
        self,
        unknowns: Unknowns,
        names: tuple[str, ...],
        steps: int,
        *,
        outline: bool = True,
        matches: Matches | None = None,
    ) -> Unknowns:
        """Minimise the loss over the named unknowns by L-BFGS."""
        fixed = unknowns.detach()
        scaled = {name: (getattr(fixed, name) / _UNITS[name]).requires_grad_() for name in names}

        def current() -> Unknowns:
            values = {name: value * _UNITS[name] for name, value in scaled.items()}
            if "expression" in values and self.model.bounded:
                values["expression"] = values["expression"] * self.model.free
            return replace(fixed, **values)

        optimiser = torch.optim.LBFGS(
            list(scaled.values()), max_iter=steps, history_size=12, line_search_fn="strong_wolfe", tolerance_change=1e-6
        )
        taken = 0

        def closure() -> Tensor:
            nonlocal taken
            optimiser.zero_grad()
            value = self._backward(current, outline, matches)
            if taken < steps:
                taken += 1
                self.advance()
            return value

        optimiser.step(closure)
        if taken < steps:
            self.advance(steps - taken)
        return current().detach()

    def _backward(self, current: Callable[[], Unknowns], outline: bool, matches: Matches | None) -> Tensor:
        """The loss, with its gradient added to the unknowns': of many frames part by part.

        All frames' meshes and what autograd keeps of them take 0.6 MB a frame, which 10 minutes do not allow.
        """
        model, view, targets, config = self.model, self.view, self.targets, self.config
        frames = len(view.rotation)
        if frames <= _AT_ONCE or matches is not None:
            value = loss(
                model,
                current(),
                view,
                targets,
                config,
                outline=outline,
                matches=matches,
                times=self.times,
                frame_rate=self.frame_rate,
            )
            torch.autograd.backward(value)
            return value.detach()
        value = prior_loss(model, current(), view, targets, config, times=self.times, frame_rate=self.frame_rate)
        torch.autograd.backward(value)
        total = value.detach()
        for part in torch.arange(frames).split(_AT_ONCE // 2):
            share = len(part) / frames
            value = share * data_loss(
                model, current().frames(part), view.frames(part), targets.frames(part), config, outline=outline
            )
            torch.autograd.backward(value)
            total = total + value.detach()
        return total


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

    return replace(some, **{name: spread(getattr(some, name)) for name in PER_FRAME})


def _measured_from_one_start(view: View, unknowns: Unknowns) -> tuple[View, Unknowns]:
    """Measure all frames' poses from one common start, without changing them.

    Each frame's own start is as noisy as a single frame is; only against a common one do second differences of turn,
    place and scale say how smooth the motion is.
    """
    rotation = rotation_matrix_from_axis_angle(unknowns.turn) @ view.rotation
    u, _, vt = torch.linalg.svd(rotation.mean(0))
    common = (u @ torch.diag(torch.tensor([1.0, 1.0, float(torch.linalg.det(u @ vt))])) @ vt).expand_as(rotation)
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
    """Give the unseen frames what lies between their neighbours, and hold bounded expressions to their bounds."""
    count = len(observations.names)
    observed = torch.from_numpy(observations.seen)
    if model.bounded:
        unknowns = replace(unknowns, expression=unknowns.expression.clamp(0, 1))
    if len(seen) == count:
        return Fit(unknowns, view, observed)
    everywhere = np.arange(count)
    principal, unit = _cameras(observations, everywhere)
    # Only videos have unseen frames, and their start is common to all: any seen frame's serves.
    nearest = torch.from_numpy(np.searchsorted(seen, nearest_of(seen, count)))
    whole = replace(view.frames(nearest), principal=principal, unit=unit)
    return Fit(_interpolated(unknowns, torch.from_numpy(seen), count), whole, observed)
