"""Trembling is taken out, the picture's own motion is not."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from spatialavatar.head.landmarks import load_landmarks
from spatialavatar.head.open_head import load_open_head
from spatialavatar.sequence.sequence import MemoryFrames, TrackedSequence
from spatialavatar.sequence.validate import project
from spatialavatar.track.corrections import Corrections, corrected, make_anchor
from spatialavatar.track.measure import between_eyes, fitted_landmarks, jitter, still_points
from spatialavatar.track.steady import SteadyConfig, flow_similarity, picture_motion, smooth, steadied
from tests.synthetic import subject

FRAMES, SIZE = 30, 96


def texture(size: int = 200) -> np.ndarray:
    """(size, size) smooth grey noise, with something to follow everywhere."""
    noise = np.random.default_rng(0).normal(size=(size, size))
    smooth_noise = cv2.GaussianBlur(noise, (0, 0), 2.0)
    return np.asarray(np.clip(128 + 200 * smooth_noise, 0, 255), np.uint8)


def still(frames: int = FRAMES) -> TrackedSequence:
    """A head that does nothing, with landmarks where the mesh has them and no pixels."""
    head = load_open_head()
    one = subject(frames=2, size=SIZE).sequence
    sequence = one.select([0] * frames)
    sequence = replace(sequence, names=tuple(f"{k:05d}" for k in range(frames)), frame_rate=25.0, valid=None)
    embedding = load_landmarks(head)
    landmarks = torch.full((frames, 478, 2), 0.0)
    landmarks[:, embedding.indices] = fitted_landmarks(sequence, head, embedding, torch.arange(frames))
    return replace(sequence, landmarks=landmarks)


def moved(sequence: TrackedSequence, shift: Tensor, turn: Tensor | None = None) -> TrackedSequence:
    """The head shifted (T, 3) metres and turned (T, 3) in the world."""
    head = load_open_head()
    anchor = make_anchor(head, sequence.identity, sequence.motion)
    none = Corrections.none(len(sequence), head.num_expressions)
    turn = torch.zeros_like(shift) if turn is None else turn
    changes = replace(none, head_shift=shift, head_turn=turn)
    return replace(sequence, motion=corrected(head, sequence.identity, anchor, changes))


def head_place(sequence: TrackedSequence) -> Tensor:
    return make_anchor(load_open_head(), sequence.identity, sequence.motion).middle


def shift_drift(sequence: TrackedSequence, shift: Tensor) -> Tensor:
    """(T, 4) what optical flow would say of a head shifted (T, 3) metres in the picture's plane."""
    head = load_open_head()
    middle = make_anchor(head, sequence.identity, sequence.motion).middle
    pixels = [project(at[:, None], sequence.camera_from_world, sequence.intrinsics)[0][:, 0] for at in (middle, middle)]
    pixels[1] = project((middle + shift)[:, None], sequence.camera_from_world, sequence.intrinsics)[0][:, 0]
    return torch.cat([pixels[1] - pixels[0], torch.zeros(len(shift), 2)], 1)


def test_smoothing_solves_its_equation_and_keeps_lines() -> None:
    values = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
    bend = np.diff(np.eye(12), 2, axis=0)
    dense = np.linalg.solve(np.eye(12) + 0.7 * bend.T @ bend, values.double().numpy())
    assert np.allclose(smooth(values, 0.7).numpy(), dense, atol=1e-6)  # float32 results
    line = torch.arange(9.0)[:, None] * torch.tensor([[0.3, -2.0]])
    assert torch.allclose(smooth(line, 50.0), line, atol=1e-5)
    # Two frames have no bend, and no weight no effect.
    assert torch.equal(smooth(line[:2], 5.0), line[:2]) and torch.equal(smooth(line, 0.0), line)


@pytest.mark.parametrize("wanted", [(1.3, -0.7, 0.0, 0.0), (0.0, 0.0, 0.02, 0.0), (0.4, 0.2, -0.01, 0.015)])
def test_flow_finds_shift_turn_and_growth(wanted: tuple[float, float, float, float]) -> None:
    picture = texture()
    grid = np.stack(np.meshgrid(np.arange(60.0, 141, 8), np.arange(60.0, 141, 8)), -1).reshape(-1, 2)
    middle = grid.mean(0) - 0.5  # OpenCV's coordinates
    right, down, turn, growth = wanted
    linear = np.array([[1 + growth, -turn], [turn, 1 + growth]])
    matrix = np.concatenate([linear, (middle - linear @ middle + [right, down])[:, None]], 1)
    after = cv2.warpAffine(picture, matrix, picture.shape[::-1], flags=cv2.INTER_CUBIC)
    found = flow_similarity(picture, np.asarray(after, np.uint8), grid.astype(np.float32))
    # OpenCV draws with shifts rounded to 1/32 pixel, 0.0008 of 40 pixels' reach; measured were 0.032 and 0.0003.
    assert np.abs(found[:2] - wanted[:2]).max() < 0.05
    assert np.abs(found[2:] - wanted[2:]).max() < 0.0008


def test_a_mouth_that_opens_does_not_move_the_head() -> None:
    picture = texture()
    after = picture.copy()
    after[120:] = np.roll(picture, 3, axis=0)[120:]  # the lower quarter of the points moves down by itself
    grid = np.stack(np.meshgrid(np.arange(60.0, 141, 8), np.arange(60.0, 141, 8)), -1).reshape(-1, 2)
    found = flow_similarity(picture, after, grid.astype(np.float32))
    assert np.abs(found[:2]).max() < 0.1 and np.abs(found[2:]).max() < 0.005


def test_trembling_goes_and_shaking_stays() -> None:
    """The head shakes with the picture and trembles beside it: only the second is taken out."""
    generator = torch.Generator().manual_seed(3)
    base = still()
    plane = torch.tensor([1.0, 1.0, 0.0])
    shake = 0.004 * torch.randn(FRAMES, 3, generator=generator) * plane
    tremble = 0.002 * torch.randn(FRAMES, 3, generator=generator) * plane
    drift = shift_drift(base, shake)
    found = steadied(moved(base, shake + tremble), load_open_head(), SteadyConfig(place=5.0, turn=5.0), (), drift)
    left = head_place(found) - head_place(base) - shake
    # White noise keeps about a third of its size under this weight.
    assert left.norm() < 0.5 * tremble.norm()
    without = steadied(moved(base, shake + tremble), load_open_head(), SteadyConfig(place=5.0, turn=5.0), (), 0 * drift)
    assert (head_place(without) - head_place(base) - shake).norm() > 2 * left.norm()


def test_jitter_less_the_picture_sees_trembling_alone() -> None:
    base, head = still(), load_open_head()
    embedding = load_landmarks(head)
    shake = 0.004 * torch.randn(FRAMES, 3, generator=torch.Generator().manual_seed(4)) * torch.tensor([1.0, 1.0, 0.0])
    shaken = moved(base, shake)
    whole = jitter(shaken, head, embedding)
    less = jitter(shaken, head, embedding, shift_drift(base, shake))
    assert whole is not None and less is not None
    # Points nearer to the camera than the head's middle move a little more than it does.
    assert less < 0.15 * whole


def test_nothing_is_smoothed_over_a_cut() -> None:
    base = still(12)
    shift = torch.zeros(12, 3)
    shift[6:, 0] = 0.05
    jumping = moved(base, shift)
    head, none = load_open_head(), torch.zeros(12, 4)
    assert (head_place(steadied(jumping, head, None, (), none)) - head_place(jumping)).abs().max() > 0.005
    kept = steadied(jumping, head, None, (6,), none)
    assert (head_place(kept) - head_place(jumping)).abs().max() < 1e-5


def test_expressions_are_steadied_and_blinks_are_not() -> None:
    base, head = still(), load_open_head()
    names = head.expression_names
    trembling = 0.3 + 0.1 * torch.randn(FRAMES, 1, generator=torch.Generator().manual_seed(5))
    expression = base.motion.expression.clone()
    brow, blink = names.index("browInnerUp"), names.index("eyeBlinkLeft")
    expression[:, [brow, blink]] = trembling
    found = steadied(
        replace(base, motion=replace(base.motion, expression=expression)), head, None, (), torch.zeros(FRAMES, 4)
    )
    bend = found.motion.expression.diff(dim=0).diff(dim=0).norm(dim=0)
    assert bend[brow] < 0.5 * expression[:, brow].diff().diff().norm()
    assert torch.equal(found.motion.expression[:, blink], expression[:, blink])


def test_the_pictures_motion_is_added_up_between_cuts_and_gaps() -> None:
    base = still(6)
    grey = texture(SIZE)
    images = {name: np.repeat(np.roll(grey, 2 * k, axis=1)[..., None], 3, 2) for k, name in enumerate(base.names)}
    mattes = {name: np.full((SIZE, SIZE), 255, np.uint8) for name in base.names}
    sequence = replace(base, frames=MemoryFrames(images, mattes), folder=None)
    embedding = load_landmarks(load_open_head())
    found = picture_motion(sequence, embedding)
    # Two pixels to the right from each frame to the next; a tenth for what rolls in at the edge.
    assert torch.allclose(found[:, 0], 2.0 * torch.arange(6), atol=0.1 * 5)
    cut = picture_motion(sequence, embedding, (3,))
    assert torch.equal(cut[3], torch.zeros(4)) and abs(float(cut[5, 0]) - 4) < 0.2
    valid = torch.ones(6, dtype=torch.bool)
    valid[2] = False
    gap = picture_motion(replace(sequence, valid=valid), embedding)
    assert torch.equal(gap[1], gap[2]) and torch.equal(gap[2], gap[3])


def test_photos_stay_as_they_are() -> None:
    photos = replace(subject(frames=4, size=64).sequence, kind="photos")
    assert steadied(photos, load_open_head()) is photos


def test_still_points_are_neither_lips_nor_lids() -> None:
    head = load_open_head()
    embedding = load_landmarks(head)
    still = set(embedding.indices[still_points(head, embedding)].tolist())
    nose_bridge, forehead, eye_corners = 6, 10, {33, 133, 263, 362}
    lips, lids, chin, irises = {13, 14, 61, 291}, {159, 145, 386, 374}, 152, {468, 473}
    assert {nose_bridge, forehead} | eye_corners <= still
    assert not still & (lips | lids | {chin} | irises)


def test_the_shift_is_told_of_the_middle_between_the_eyes() -> None:
    """Where a picture turns about the eyes, they do not move; the middle of all landmarks, farther down, does."""
    embedding = load_landmarks(load_open_head())
    base = still(2)
    assert base.landmarks is not None
    pixels = base.landmarks[:, embedding.indices]
    eyes = between_eyes(pixels, embedding)[0].numpy()
    picture, angle = texture(SIZE), 0.03
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = eyes - 0.5  # OpenCV's coordinates
    after = cv2.warpAffine(picture, np.concatenate([rotation, (middle - rotation @ middle)[:, None]], 1), (SIZE, SIZE))
    pictures = [np.repeat(np.asarray(grey, np.uint8)[..., None], 3, -1) for grey in (picture, after)]
    images = dict(zip(base.names, pictures, strict=True))
    mattes = {name: np.full((SIZE, SIZE), 255, np.uint8) for name in base.names}
    found = picture_motion(replace(base, frames=MemoryFrames(images, mattes)), embedding)[1]
    assert abs(float(found[2]) - angle) < 0.005
    # The face's middle lies 14 pixels lower and would move by 0.4 to the side.
    assert found[:2].norm() < 0.15
