"""Outlines: of a disc, a square, two colours."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from spatialavatar.head import load_open_head
from spatialavatar.track.measure import rim_distances
from spatialavatar.track.outline import (
    DIRECTIONS,
    OPEN,
    SKIN,
    contour_extents,
    ear_vertices,
    matte_contour,
    mesh_extents,
    mesh_outline,
    outline_vertices,
    padded_contour,
    side_of_line,
)


def upright_landmarks(x: float, y: float, height: float) -> np.ndarray:
    """(478, 2) with forehead, nose base, mouth and chin on a vertical line, all else in the middle."""
    points = np.tile(np.array([[x, y]], np.float32), (478, 1))
    points[10, 1], points[2, 1], points[13, 1], points[152, 1] = (y + f * height for f in (-0.5, 0.05, 0.2, 0.5))
    points[468, 0], points[473, 0] = x - 0.2 * height, x + 0.2 * height
    return points


def disc(radius: float = 60.0, size: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    y, x = np.mgrid[0:size, 0:size] + 0.5
    solid = np.hypot(x - 100, y - 100) < radius
    image = np.where(solid[..., None], np.uint8([205, 160, 140]), np.uint8([30, 60, 110])).astype(np.uint8)
    return image, solid.astype(np.uint8) * 255, upright_landmarks(100, 100, 80)


def test_the_contour_of_a_disc() -> None:
    image, matte, landmarks = disc()
    contour = matte_contour(image, matte, landmarks, most=None)
    radius = np.hypot(contour[:, 0] - 100, contour[:, 1] - 100)
    assert np.abs(radius - 60).max() < 0.8  # A staircase of whole pixels lies within half a diagonal of the circle.
    assert abs(radius.mean() - 60) < 0.25
    outwards = (contour[:, :2] - 100) / radius[:, None]
    assert ((contour[:, 2:4] * outwards).sum(1) > 0.98).all()
    assert (contour[:, 1] < 100 + 0.2 * 80 + 1).all()  # From the mouth upwards.
    assert (contour[:, OPEN] == 1).all() and (contour[:, SKIN] == 1).all()
    assert len(matte_contour(image, matte, landmarks, most=50)) == 50


def test_hair_is_not_skin() -> None:
    image, matte, landmarks = disc()
    image[:70][matte[:70] > 0] = (50, 35, 25)  # Dark hair over the forehead.
    contour = matte_contour(image, matte, landmarks, most=None)
    above, below = contour[contour[:, 1] < 60], contour[contour[:, 1] > 80]
    assert above[:, SKIN].mean() < 0.05 and below[:, SKIN].mean() > 0.95


def test_extents_of_a_disc_and_of_a_cut_one() -> None:
    image, matte, landmarks = disc()
    contour = padded_contour(matte_contour(image, matte, landmarks))
    extents, skin = contour_extents(contour, landmarks)
    expected = 100 * DIRECTIONS.sum(1) + 60
    sideways = np.abs(np.degrees(np.arctan2(DIRECTIONS[:, 0], -DIRECTIONS[:, 1]))) < 85
    assert np.abs(extents - expected)[sideways].max() < 1.0 and skin.all()
    image, matte, landmarks = image[50:], matte[50:], landmarks - np.array([0, 50], np.float32)
    extents, _ = contour_extents(matte_contour(image, matte, landmarks), landmarks)
    assert np.isnan(extents[len(extents) // 2])  # The top is cut off by the frame.
    assert np.isfinite(extents[0])


def test_no_subject_has_no_extents() -> None:
    image, matte, landmarks = disc()
    assert len(matte_contour(image, matte * 0, landmarks)) == 0
    extents, skin = contour_extents(padded_contour(np.zeros((0, 6), np.float32)), landmarks)
    assert np.isnan(extents).all() and not skin.any()


def test_mesh_extents_are_the_support_function() -> None:
    angle = torch.linspace(0, 2 * math.pi, 400)
    circle = torch.stack([3 + 2 * angle.cos(), 5 + 2 * angle.sin()], -1)
    expected = torch.from_numpy(DIRECTIONS) @ torch.tensor([3.0, 5.0]) + 2
    assert torch.allclose(mesh_extents(circle), expected, atol=1e-3)


def test_the_outline_of_a_square() -> None:
    corners = np.array([[20, 30], [80, 30], [80, 90], [20, 90]], np.float32)
    outline = mesh_outline(corners, np.array([[0, 1, 2], [0, 2, 3]]), 120, 120)
    away = np.maximum(np.abs(outline[:, 0] - 50), np.abs(outline[:, 1] - 60))
    assert np.abs(away - 29.5).max() <= 1.0  # Centres of the last pixels within.
    assert len(mesh_outline(corners + 500, np.array([[0, 1, 2]]), 120, 120)) == 0


def test_sides_follow_a_tilted_face() -> None:
    landmarks = upright_landmarks(0, 0, 100)
    turn = np.array([[0, -1], [1, 0]], np.float32)  # The forehead to the right.
    tilted = landmarks @ turn.T
    point = np.array([[100.0, 3.0]], np.float32)
    assert side_of_line(point, tilted, 13).tolist() == [True]
    assert side_of_line(-point, tilted, 13).tolist() == [False]


def test_rim_distances_count_skin_only() -> None:
    image, matte, landmarks = disc()
    contour = matte_contour(image, matte, landmarks, most=None)
    angle = np.linspace(-math.pi, 0, 90)
    outline = np.stack([100 + 56 * np.cos(angle), 100 + 56 * np.sin(angle)], 1).astype(np.float32)
    distances = rim_distances(outline, contour, landmarks)
    # The contour names the last pixels within, half a pixel inside the disc.
    assert np.nanmedian(distances) == pytest.approx(3.5, abs=0.4)
    contour[:, SKIN] = 0
    assert np.isnan(rim_distances(outline, contour, landmarks)).all()


def test_ears_and_outline_of_the_open_head() -> None:
    head = load_open_head()
    eyes = float(head.prepare_identity(torch.zeros(1)).joints[3:, 1].mean())
    ears = ear_vertices(head.template, eyes - 0.04, eyes)
    assert 50 < int(ears.sum()) < 1500
    assert float(head.template[ears, 0].abs().min()) > 0.05
    chosen = outline_vertices(head.template, eyes - 0.04)
    assert 100 < len(chosen) < 800 and float(head.template[chosen, 1].min()) >= eyes - 0.04
