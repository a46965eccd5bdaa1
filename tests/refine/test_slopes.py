"""A collar that shows past the jaw is not painted on the jaw: slopes of the face keep the start's colours there."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as functional
from torch import Tensor

from spatialavatar.avatar.binding import make_binding, triangle_frames
from spatialavatar.avatar.surface import face_band
from spatialavatar.refine.config import RefineConfig, suited_to
from spatialavatar.refine.frame_store import StoredFrame, load_frames
from spatialavatar.refine.loop import refine
from spatialavatar.refine.slopes import without_glare
from tests.synthetic import Subject, subject


@pytest.fixture(scope="module")
def made() -> Subject:
    return subject(frames=1, size=128, resolution=96)


def brightened(made: Subject, chosen: Tensor) -> tuple[StoredFrame, StoredFrame]:
    """The first frame, and the same with white pixels where `chosen` (N,) Gaussians lie."""
    stored = load_frames(made.sequence, [0]).frames[0]
    x0, x1, y0, y1 = stored.box
    world, camera = made.avatar.pose(made.sequence.motion[0]), made.sequence.camera(0)
    seen = world.positions[chosen] @ camera.camera_from_world[:3, :3].T + camera.camera_from_world[:3, 3]
    column = (seen[:, 0] / seen[:, 2] * camera.intrinsics[0, 0] + camera.intrinsics[0, 2]).long() - x0
    row = (seen[:, 1] / seen[:, 2] * camera.intrinsics[1, 1] + camera.intrinsics[1, 2]).long() - y0
    inside = (column >= 0) & (column < x1 - x0) & (row >= 0) & (row < y1 - y0)
    image = stored.image.clone()
    image[:, row[inside], column[inside]] = 255
    return stored, replace(stored, image=image)


def cleared(made: Subject, stored: StoredFrame) -> StoredFrame:
    avatar, sequence = made.avatar, made.sequence
    binding = make_binding(avatar.head.faces, avatar.layout.triangles, avatar.head.num_vertices)
    vertices = avatar.head.pose(avatar.head.prepare_identity(avatar.identity), sequence.motion[0])[0]
    parts = (avatar.gaussians, vertices, binding, avatar.head, avatar.layout, sequence.camera(0))
    return without_glare(stored, *parts)


def facing(made: Subject) -> Tensor:
    """(N,) cosine of each Gaussian's normal to the camera."""
    avatar, motion = made.avatar, made.sequence.motion[0]
    vertices = avatar.head.pose(avatar.head.prepare_identity(avatar.identity), motion)[0]
    normals = triangle_frames(vertices, avatar.head.faces).rotations[avatar.layout.triangles][:, :, 1]
    towards = functional.normalize(made.sequence.camera(0).position - avatar.pose(motion).positions, dim=1)
    return (normals * towards).sum(1)


def off(one: StoredFrame, other: StoredFrame) -> Tensor:
    return (one.image.float() - other.image.float()).abs().mean(0) / 255


def test_what_is_bright_on_a_slope_goes_and_what_is_bright_in_plain_sight_stays(made: Subject) -> None:
    band = face_band(made.avatar.head, made.avatar.layout)[0] > 0.99
    cosine = facing(made)
    right = made.avatar.layout.surface_points(made.avatar.head.template, made.avatar.head.faces)[:, 0] > 0
    clean, slope = brightened(made, band & right & (cosine > 0.1) & (cosine < 0.4))
    bright = off(slope, clean) > 0.2
    assert bright.sum() > 20
    found = off(cleared(made, slope), clean)
    # Pixels on the very outline are half another surface and stay; of the others next to nothing is left.
    assert found[bright].mean() < 0.25 * off(slope, clean)[bright].mean()

    clean, front = brightened(made, band & (cosine > 0.9))
    bright = off(front, clean) > 0.2
    assert bright.sum() > 20
    assert torch.equal(cleared(made, front).image[:, bright], front.image[:, bright])


def test_a_photo_that_looks_like_the_start_and_one_that_is_darker_stay(made: Subject) -> None:
    stored = load_frames(made.sequence, [0]).frames[0]
    assert torch.equal(cleared(made, stored).image, stored.image)
    darker = replace(stored, image=stored.image // 3)
    assert torch.equal(cleared(made, darker).image, darker.image)


def test_photos_are_learned_without_glare_and_videos_as_they_are(made: Subject) -> None:
    """A jaw that is white in the photo ends as dark as it began, and white where glare is learned."""
    assert suited_to("video", RefineConfig()).glare and not suited_to("photos", RefineConfig()).glare
    band = face_band(made.avatar.head, made.avatar.layout)[0] > 0.99
    cosine = facing(made)
    chosen = band & (cosine > 0.3) & (cosine < 0.5)
    _, slope = brightened(made, chosen)
    x0, x1, y0, y1 = slope.box
    image = made.sequence.image(0).clone()
    image[y0:y1, x0:x1] = slope.image.permute(1, 2, 0)
    frames = type(made.sequence.frames)({made.sequence.names[0]: image.numpy()}, made.sequence.frames.mattes)
    sequence = replace(made.sequence, frames=frames)

    def brighter(glare: bool) -> float:
        config = RefineConfig(iterations=200, glare=glare, hold_unseen=False)
        refined = refine(made.avatar, sequence, config).avatar.gaussians
        return float((refined.colors - made.avatar.gaussians.colors)[chosen].mean())

    assert brighter(glare=True) > 0.05
    assert brighter(glare=False) < 0.3 * brighter(glare=True)
