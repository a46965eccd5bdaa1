"""Synchronised videos of a real person: nothing is known but the pictures, so each camera is tracked by itself.

Three ways to draw the filmed camera's avatar in another camera's pictures:

    as-tracked   the other camera's motion, as `evaluate self OTHER.tracked --avatar` does it
    tracked      the same, the avatar's mesh laid onto the other camera's by one similarity
    filmed       the filmed camera's own motion, its world laid onto the other camera's by one similarity
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.create import CreateOptions
from spatialavatar.errors import UserError
from spatialavatar.evaluate.alignment import Similarity, fit_all_frames, residual
from spatialavatar.evaluate.view_angles import band_of, nearest_angles
from spatialavatar.files import write_json
from spatialavatar.head.motion import Motion
from spatialavatar.input_files import read_json
from spatialavatar.refine.held_out import only_filmed, over_white
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.splat.render import render

from .making import Recipe, Tracked, avatar_of, tracked_file
from .modes import points_of
from .people import FRONT
from .scored import Settings, scoring_code
from .scoring import Row, directions_of, picture_figures, shows_person
from .sheet import save_pair
from .steps import key_of, text_key
from .surfaces import FaceTriangles, filmed_triangles, regions_of

EVERY = 4
"""Every n-th frame is scored."""
_CHIN = 152


def real_rows(
    cameras: Sequence[Path], filmed: Path, recipe: Recipe, options: CreateOptions, settings: Settings
) -> dict[str, Any]:
    """Figures of the filmed camera's avatar in all cameras: `rows`, `seconds`, `residual_mm`, `cameras`, `pictures`.

    Raises:
        UserError: A video cannot be tracked, or the videos differ in length.
    """
    tracked = {path: _tracked(path, options, settings) for path in cameras}
    lengths = {path.name: len(each.sequence) for path, each in tracked.items()}
    if len(set(lengths.values())) > 1:
        raise UserError(
            f"synchronised videos have one length; these have {lengths}.", hint="Cut them to the frames that all have."
        )
    made = avatar_of(tracked[filmed], filmed.stem, recipe, settings.work, settings.head, settings.note)
    keys = sorted(each.key for each in tracked.values())
    path = (
        settings.work
        / "scores"
        / f"{filmed.stem}.{recipe.name}-{key_of(made.key, keys, scoring_code(), _own_code())}.json"
    )
    if path.is_file():
        return read_json(path)
    pictures = path.with_suffix("")
    pictures.mkdir(parents=True, exist_ok=True)
    began = perf_counter()
    rows: list[Row] = []
    residuals: dict[str, float] = {}
    facts: dict[str, Any] = {}
    for other in cameras:
        name = FRONT if other == filmed else other.stem
        found, left = score_camera(made.avatar, tracked[filmed].sequence, tracked[other].sequence, name, pictures)
        rows += found
        residuals |= {f"{name}, {mode}": value for mode, value in left.items()}
        angles = [row["angle"] for row in found]
        facts[other.name] = {
            "mean_angle": round(sum(angles) / len(angles), 1),
            "focal": tracked[other].sequence.source["focal"],
        }
    result = {
        "person": filmed.stem,
        "recipe": recipe.name,
        "rows": rows,
        "residual_mm": residuals,
        "cameras": facts,
        "pictures": pictures.name,
        "seconds": {
            "track": round(sum(each.seconds for each in tracked.values()), 1),
            "create": round(made.seconds, 1),
            "score": round(perf_counter() - began, 1),
        },
    }
    write_json(path, result)
    return result


def _own_code() -> str:
    return text_key(Path(__file__))


def _tracked(path: Path, options: CreateOptions, settings: Settings) -> Tracked:
    if not path.is_file():
        raise UserError("this video does not exist.", where=path)
    return tracked_file(path, path.stem, text_key(path), options, None, settings.work, settings.head, settings.progress)


@torch.no_grad()
def score_camera(
    avatar: Avatar, filmed: TrackedSequence, other: TrackedSequence, name: str, pictures: Path
) -> tuple[list[Row], dict[str, float]]:
    """Rows of one camera, and the residual of each way that lays meshes onto each other, mm."""
    head = avatar.head
    both = filmed.is_valid & other.is_valid
    found_points = points_of(head, other.identity, other.motion)
    unmoved = Similarity(torch.eye(3), torch.zeros(3), 1.0)
    ways: dict[str, tuple[Motion, Similarity]] = {"as-tracked": (other.motion, unmoved)}
    residuals = {}
    for mode, motion in (("tracked", other.motion), ("filmed", filmed.motion)):
        points = points_of(head, avatar.identity, motion)
        placed = fit_all_frames(points[both], found_points[both])
        residuals[mode] = round(1000 * float(residual(placed, points[both], found_points[both]).mean()), 2)
        ways[mode] = (motion, placed)
    angles = nearest_angles(directions_of(head, other), directions_of(head, filmed)[filmed.is_valid])
    vertices = head.pose(other.identity, other.motion)
    surface, face = filmed_triangles(filmed, head), FaceTriangles(head).mask
    frames = [frame for frame in range(0, len(other), EVERY) if bool(both[frame])]
    rows: list[Row] = []
    for frame in frames:
        camera, target = other.camera(frame), over_white(other, frame)
        chin = int(other.landmarks[frame, _CHIN, 1].clamp(16, other.height)) if other.landmarks is not None else 0
        masks = regions_of(vertices[frame], head, camera, surface, face, chin, shows_person(other, frame))
        angle = float(angles[frame])
        for mode, (motion, placed) in ways.items():
            own_camera = placed.camera_in_source(camera)
            image = render(avatar.pose(motion[frame]), own_camera, torch.ones(3)).image.clamp(0, 1)
            image = (only_filmed(image, other, frame) * 255).round() / 255
            rows.append(
                {
                    "mode": mode,
                    "camera": name,
                    "frame": frame,
                    "angle": round(angle, 2),
                    "band": FRONT if name == FRONT else band_of(angle),
                    **picture_figures(image, target, masks),
                }
            )
            if frame == frames[len(frames) // 2]:
                save_pair(target, image, pictures / f"{name}.{mode}.png")
    return rows, residuals
