"""Expression and head pose of pictures, by our own tracker's model: what AED and APD are computed from.

Each picture is fitted by itself, from MediaPipe's landmarks: nothing is smoothed in time, and nothing is known of how
the picture was made. What a person's face is like (identity, focal length, how the landmarks lie on it) is found once
from pictures of that person and then held, so that both sides of a comparison are measured with the same face.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spatialavatar.evaluate.faces import Points
from spatialavatar.head.head import Head
from spatialavatar.head.open_head import load_open_head
from spatialavatar.track.fit import fit_head, start
from spatialavatar.track.loss import FitConfig, loss
from spatialavatar.track.model import FaceModel, Unknowns, face_model_of, full_expression, head_rotation, start_unknowns
from spatialavatar.track.observe import Observations
from spatialavatar.track.outline import CONTOUR_POINTS
from spatialavatar.track.tracker import one_thread

VERSION = 1
_CONFIG = FitConfig(identities=40, key_frames=16, key_steps=40, contour_rounds=0, frame_steps=1)
_FRAMES_TOGETHER = 32
_STEPS = 60
_POSE_STEPS = 15
# A unit step of the optimiser in each unknown of a frame, as in the tracker.
_UNITS = {"expression": 0.3, "turn": 0.1, "place": 0.1, "log_scale": 0.05, "gaze": 0.2, "jaw": 0.1}


@dataclass(frozen=True)
class Person:
    """What is held while frames of one person are measured."""

    identity: Tensor
    log_focal: Tensor
    offsets: Tensor


@dataclass(frozen=True)
class FaceCodes:
    """Per frame, NaN where no face was found.

    Attributes:
        expression: (T, E) the head's expressions (ARKit's 52, in [0, 1], for the open head).
        angles: (T, 3) pitch, yaw and roll of the head in radians.
    """

    expression: NDArray[np.float32]
    angles: NDArray[np.float32]


@dataclass(frozen=True)
class FaceEstimator:
    """Measures expression and pose with a head that has a landmark embedding."""

    head: Head
    reader: str

    @property
    def id(self) -> str:
        return f"landmark-fit-{VERSION}.{self.head.edition}.{self.reader}"

    @cached_property
    def _model(self) -> FaceModel:
        return face_model_of(self.head)

    def meet(self, landmarks: Points, size: tuple[int, int]) -> Person | None:
        """Find what the person of these pictures is like.

        Args:
            landmarks: (T, 478, 3) pixels, NaN where no face was found.
            size: Width and height of the pictures.

        Returns:
            None when no picture has a face.
        """
        if not np.isfinite(landmarks[:, 0, 0]).any():
            return None
        with one_thread():
            fit = fit_head(self._model, _observations(landmarks, size), _CONFIG)
        unknowns = fit.unknowns
        return Person(unknowns.identity, unknowns.log_focal, unknowns.offsets)

    def measure(
        self, landmarks: Points, size: tuple[int, int], person: Person, advance: Callable[..., None] = lambda *_: None
    ) -> FaceCodes:
        """Expression and pose of every picture by itself; `advance` is called with numbers of pictures done."""
        count = len(landmarks)
        expression = np.full((count, self.head.num_expressions), np.nan, np.float32)
        angles = np.full((count, 3), np.nan, np.float32)
        seen = np.flatnonzero(np.isfinite(landmarks[:, 0, 0]))
        observations = _observations(landmarks, size)
        for first in range(0, len(seen), _FRAMES_TOGETHER):
            chosen = seen[first : first + _FRAMES_TOGETHER]
            with one_thread():
                expression[chosen], angles[chosen] = self._fitted(observations, chosen, person)
            advance(len(chosen))
        return FaceCodes(expression, angles)

    def _fitted(
        self, observations: Observations, chosen: NDArray[np.int64], person: Person
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        model = self._model
        view, targets = start(model, observations, chosen)
        # A prior on what all frames have in common would make one frame's result depend on the others.
        config = replace(_CONFIG, usual_expression=0.0)
        unknowns = replace(
            start_unknowns(model, len(chosen), len(person.identity), focals=1),
            identity=person.identity,
            log_focal=person.log_focal,
            offsets=person.offsets,
        )

        def minimise(unknowns: Unknowns, names: tuple[str, ...], steps: int) -> Unknowns:
            scaled = {name: (getattr(unknowns, name) / _UNITS[name]).requires_grad_() for name in names}

            def current() -> Unknowns:
                values = {name: value * _UNITS[name] for name, value in scaled.items()}
                if "expression" in values and model.bounded:
                    values["expression"] = values["expression"] * model.free
                return replace(unknowns, **values)

            optimiser = torch.optim.LBFGS(
                list(scaled.values()), max_iter=steps, history_size=12, line_search_fn="strong_wolfe"
            )

            def closure() -> Tensor:
                optimiser.zero_grad()
                value = loss(model, current(), view, targets, config, outline=False)
                torch.autograd.backward(value)
                return value

            optimiser.step(closure)
            return current().detach()

        pose = ("turn", "place", "log_scale", "gaze")
        moving = pose if model.bounded else (*pose, "jaw")
        unknowns = minimise(unknowns, pose, _POSE_STEPS)
        unknowns = minimise(unknowns, ("expression", *moving), _STEPS)
        expression = full_expression(model, unknowns)
        if model.bounded:
            expression = expression.clamp(0, 1)
        return expression.numpy(), euler_angles(head_rotation(unknowns, view)).numpy()


def default_estimator(reader: str) -> FaceEstimator:
    """The estimator on the open head, for landmarks found by `reader`."""
    return FaceEstimator(load_open_head(), reader)


def euler_angles(rotation: Tensor) -> Tensor:
    """(..., 3, 3) head to world -> (..., 3) pitch, yaw and roll in radians, rotation = yaw * pitch * roll."""
    forward = rotation[..., :, 2]
    yaw = torch.atan2(forward[..., 0], forward[..., 2])
    pitch = -torch.asin(forward[..., 1].clamp(-1, 1))
    roll = torch.atan2(rotation[..., 1, 0], rotation[..., 1, 1])
    return torch.stack([pitch, yaw, roll], -1)


def _observations(landmarks: Points, size: tuple[int, int]) -> Observations:
    """Landmarks alone, as the tracker's fit takes them: pictures are their own sources, and no outline is known."""
    count = len(landmarks)
    contours = np.full((count, CONTOUR_POINTS, 6), np.nan, np.float32)
    return Observations(
        kind="video",
        names=tuple(f"{k:05d}" for k in range(count)),
        size=math.ceil(max(size)),
        frame_rate=25.0,
        landmarks=np.asarray(landmarks, np.float32),
        contours=contours,
        torsos=(),
        corners=np.zeros((count, 2)),
        scales=np.ones(count),
        image_sizes=np.tile(np.array(size, np.float64), (count, 1)),
        warnings=(),
    )
