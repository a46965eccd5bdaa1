"""Takes out of a tracking what trembles although the picture does not.

A frame's pixels place a head to a few tenths of a pixel, by itself. Heads do not move so fast that neighbours would
not hold each other; but a camera in the hand shakes at any rate, and a smoother would damp that too. So the picture's
own motion between neighbouring frames is measured first (optical flow at the face, as a shift, a turn and a growth),
and only what is left of the motion is smoothed: x' = p + W (x - p), where p is the flow added up. Flow drifts slowly,
but W lets slow things pass, so that the drift cancels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spatialavatar.head.head import Head
from spatialavatar.head.landmarks import LandmarkEmbedding, load_landmarks
from spatialavatar.head.rotations import axis_angle_from_rotation_matrix, rotation_matrix_from_axis_angle
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.sequence.validate import in_camera
from spatialavatar.track.corrections import Anchor, Corrections, corrected, make_anchor
from spatialavatar.track.cuts import shots
from spatialavatar.track.measure import INNER_WEIGHT, between_eyes

# A blink is over in three frames, and gaze jumps: they stay as they are.
_QUICK = ("eyeBlink", "eyeLook")
_MOUTH = ("jaw", "mouth", "tongue", "cheekPuff")
# Optical flow: the window's share of the inter-ocular distance, and how many reweightings find what moves as one.
_WINDOW, _ROUNDS = 0.25, 10


@dataclass(frozen=True)
class SteadyConfig:
    """Weights of squared second differences in time against squared changes, at 25 frames/s."""

    place: float = 0.2
    """Of the head's place, less the picture's own motion."""
    turn: float = 0.2
    """Of the head's rotation; of what turns it in the picture's plane, less the picture's own turn."""
    mouth: float = 0.1
    """Of expressions of mouth and jaw, which speech moves several times a second."""
    expression: float = 0.5
    """Of other expressions; blinks and gaze are left alone."""


@torch.no_grad()
def steadied(
    sequence: TrackedSequence,
    head: Head,
    config: SteadyConfig | None = None,
    cuts: tuple[int, ...] = (),
    drift: Tensor | None = None,
) -> TrackedSequence:
    """The sequence without trembling.

    Args:
        sequence: A video with its frames at hand and one camera; other sequences come back as they are.
        cuts: First frames after cuts, over which nothing is smoothed.
        drift: (T, 4) `picture_motion` where it is known already.
    """
    if sequence.kind != "video" or sequence.landmarks is None or len(sequence) < 3:
        return sequence
    config = config or SteadyConfig()
    motion = sequence.motion
    anchor = make_anchor(head, sequence.identity, motion)
    drift = picture_motion(sequence, load_landmarks(head), cuts) if drift is None else drift
    none = Corrections.none(len(sequence), head.num_expressions)
    weights = torch.tensor([_weight(name, config) for name in head.expression_names])
    turn, shift = torch.zeros_like(anchor.middle), torch.zeros_like(anchor.middle)
    expression = none.expression.clone()
    rate = (max(sequence.frame_rate, 1.0) / 25) ** 4
    for first, beyond in shots(cuts, len(sequence)):
        part = slice(first, beyond)
        turn[part], shift[part] = _head_changes(sequence, anchor, drift, part, config, rate)
        values = motion.expression[part]
        for weight in set(weights.tolist()) - {0.0}:
            columns = weights == weight
            expression[part, columns] = smooth(values[:, columns], weight * rate) - values[:, columns]
    changes = replace(none, head_turn=turn, head_shift=shift, expression=expression)
    return replace(sequence, motion=corrected(head, sequence.identity, anchor, changes))


def _weight(name: str, config: SteadyConfig) -> float:
    if name.startswith(_QUICK):
        return 0.0
    return config.mouth if name.startswith(_MOUTH) else config.expression


def _head_changes(
    sequence: TrackedSequence, anchor: Anchor, drift: Tensor, part: slice, config: SteadyConfig, rate: float
) -> tuple[Tensor, Tensor]:
    """(N, 3) axis-angle and (N, 3) metres in the world that take the trembling out of a shot's head."""
    rotation = sequence.camera_from_world[part, :3, :3]
    place = in_camera(anchor.middle[part, None], sequence.camera_from_world[part])[:, 0]
    focal = sequence.intrinsics[part, 0, 0]
    pixels = place[:, :2] / place[:, 2:] * focal[:, None]
    placed = torch.cat([pixels, -place[:, 2:].log()], 1)
    moved = drift[part][:, [0, 1, 3]]
    placed = smooth(placed - moved, config.place * rate) + moved
    depth = (-placed[:, 2:]).exp()
    shift = torch.cat([placed[:, :2] * depth / focal[:, None], depth], 1) - place

    turned = rotation @ anchor.head[part]
    middle = turned[len(turned) // 2]
    roll = torch.zeros_like(shift)
    roll[:, 2] = drift[part][:, 2]
    turns = axis_angle_from_rotation_matrix(turned @ middle.T)
    steady = rotation_matrix_from_axis_angle(smooth(turns - roll, config.turn * rate) + roll) @ middle
    change = rotation.mT @ steady @ turned.mT @ rotation
    return axis_angle_from_rotation_matrix(change), (rotation.mT @ shift[..., None])[..., 0]


def picture_motion(sequence: TrackedSequence, embedding: LandmarkEmbedding, cuts: tuple[int, ...] = ()) -> Tensor:
    """(T, 4) how the face moves in the camera's picture, added up from frame to frame by optical flow.

    Returns:
        To the right and downwards in pixels, of the middle between the eyes; clockwise turn in radians and logarithm of
        the growth; since each shot's first frame. A crop that follows the head does not count. Nothing is added where a
        frame has no face.
    """
    assert sequence.landmarks is not None
    count = len(sequence)
    landmarks = sequence.landmarks[:, embedding.indices]
    points = landmarks[:, embedding.weights > INNER_WEIGHT].numpy()
    eyes = between_eyes(landmarks, embedding).numpy()
    principal = sequence.intrinsics[:, :2, 2].numpy()
    valid = (sequence.is_valid & sequence.landmarks.isfinite().flatten(1).all(1)).tolist()
    starts = {first for first, _ in shots(cuts, count)}
    total = np.zeros((count, 4))
    before: NDArray[np.uint8] | None = None
    for k in range(count):
        now = np.asarray(cv2.cvtColor(sequence.image(k).numpy(), cv2.COLOR_RGB2GRAY), np.uint8)
        if k not in starts:
            total[k] = total[k - 1]
            if valid[k] and valid[k - 1] and before is not None:
                step = flow_similarity(before, now, points[k - 1])
                right, down = eyes[k - 1] - points[k - 1].mean(0)
                step[:2] += step[2] * np.array([-down, right]) + step[3] * np.array([right, down])
                step[:2] -= principal[k] - principal[k - 1]
                total[k] += step
        before = now
    return torch.from_numpy(total).float()


def flow_similarity(
    before: NDArray[np.uint8], after: NDArray[np.uint8], points: NDArray[np.float32]
) -> NDArray[np.float64]:
    """(4,) shift right and down, clockwise turn and growth that explain best how the picture moves at (N, 2) points.

    The shift is that of their middle. By reweighted least squares, so that a mouth that opens does not move the head;
    zeros where nothing can be followed.
    """
    size = float(np.ptp(points[:, 0]))
    window = max(9, int(_WINDOW * size) | 1)
    # OpenCV has the first pixel's centre at 0.
    start = (points - 0.5).astype(np.float32)[:, None]
    none = np.zeros_like(start)
    end, found, _ = cv2.calcOpticalFlowPyrLK(before, after, start, none, winSize=(window, window), maxLevel=3)
    flow, ok = (end - start)[:, 0].astype(np.float64), found[:, 0].astype(bool)
    if int(ok.sum()) < 8:
        return np.zeros(4)
    flow, offset = flow[ok], (points - points.mean(0))[ok].astype(np.float64)
    zero, one = np.zeros(len(offset)), np.ones(len(offset))
    right = np.stack([one, zero, -offset[:, 1], offset[:, 0]], 1)
    down = np.stack([zero, one, offset[:, 0], offset[:, 1]], 1)
    basis = np.stack([right, down], 1)  # (N, 2, 4)
    weights, found_step = one, np.zeros(4)
    for _ in range(_ROUNDS):
        weighted = basis * weights[:, None, None]
        normal = np.einsum("nik,nil->kl", weighted, basis) + 1e-9 * np.eye(4)
        found_step = np.linalg.solve(normal, np.einsum("nik,ni->k", weighted, flow))
        left = np.linalg.norm(flow - basis @ found_step, axis=1)
        weights = 1 / (1 + (left / (np.median(left) + 1e-3)) ** 2) ** 2
    return np.asarray(found_step)


def smooth(values: Tensor, weight: float) -> Tensor:
    """(T, C) values, moved so that squared changes plus `weight` times squared second differences are least.

    Straight lines stay as they are, at the ends too. Solved exactly, in float64 (Whittaker, 1923).
    """
    from scipy.linalg import solveh_banded

    count = len(values)
    if count < 3 or weight <= 0:
        return values
    bend = np.tile([1.0, -2.0, 1.0], (count - 2, 1))
    bands = np.zeros((3, count))
    for a in range(3):
        for b in range(a, 3):
            bands[b - a, a : a + count - 2] += weight * bend[:, a] * bend[:, b]
    bands[0] += 1
    return torch.from_numpy(solveh_banded(bands, values.double().numpy(), lower=True)).to(values)
