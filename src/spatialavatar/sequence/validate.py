"""Whether a tracked folder is whole and its mesh lies on its pictures.

A wrong camera convention shows here in a second and not after ten thousand iterations of a blurred avatar.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from spatialavatar.errors import UserError
from spatialavatar.head.head import Head
from spatialavatar.sequence.folder import OVERLAY_FILES, Problem, folder_problems, read_sequence
from spatialavatar.sequence.sequence import TrackedSequence

# A good fit of a bald head reaches 0.95; voluminous hair lowers it to 0.6; a mirrored or shifted mesh stays under 0.4.
ALIGNED = 0.5
_SHOWN_PROBLEMS = 20


@dataclass(frozen=True)
class Validation:
    """What `validate_sequence` found.

    Attributes:
        folder: The folder.
        frames: Number of frames (0 when the folder cannot be read).
        problems: What makes it unusable.
        warnings: What is worth knowing.
        alignment: Mean intersection over union of mesh silhouette and matte above the chin, of sampled frames; NaN
            when it could not be computed.
        inside: Mean share of the mesh's silhouette above the chin that the matte covers.
    """

    folder: Path
    frames: int
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]
    alignment: float
    inside: float

    @property
    def ok(self) -> bool:
        return not self.problems

    def raise_first(self) -> None:
        """Raise the first problem, if there is one, as a UserError."""
        for problem in self.problems:
            raise problem.error()


def validate_sequence(
    folder: str | os.PathLike[str], head: Head | None = None, *, samples: int = 8, threshold: float = ALIGNED
) -> Validation:
    """Check files, keys and shapes, and with a head also editions and how well the mesh lies on the mattes.

    Args:
        folder: A tracked folder.
        head: The head it was tracked with; without it nothing is posed.
        samples: How many frames to pose.
        threshold: Least alignment that is not a problem.
    """
    path = Path(folder)
    problems = folder_problems(path)
    if problems:
        return Validation(path, 0, tuple(problems[:_SHOWN_PROBLEMS]), (), float("nan"), float("nan"))
    sequence = read_sequence(path)
    warnings = []
    filled = int((~sequence.is_valid).sum())
    if filled:
        warnings.append(f"{filled} of {len(sequence)} frames had no face; their motion was filled in.")
    alignment = inside = float("nan")
    if head is not None:
        problems += _head_problems(sequence, head)
        if not problems:
            alignment, inside = alignment_score(sequence, head, samples)
            if alignment < threshold:
                what = (
                    f"the mesh does not lie on the pictures: overlap with the matte {alignment:.2f}, "
                    f"expected at least {threshold:.2f}."
                )
                overlay = path / OVERLAY_FILES[sequence.kind]
                look = f"Look at {overlay.name}: a" if overlay.exists() else "A"
                hint = f"{look} mirrored or shifted mesh means another camera convention."
                problems.append(Problem(path, what, hint))
    return Validation(path, len(sequence), tuple(problems), tuple(warnings), alignment, inside)


def alignment_score(sequence: TrackedSequence, head: Head, samples: int = 8) -> tuple[float, float]:
    """(intersection over union, share of the mesh inside the matte), above the chin, means of evenly spread frames.

    Raises:
        UserError: A frame's picture is missing or has the wrong size.
    """
    identity = head.prepare_identity(sequence.identity)
    chosen = torch.nonzero(sequence.is_valid)[:, 0]
    if len(chosen) == 0:
        raise UserError("no frame has a face.", where=sequence.folder)
    chosen = chosen[torch.linspace(0, len(chosen) - 1, min(samples, len(chosen))).round().long()]
    overlap, inside = [], []
    for index in chosen.tolist():
        with torch.no_grad():
            vertices = head.pose(identity, sequence.motion[torch.tensor([index])])[0]
        pixels, depths = project(vertices, sequence.camera_from_world[index], sequence.intrinsics[index])
        if bool((depths <= 0).any()) or not bool(torch.isfinite(pixels).all()):
            overlap.append(0.0)
            inside.append(0.0)
            continue
        silhouette = silhouette_mask(pixels.numpy(), head.faces.numpy(), sequence.width, sequence.height)
        matte = sequence.matte(index).numpy() > 127
        chin = _chin_row(head, pixels)
        silhouette, matte = silhouette[:chin], matte[:chin]
        both = float((silhouette & matte).sum())
        overlap.append(both / max(float((silhouette | matte).sum()), 1.0))
        inside.append(both / max(float(silhouette.sum()), 1.0))
    return float(np.mean(overlap)), float(np.mean(inside))


def in_camera(points: Tensor, camera_from_world: Tensor) -> Tensor:
    """World points (..., N, 3) in the camera's frame, one camera per leading index."""
    return points @ camera_from_world[..., :3, :3].mT + camera_from_world[..., None, :3, 3]


def project(points: Tensor, camera_from_world: Tensor, intrinsics: Tensor) -> tuple[Tensor, Tensor]:
    """World points (..., N, 3) to pixels (..., N, 2) and depths (..., N), one camera per leading index."""
    camera = in_camera(points, camera_from_world)
    depths = camera[..., 2]
    homogeneous = camera @ intrinsics.mT
    return homogeneous[..., :2] / homogeneous[..., 2:], depths


def silhouette_mask(
    pixels: NDArray[np.float32], faces: NDArray[np.int64], width: int, height: int
) -> NDArray[np.bool_]:
    """(H, W) bool: the union of the projected triangles. pixels (V, 2), faces (F, 3)."""
    canvas = Image.new("1", (width, height))
    draw = ImageDraw.Draw(canvas)
    # Pillow's coordinates name pixels by their centres, ours by their corners.
    for triangle in (pixels[faces] - 0.5).reshape(-1, 6).tolist():
        draw.polygon(triangle, fill=1)
    return np.asarray(canvas)


def _head_problems(sequence: TrackedSequence, head: Head) -> list[Problem]:
    assert sequence.folder is not None
    if sequence.head_edition != head.edition:
        what = f'key "head_edition" is {sequence.head_edition}, the head given is {head.edition}.'
        return [Problem(sequence.folder / "sequence.json", what, "Track again with this head, or give the other head.")]
    file = sequence.folder / "motion.safetensors"
    expressions, identities = len(head.expression_basis), len(head.identity_basis)
    if sequence.motion.expression.shape[1] != expressions:
        found = sequence.motion.expression.shape[1]
        return [Problem(file, f'key "expression" has {found} columns, the head has {expressions} expressions.')]
    if len(sequence.identity) > identities:
        return [Problem(file, f'key "identity" has length {len(sequence.identity)}, the head has {identities}.')]
    return []


def _chin_row(head: Head, pixels: Tensor) -> int:
    """The image row of the lowest vertex that moves with the jaw: the chin."""
    jaw = head.skinning_weights[:, 2] > 0.5
    rows = pixels[:, 1] if not bool(jaw.any()) else pixels[jaw, 1]
    return max(int(rows.max()), 1)
