"""The fit of one frame, warm-started from the one before: some Gauss-Newton steps in a few milliseconds.

The same landmarks, weights and priors as in the fit of all frames together (`loss`), without outlines, and looking back
only: second differences in time are taken to the two frames before. Identity and focal length are known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spatialavatar.head.rig import PreparedIdentity, Rig
from spatialavatar.head.rotations import rotation_matrix_from_axis_angle
from spatialavatar.track.loss import HIDDEN_COSINE, SEEN_COSINE, FitConfig, Targets
from spatialavatar.track.model import USUAL_DISTANCE, FaceModel, Unknowns, local_motion, start_unknowns

Array = NDArray[np.float64]

# Size of the steps by which the shape's derivatives are taken: expressions enter linearly, gaze nearly so.
_SHAPE_STEP = 1e-2
_LONGEST_STEP = 0.5  # radians that a single step may turn the head


@dataclass(frozen=True)
class FrameState:
    """One frame's unknowns; the world's axes are the camera's with y up and z to the camera.

    Attributes:
        rotation: (3, 3) head to world.
        place: (2,) pixels where the head's centre is seen.
        log_scale: Logarithm of pixels per metre at the head's centre.
        shape: (N,) expressions in use, then gaze (3), then jaw (3) where the expressions do not open it.
    """

    rotation: Array
    place: Array
    log_scale: float
    shape: Array


@dataclass(frozen=True)
class FrameFitter:
    """What stays the same from frame to frame.

    Attributes:
        model: The head's landmarks.
        rig: Poses the L landmarks alone.
        identity: The person at rest.
        identity_coefficients: (K,).
        offsets: (L, 3) metres, this person's landmarks beside the embedding's.
        focal: Pixels.
        principal: (2,) pixels.
        config: Weights.
        weights: (L,) of landmarks, mean 1.
        apertures: (P, 2) positions of landmarks across eyes and mouth.
        frame_rate: Frames per second, for smoothness.
    """

    model: FaceModel
    rig: Rig
    identity: PreparedIdentity
    identity_coefficients: Tensor
    offsets: Tensor
    focal: float
    principal: Array
    config: FitConfig
    weights: Array
    apertures: NDArray[np.int64]
    frame_rate: float

    @property
    def used(self) -> NDArray[np.int64]:
        """Columns of the expressions that are fitted."""
        return np.flatnonzero(self.model.free.numpy() > 0)

    def neutral_shape(self) -> Array:
        return np.zeros(len(self.used) + (3 if self.model.bounded else 6))

    @torch.no_grad()
    def local(self, shapes: Array) -> Array:
        """(B, N) shapes -> (B, L, 3) landmarks about the face's centre, metres."""
        unknowns = self.unknowns(shapes)
        points = self.rig.pose(self.identity, local_motion(self.model, unknowns)) - self.model.centre
        return np.asarray((points + self.offsets).numpy(), np.float64)

    def unknowns(self, shapes: Array) -> Unknowns:
        """(B, N) shapes as unknowns of the fit, at rest otherwise."""
        count, free = len(shapes), len(self.used)
        values = torch.from_numpy(shapes.astype(np.float32))
        base = start_unknowns(self.model, count, len(self.identity_coefficients))
        expression = torch.zeros(count, len(self.model.free))
        expression[:, torch.from_numpy(self.used)] = values[:, :free]
        jaw = base.jaw if self.model.bounded else values[:, free + 3 :]
        return replace(
            base, identity=self.identity_coefficients, expression=expression, gaze=values[:, free : free + 3], jaw=jaw
        )

    def project(self, state: FrameState, local: Array) -> tuple[Array, Array]:
        """(L, 3) landmarks -> (L, 2) pixels and (L, 3) camera coordinates."""
        camera = (local @ state.rotation.T) * [1, -1, -1] + self.position(state)
        return camera[:, :2] * (self.focal / np.maximum(camera[:, 2:], 0.05)) + self.principal, camera

    def position(self, state: FrameState) -> Array:
        """(3,) camera coordinates of the head's centre, metres."""
        scale = math.exp(state.log_scale)
        return np.append((state.place - self.principal) / scale, self.focal / scale)

    def fit(self, landmarks: Array, state: FrameState, before: tuple[FrameState, ...], steps: int) -> FrameState:
        """Fit one frame.

        Args:
            landmarks: (L, 2) pixels.
            state: Where to start.
            before: The last frame and the one before it, newest first, where they follow each other without a gap.
            steps: Gauss-Newton steps.
        """
        base, derivatives = self._shape_derivatives(state.shape)
        shape = state.shape
        size = self._size(landmarks, state)
        for _ in range(steps):
            local = base + np.tensordot(state.shape - shape, derivatives, 1)
            change = self._step(landmarks, state, local, derivatives, before, size)
            state = self._moved(state, change, size)
        if self.model.bounded:
            free = len(self.used)
            state = replace(state, shape=np.append(state.shape[:free].clip(0, 1), state.shape[free:]))
        return state

    def _size(self, landmarks: Array, state: FrameState) -> float:
        """The measure of errors: the inter-ocular distance in pixels, of a turned head too."""
        right, left = (int(np.flatnonzero(self.model.indices.numpy() == index)[0]) for index in (468, 473))
        across = float((self.rig.template[left] - self.rig.template[right]).norm())
        seen = float(np.linalg.norm(landmarks[left] - landmarks[right]))
        return max(seen, across * math.exp(state.log_scale))

    def _shape_derivatives(self, shape: Array) -> tuple[Array, Array]:
        """(L, 3) landmarks of a shape, and (N, L, 3) their derivatives, by differences."""
        posed = self.local(np.concatenate([shape[None], shape + _SHAPE_STEP * np.eye(len(shape))]))
        return posed[0], (posed[1:] - posed[0]) / _SHAPE_STEP

    def _moved(self, state: FrameState, change: Array, size: float) -> FrameState:
        turn = change[:3] * min(1.0, _LONGEST_STEP / max(float(np.linalg.norm(change[:3])), 1e-9))
        turned = rotation_matrix_from_axis_angle(torch.from_numpy(turn)).numpy() @ state.rotation
        return FrameState(
            rotation=turned,
            place=state.place + change[3:5] * size,
            log_scale=state.log_scale + float(np.clip(change[5], -0.5, 0.5)),
            shape=state.shape + change[6:],
        )

    def _step(
        self,
        landmarks: Array,
        state: FrameState,
        local: Array,
        derivatives: Array,
        before: tuple[FrameState, ...],
        size: float,
    ) -> Array:
        """The change of turn (3), place (2, of `size`), log scale and shape that a Gauss-Newton step makes."""
        config, count = self.config, 6 + len(state.shape)
        pixels, camera = self.project(state, local)
        error = (pixels - landmarks) / size  # (L, 2)
        jacobian = self._jacobian(state, local, derivatives, camera) / size  # (L, 2, 6 + N)
        jacobian[:, :, 3:5] *= size
        facing = (self.model.normals.numpy() @ state.rotation.T)[:, 2]
        visible = ((facing - HIDDEN_COSINE) / (SEEN_COSINE - HIDDEN_COSINE)).clip(0.05, 1)
        trust = config.landmark / len(local) * self.weights * visible * _bent(error, config.landmark_bend)
        matrix = np.zeros((count, count))
        vector = np.zeros(count)
        _add(matrix, vector, jacobian, error, trust)
        if len(self.apertures):
            upper, lower = self.apertures.T
            opening = error[upper] - error[lower]
            strength = config.aperture / len(upper) * _bent(opening, config.landmark_bend)
            _add(matrix, vector, jacobian[upper] - jacobian[lower], opening, strength)
        self._priors(matrix, vector, state)
        self._smoothness(matrix, vector, state, before, size)
        matrix[np.diag_indices(count)] += 1e-9
        return np.asarray(-np.linalg.solve(matrix, vector))

    def _jacobian(self, state: FrameState, local: Array, derivatives: Array, camera: Array) -> Array:
        """(L, 2, 6 + N) of the pixels by turn, place in pixels, log scale and shape."""
        turned = local @ state.rotation.T
        moved = np.zeros((len(local), 3, 6 + len(derivatives)))
        # d(exp(w) x) = w x x.
        moved[:, 0, 1], moved[:, 0, 2] = turned[:, 2], -turned[:, 1]
        moved[:, 1, 0], moved[:, 1, 2] = -turned[:, 2], turned[:, 0]
        moved[:, 2, 0], moved[:, 2, 1] = turned[:, 1], -turned[:, 0]
        moved[:, :, 6:] = (derivatives @ state.rotation.T).transpose(1, 2, 0)
        moved *= np.array([1.0, -1.0, -1.0])[:, None]
        scale = math.exp(state.log_scale)
        moved[:, 0, 3] = moved[:, 1, 4] = 1 / scale
        moved[:, :, 5] = -self.position(state)
        depth = np.maximum(camera[:, 2], 0.05)[:, None]
        slope = camera[:, :2] / depth
        across = moved[:, :2] - slope[..., None] * moved[:, 2:3]
        return np.asarray(self.focal / depth[..., None] * across)

    def _priors(self, matrix: Array, vector: Array, state: FrameState) -> None:
        """The batch fit's priors of a frame."""
        config, free = self.config, len(self.used)
        at = np.arange(6, 6 + free)
        x = state.shape[:free]
        weight = np.full(free, config.expression)
        target = np.zeros(free)
        if self.model.bounded:
            outside = (x < 0) | (x > 1)
            weight = weight + config.bounds * outside
            target = np.where(outside, config.bounds * x.clip(0, 1) / weight, 0.0)
        matrix[at, at] += weight
        vector[at] += weight * (x - target)
        column = {int(name): 6 + k for k, name in enumerate(self.used)}
        for left, right in self.model.pairs.tolist():
            if left in column and right in column and self.model.bounded:
                a, b = column[left], column[right]
                apart = state.shape[a - 6] - state.shape[b - 6]
                matrix[[a, b], [a, b]] += config.pairs
                matrix[[a, b], [b, a]] -= config.pairs
                vector[a] += config.pairs * apart
                vector[b] -= config.pairs * apart
        gaze = np.arange(6 + free, 9 + free)
        strength = config.gaze * np.array([1.0, 1.0, 20.0])
        matrix[gaze, gaze] += strength
        vector[gaze] += strength * state.shape[free : free + 3]
        jaw = np.arange(9 + free, 6 + len(state.shape))
        matrix[jaw, jaw] += 0.5
        vector[jaw] += 0.5 * state.shape[free + 3 :]
        depth = math.log(self.focal) - state.log_scale
        matrix[5, 5] += config.distance / 0.25
        vector[5] -= config.distance / 0.25 * (depth - math.log(USUAL_DISTANCE))

    def _smoothness(
        self, matrix: Array, vector: Array, state: FrameState, before: tuple[FrameState, ...], size: float
    ) -> None:
        """Second differences to the two frames before; nothing holds a frame that has only one before it."""
        if len(before) < 2:
            return
        config, rate = self.config, (max(self.frame_rate, 1.0) / 25) ** 4
        last, older = before[:2]
        predicted = last.rotation @ older.rotation.T @ last.rotation
        count, free = len(state.shape), len(self.used)
        bend = np.concatenate(
            [
                _axis_angle(state.rotation @ predicted.T),
                (state.place - 2 * last.place + older.place) / size,
                [state.log_scale - 2 * last.log_scale + older.log_scale],
                state.shape - 2 * last.shape + older.shape,
            ]
        )
        weights = np.full(6 + count, config.smooth_expression)
        weights[:3], weights[3:5], weights[5] = config.smooth_turn, config.smooth_place, 20 * config.smooth_place
        weights[6 + free : 9 + free] *= 4
        at = np.arange(6 + count)
        matrix[at, at] += rate * weights
        vector += rate * weights * bend


def frame_fitter(
    model: FaceModel,
    targets: Targets,
    identity: Tensor,
    offsets: Tensor,
    focal: float,
    principal: Array,
    config: FitConfig,
    frame_rate: float,
) -> FrameFitter:
    """Prepare the fit of frames of one person before one camera; `targets` gives weights and apertures."""
    rig = model.rig.restrict(torch.arange(model.landmarks))
    return FrameFitter(
        model=model,
        rig=rig,
        identity=rig.prepare_identity(identity),
        identity_coefficients=identity,
        offsets=offsets,
        focal=focal,
        principal=principal,
        config=config,
        weights=targets.weights.double().numpy(),
        apertures=targets.apertures.numpy(),
        frame_rate=frame_rate,
    )


def _bent(error: Array, bend: float) -> Array:
    """(N, 2) -> (N,) the weights by which a square becomes Huber's loss."""
    length = np.sqrt((error**2).sum(-1) + 1e-10)
    return np.minimum(1.0, bend / length)


def _add(matrix: Array, vector: Array, jacobian: Array, error: Array, weights: Array) -> None:
    """Add (N, 2, P) derivatives and (N, 2) errors with (N,) weights to the normal equations."""
    weighted = (jacobian * weights[:, None, None]).reshape(-1, jacobian.shape[-1])
    flat = jacobian.reshape(-1, jacobian.shape[-1])
    matrix += weighted.T @ flat
    vector += weighted.T @ error.reshape(-1)


def _axis_angle(rotation: Array) -> Array:
    """(3, 3) of less than a half turn -> (3,)."""
    twist = np.array(
        [rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]]
    )
    sine = float(np.linalg.norm(twist)) / 2
    if sine < 1e-9:
        return np.asarray(twist / 2)
    return np.asarray(twist / (2 * sine) * math.atan2(sine, (float(np.trace(rotation)) - 1) / 2))
