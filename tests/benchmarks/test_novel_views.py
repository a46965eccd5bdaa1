"""The benchmark itself: a perfect avatar scores at the top in whatever world it was tracked, causes are told apart."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.novel_view_parts.modes import Mode, driven_mode, modes_of
from benchmarks.novel_view_parts.people import (
    ALL,
    FRAMES,
    FRONT,
    HELD_OUT,
    INSTANTS,
    OWN,
    SCORED,
    SHORT,
    TUNING,
    cameras_of,
)
from benchmarks.novel_view_parts.scoring import GroundTruth, ground_truth_of, score_mode, score_own, shows_person
from benchmarks.novel_view_parts.surfaces import FaceTriangles, filmed_triangles, overlap, regions_of
from spatialavatar.evaluate.alignment import Similarity, fit_all_frames
from spatialavatar.evaluate.view_angles import BAND_NAMES
from spatialavatar.head.landmarks import load_landmarks
from spatialavatar.head.open_head import load_open_head
from spatialavatar.head.rotations import (
    axis_angle_from_rotation_matrix,
    quaternions_wxyz_from_rotation_matrix,
    rotation_matrix_from_axis_angle,
    rotation_matrix_from_quaternions_wxyz,
)
from spatialavatar.refine.side_views import orbited
from spatialavatar.sequence.sequence import MemoryFrames, TrackedSequence
from spatialavatar.sequence.validate import project
from spatialavatar.splat.gaussians import WorldGaussians
from spatialavatar.splat.render import render
from tests.synthetic import Subject, subject

SIZE, FRAMES_SEEN = 64, 3
TOP = 10 * math.log10(12 * 255**2)
"""PSNR of a picture rounded to 8 bits against itself before rounding, 58.9 dB: as near as pictures can be compared."""
LOST = 0.3
"""Decibels that the alignment may cost."""


@pytest.fixture(scope="module")
def person() -> Subject:
    return subject(frames=FRAMES_SEEN, size=SIZE, resolution=64)


@pytest.fixture(scope="module")
def known(person: Subject) -> GroundTruth:
    cameras = {FRONT: seen_by(person, 0.0)} | {f"yaw+{yaw}": seen_by(person, float(yaw)) for yaw in (20, 70)}
    return ground_truth_of(person.avatar.head, person.sequence, cameras, range(FRAMES_SEEN))


def seen_by(person: Subject, yaw: float) -> TrackedSequence:
    """What a camera that has gone round the head sees of the true avatar, over white."""
    truth = person.sequence
    camera = orbited(truth.camera(0), truth.motion.translation[0], math.radians(yaw))
    images, mattes = {}, {}
    with torch.no_grad():
        for index, name in enumerate(truth.names):
            drawn = render(person.avatar.pose(truth.motion[index]), camera, torch.ones(3))
            images[name] = (drawn.image.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
            mattes[name] = (drawn.alpha.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
        head = person.avatar.head
        embedding = load_landmarks(head)
        points = embedding.points(head.pose(truth.identity, truth.motion), head.faces)
    count = len(truth)
    pose = camera.camera_from_world.expand(count, 4, 4)
    landmarks = torch.full((count, 478, 2), float("nan"))
    landmarks[:, embedding.indices] = project(points, pose, truth.intrinsics)[0]
    return replace(truth, camera_from_world=pose, landmarks=landmarks, frames=MemoryFrames(images, mattes))


def turned_world(sequence: TrackedSequence, rotation: torch.Tensor, shift: torch.Tensor) -> TrackedSequence:
    """The same frames as a tracker would give them whose world is turned and shifted."""
    head_pose = rotation_matrix_from_axis_angle(sequence.motion.global_rotation)
    # Everything turns about the root joint, whose place moves with the world.
    root = load_open_head().prepare_identity(sequence.identity).joints[0]
    moved = (root + sequence.motion.translation) @ rotation.T + shift - root
    motion = replace(
        sequence.motion,
        global_rotation=axis_angle_from_rotation_matrix(rotation @ head_pose),
        translation=moved,
    )
    inverse = torch.eye(4)
    inverse[:3, :3], inverse[:3, 3] = rotation.T, -rotation.T @ shift
    return replace(sequence, motion=motion, camera_from_world=sequence.camera_from_world @ inverse)


def carried(world: WorldGaussians, similarity: Similarity) -> WorldGaussians:
    """Gaussians in another world."""
    turned = similarity.rotation.float() @ rotation_matrix_from_quaternions_wxyz(world.quaternions_wxyz)
    return replace(
        world,
        positions=similarity.apply(world.positions),
        quaternions_wxyz=quaternions_wxyz_from_rotation_matrix(turned),
        scales=world.scales * similarity.scale,
    )


ROTATION = rotation_matrix_from_axis_angle(torch.deg2rad(torch.tensor([4.0, 12.0, -3.0])))
SHIFT = torch.tensor([0.05, -0.03, 0.10])


def lowest(rows: list[dict], figure: str = "psnr") -> float:
    return min(row[figure] for row in rows)


def test_the_truth_drawn_directly_is_at_the_top(person: Subject, known: GroundTruth) -> None:
    (mode,) = modes_of(person.avatar, person.sequence, person.sequence, range(3), range(3), ["tracked"])
    # Both sides are rounded to 8 bits, so equal pictures are equal.
    assert lowest(score_mode(mode, known)) > TOP


@pytest.mark.parametrize("name", ["tracked", "head-pose", "expression", "shape"])
def test_a_perfect_avatar_tracked_in_another_world_loses_next_to_nothing(
    person: Subject, known: GroundTruth, name: str
) -> None:
    tracked = turned_world(person.sequence, ROTATION, SHIFT)
    (mode,) = modes_of(person.avatar, tracked, person.sequence, range(3), range(3), [name])
    rows = score_mode(mode, known)
    assert mode.residual_mm < 1e-3
    assert lowest(rows) > TOP - LOST
    assert lowest(rows, "psnr_face") > TOP - LOST
    assert lowest(rows, "ssim") > 0.999
    assert lowest(rows, "silhouette_iou") > 0.999
    assert max(row["landmarks_mm"] for row in rows) < 1e-2


def test_gaussians_of_a_larger_world_lose_next_to_nothing(person: Subject, known: GroundTruth) -> None:
    """A head twice as large, twice as far: no head model scales, so the Gaussians themselves are taken along."""
    true_world = Similarity(ROTATION, SHIFT, 0.5)
    truth = person.sequence
    with torch.no_grad():
        vertices = person.avatar.head.pose(truth.identity, truth.motion)
    inverse = Similarity(ROTATION.T, -(SHIFT @ ROTATION) / 0.5, 2.0)
    found = fit_all_frames(inverse.apply(vertices), vertices)
    assert found.scale == pytest.approx(0.5, abs=1e-6)
    torch.testing.assert_close(found.rotation.float(), true_world.rotation, atol=1e-5, rtol=0)
    with torch.no_grad():
        for name, seen in known.cameras.items():
            world = person.avatar.pose(truth.motion[1])
            moved = carried(world, inverse)
            drawn = render(moved, found.camera_in_source(seen.camera(1)), torch.ones(3)).image.clamp(0, 1)
            direct = render(world, seen.camera(1), torch.ones(3)).image.clamp(0, 1)
            error = float((drawn - direct).square().mean())
            assert -10 * math.log10(error + 1e-12) > TOP - LOST, name


def test_a_small_misalignment_is_told_in_millimetres_and_decibels(person: Subject, known: GroundTruth) -> None:
    """A tracker that is off by a known shift in one frame of three: the similarity takes out a third of it."""
    motion = person.sequence.motion
    moved = motion.translation.clone()
    moved[1, 0] += 0.006
    tracked = replace(person.sequence, motion=replace(motion, translation=moved))
    together, alone = modes_of(person.avatar, tracked, person.sequence, range(3), range(3), ["tracked", "head-pose"])
    rows = score_mode(together, known)
    front = {row["frame"]: row for row in rows if row["camera"] == FRONT}
    assert front[1]["landmarks_mm"] == pytest.approx(4.0, abs=0.3)
    assert front[0]["landmarks_mm"] == pytest.approx(2.0, abs=0.3)
    assert together.residual_mm == pytest.approx(8 / 3, abs=0.2)
    assert front[1]["psnr_head"] < front[0]["psnr_head"] < 40
    # Frame by frame it is taken out whole.
    assert alone.residual_mm < 1e-3
    assert lowest(score_mode(alone, known)) > TOP - LOST


def test_a_wrong_expression_is_mended_by_the_true_one_and_by_nothing_before(
    person: Subject, known: GroundTruth
) -> None:
    expression = person.sequence.motion.expression.clone()
    expression[:, person.avatar.head.expression_names.index("jawOpen")] += 0.5
    tracked = replace(person.sequence, motion=replace(person.sequence.motion, expression=expression))
    scores = {
        mode.name: lowest(score_mode(mode, known), "psnr_face")
        for mode in modes_of(person.avatar, tracked, person.sequence, range(3), range(3))
    }
    assert scores["head-pose"] < TOP - 10
    assert scores["expression"] > TOP - LOST


def test_a_wrong_identity_is_mended_by_the_true_one(person: Subject, known: GroundTruth) -> None:
    identity = person.sequence.identity.clone()
    identity[:6] = 1.5
    tracked = replace(person.sequence, identity=identity)
    avatar = replace(person.avatar, identity=identity)
    scores = {
        mode.name: lowest(score_mode(mode, known))
        for mode in modes_of(avatar, tracked, person.sequence, range(3), range(3))
    }
    assert scores["expression"] < 30
    assert scores["shape"] > TOP - LOST


def test_an_avatar_of_a_photo_is_driven_by_the_video(person: Subject, known: GroundTruth) -> None:
    mode = driven_mode(person.avatar, turned_world(person.sequence, ROTATION, SHIFT), person.sequence, range(3))
    assert isinstance(mode, Mode)
    assert lowest(score_mode(mode, known)) > TOP - LOST


def test_pictures_lie_in_the_band_of_their_angle(person: Subject, known: GroundTruth) -> None:
    (mode,) = modes_of(person.avatar, person.sequence, person.sequence, range(3), range(3), ["tracked"])
    rows = score_mode(mode, known)
    assert len(rows) == 3 * len(known.cameras)
    front = [row for row in rows if row["camera"] == FRONT]
    assert all(row["band"] == FRONT and row["angle"] < 0.1 for row in front)
    for row in rows:
        if row["camera"] != FRONT:
            low, high = (float(edge) for edge in row["band"].split("-"))
            assert row["band"] in BAND_NAMES and low <= row["angle"] <= high
    # The head does not turn in any of these three frames, so the angle is the camera's, about a slightly other point.
    assert all(abs(row["angle"] - 70.0) < 2.0 for row in rows if row["camera"] == "yaw+70")


def test_errors_of_the_parts_add_up(person: Subject, known: GroundTruth) -> None:
    dark = replace(
        person.avatar, gaussians=replace(person.avatar.gaussians, colors=person.avatar.gaussians.colors * 0.5)
    )
    (mode,) = modes_of(dark, person.sequence, person.sequence, range(3), range(3), ["tracked"])
    for row in score_mode(mode, known):
        total = row["error_filmed"] + row["error_unfilmed"] + row["error_other"] + row["error_background"]
        assert -10 * math.log10(total) == pytest.approx(row["psnr"], abs=1e-4)
        assert row["error_filmed"] > 0


def test_what_a_camera_filmed_is_what_faces_it(person: Subject, known: GroundTruth) -> None:
    head = person.avatar.head
    filmed = filmed_triangles(person.sequence, head, every=1)
    middles = head.template[head.faces].mean(1)
    face = FaceTriangles(head).mask
    nose = int(torch.where(torch.from_numpy(face), middles[:, 2], -1.0).argmax())
    back = int(middles[:, 2].argmin())
    assert filmed[nose] and face[nose]
    assert not filmed[back] and not face[back]
    seen = known.cameras["yaw+70"]
    camera = seen.camera(0)
    masks = regions_of(known.vertices[0], head, camera, known.filmed, face, SIZE, shows_person(seen, 0))
    assert masks.unfilmed.sum() > masks.filmed.sum() * 0.1
    parts = masks.filmed.astype(int) + masks.unfilmed + masks.other + masks.background
    assert (parts == 1).all()


def test_overlap() -> None:
    first, second = np.zeros((2, 2), bool), np.zeros((2, 2), bool)
    assert overlap(first, second) == 1.0
    first[0], second[:, 0] = True, True
    assert overlap(first, second) == pytest.approx(1 / 3)


def test_people_and_cameras_are_those_that_results_are_about() -> None:
    assert len(ALL) >= 12 and len(HELD_OUT) >= 4 and not set(HELD_OUT) & set(TUNING)
    assert len({person.name for person in ALL}) == len(ALL)
    assert set(SHORT) <= set(TUNING) and len(SHORT) == 4
    assert {person.turn_degrees for person in SHORT} == {person.turn_degrees for person in HELD_OUT}
    assert max(INSTANTS) < FRAMES
    for person in ALL:
        cameras = cameras_of(person)
        assert set(SCORED) < set(cameras)
        looks = cameras[FRONT].camera_from_world[2, :3]
        torch.testing.assert_close(looks, torch.tensor([0.0, 0.0, -1.0]), atol=1e-6, rtol=0)


def test_the_own_camera_forgives_what_the_true_one_does_not(person: Subject, known: GroundTruth) -> None:
    """A tracker with another lens that moves the head away, so that it stays as large."""
    truth = person.sequence
    longer = truth.intrinsics.clone()
    longer[:, :2, :2] *= 1.5
    pose = truth.camera_from_world.clone()
    pose[:, 2, 3] *= 1.5
    tracked = replace(truth, intrinsics=longer, camera_from_world=pose)
    own = score_own(person.avatar, tracked, range(3), range(3), known)
    assert [(row["band"], row["frame"]) for row in own] == [(OWN, 0), (OWN, 1), (OWN, 2)]
    perfect = score_own(person.avatar, truth, range(3), range(3), known)
    assert lowest(perfect) > TOP
    assert 25 < lowest(own) < lowest(perfect)
    cropped = replace(truth, source_boxes=torch.tensor([[8.0, 0.0, 64.0, 64.0]]).expand(3, 4))
    assert score_own(person.avatar, cropped, range(3), range(3), known) == []
