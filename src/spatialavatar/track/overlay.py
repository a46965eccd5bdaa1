"""The picture that says at one look whether tracking worked: frame | mesh and outline | landmarks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from spatialavatar.files import write_atomically
from spatialavatar.head.head import Head
from spatialavatar.head.landmarks import LandmarkEmbedding
from spatialavatar.sequence.folder import OVERLAY_FILES
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.sequence.validate import project
from spatialavatar.sequence.video import write_video

_SIZE = 384
_MOST_FRAMES = 200
_LIGHT = np.array([0.25, 0.35, 0.9], np.float32) / np.linalg.norm([0.25, 0.35, 0.9])
_MESH = np.array([150, 190, 215], np.float32)
_FOUND, _FITTED, _OUTLINE = (60, 230, 60), (255, 40, 220), (255, 70, 60)


def write_overlay(
    sequence: TrackedSequence,
    head: Head,
    embedding: LandmarkEmbedding,
    folder: Path,
    advance: Callable[..., None] = lambda *_: None,
) -> Path:
    """Write overlay.mp4 of a video (every n-th frame of a long one) or overlay.png of photos into the folder."""
    if sequence.kind == "video":
        step = -(-len(sequence) // _MOST_FRAMES)
        path = folder / OVERLAY_FILES["video"]
        frames = overlay_frames(sequence, head, embedding, range(0, len(sequence), step), advance)
        write_video(path, frames, sequence.frame_rate / step, quality=23)
        return path
    path = folder / OVERLAY_FILES["photos"]
    rows = list(overlay_frames(sequence, head, embedding, range(len(sequence)), advance))
    with write_atomically(path) as temporary:
        Image.fromarray(np.concatenate(rows)).save(temporary, compress_level=3)
    return path


def overlay_frames(
    sequence: TrackedSequence,
    head: Head,
    embedding: LandmarkEmbedding,
    indices: range,
    advance: Callable[..., None] = lambda *_: None,
) -> Iterator[NDArray[np.uint8]]:
    """(S, 3 S, 3) pictures: the frame, the shaded mesh with the matte's outline, the landmarks found and fitted."""
    identity = head.prepare_identity(sequence.identity)
    scale = _SIZE / max(sequence.width, sequence.height)
    size = (round(sequence.width * scale) // 2 * 2, round(sequence.height * scale) // 2 * 2)
    faces = head.faces.numpy()
    for index in indices:
        with torch.no_grad():
            vertices = head.pose(identity, sequence.motion[torch.tensor([index])])[0]
            pixels, depths = project(vertices, sequence.camera_from_world[index], sequence.intrinsics[index])
            fitted, _ = project(
                embedding.points(vertices, head.faces), sequence.camera_from_world[index], sequence.intrinsics[index]
            )
        image = np.asarray(cv2.resize(sequence.image(index).numpy(), size, interpolation=cv2.INTER_AREA), np.uint8)
        matte = cv2.resize(sequence.matte(index).numpy(), size, interpolation=cv2.INTER_AREA)
        shaded = image // 2 + draw_mesh(image, vertices.numpy(), pixels.numpy() * scale, depths.numpy(), faces) // 2
        contours, _ = cv2.findContours((matte > 127).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(shaded, contours, -1, _OUTLINE, 1)
        dots = image.copy()
        if sequence.landmarks is not None and bool(torch.isfinite(sequence.landmarks[index]).all()):
            _dots(dots, sequence.landmarks[index].numpy() * scale, _FOUND)
        _dots(dots, fitted.numpy() * scale, _FITTED)
        if not bool(sequence.is_valid[index]):
            cv2.putText(shaded, "no face: filled in", (8, size[1] - 10), cv2.FONT_HERSHEY_SIMPLEX, 0.5, _OUTLINE, 1)
        advance()
        yield np.concatenate([image, shaded, dots], 1)


def draw_mesh(
    image: NDArray[np.uint8],
    vertices: NDArray[np.float32],
    pixels: NDArray[np.floating],
    depths: NDArray[np.float32],
    faces: NDArray[np.int64],
) -> NDArray[np.uint8]:
    """The image (H, W, 3) with the mesh drawn over it, back to front, lit from the camera's upper right."""
    corners = pixels[faces]  # (F, 3, 2)
    # Counter-clockwise from outside is clockwise in the image, whose y axis points down: a negative area faces us.
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    front = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0] < 0
    order = np.flatnonzero(front & (depths[faces] > 0.05).all(1))
    order = order[np.argsort(-depths[faces[order]].mean(1))]
    normals = np.cross(vertices[faces[:, 1]] - vertices[faces[:, 0]], vertices[faces[:, 2]] - vertices[faces[:, 0]])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
    light = 0.25 + 0.85 * np.clip(normals @ _LIGHT, 0, 1)
    colours = np.clip(light[:, None] * _MESH, 0, 255).astype(int)
    drawn = image.copy()
    # OpenCV names pixels by their centres; four bits of fraction.
    fixed = np.clip(np.round((corners - 0.5) * 16), -(2**20), 2**20).astype(np.int32)
    for face in order:
        cv2.fillConvexPoly(drawn, fixed[face], colours[face].tolist(), lineType=cv2.LINE_8, shift=4)
    return drawn


def _dots(image: NDArray[np.uint8], points: NDArray[np.floating], colour: tuple[int, int, int]) -> None:
    height, width = image.shape[:2]
    for x, y in np.floor(points).astype(int):
        if 0 <= x < width and 0 <= y < height:
            image[y, x] = colour
            image[y, min(x + 1, width - 1)] = colour
