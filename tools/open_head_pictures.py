"""Draw the pictures of docs/open_head.md, for looking at the head after a change.

python -m tools.open_head_pictures
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from spatialavatar.head import Head, build_uv_layout, load_landmarks, load_open_head
from tools.derive_landmarks.draw import View, rasterise, shade
from tools.derive_landmarks.paint import PALETTES, Paint

FOLDER = Path(__file__).parents[1] / "docs/images"
LIGHT = np.array([0.5, 0.5, 1.0])
PART_COLORS = {
    "skin": (60, 60, 60),
    "mouth_socket": (190, 40, 40),
    "left_eye_socket": (200, 120, 30),
    "right_eye_socket": (200, 120, 30),
    "upper_teeth": (30, 130, 60),
    "lower_teeth": (30, 130, 60),
    "tongue": (190, 40, 130),
    "left_eye": (30, 90, 190),
    "right_eye": (30, 90, 190),
}


@dataclass(frozen=True)
class Shot:
    """One small picture: expressions and rotations by name, seen from an angle."""

    expression: dict[str, float]
    rotations: dict[str, list[float]]
    yaw: float = 0.0


SHOTS = (
    Shot({}, {}, 0.0),
    Shot({}, {}, 1.57),
    Shot({"mouthSmileLeft": 1.0, "mouthSmileRight": 1.0, "cheekSquintLeft": 0.6, "cheekSquintRight": 0.6}, {}),
    Shot({"jawOpen": 1.0}, {}),
    Shot({}, {"jaw_rotation": [0.3, 0.0, 0.0]}, 0.5),
    Shot({"eyeBlinkLeft": 1.0}, {}),
    Shot({"eyeLookOutLeft": 1.0, "eyeLookInRight": 1.0}, {"eyes_rotation": [0.0, 0.4, 0.0] * 2}),
    Shot({"browInnerUp": 1.0, "mouthPucker": 1.0}, {}),
    Shot({"tongueOut": 1.0, "jawOpen": 0.8}, {}, 0.5),
    Shot({}, {"neck_rotation": [0.2, 0.6, 0.0]}),
)


def draw(head: Head, paint: Paint, vertices: torch.Tensor, palette: int, view: View) -> np.ndarray:
    points = vertices.double().numpy()
    fragments = rasterise(points, paint.faces, view)
    shown = fragments.face >= 0
    albedo = np.zeros((view.size, view.size, 3))
    albedo[shown] = paint.albedo(fragments.face[shown], fragments.barycentric[shown], PALETTES[palette])
    return shade(points, paint.faces, fragments, albedo, LIGHT)


def tile(pictures: list[np.ndarray], columns: int) -> Image.Image:
    rows = [np.concatenate(pictures[i : i + columns], axis=1) for i in range(0, len(pictures), columns)]
    return Image.fromarray(np.concatenate(rows))


def uv_picture(head: Head, zoom: int = 4) -> Image.Image:
    layout = build_uv_layout(head)
    empty = layout.to_grid(torch.full((len(layout), 3), 255.0), fill=215.0).numpy().astype(np.uint8)
    image = Image.fromarray(empty).resize((256 * zoom, 256 * zoom), Image.Resampling.NEAREST)
    pen = ImageDraw.Draw(image)
    corners = (head.uv_coordinates * 256 * zoom)[head.uv_faces].tolist()
    for face, part in zip(corners, head.part_of_face.tolist(), strict=True):
        pen.polygon([tuple(corner) for corner in face], outline=PART_COLORS[head.part_names[part]])
    return image


def landmark_picture(head: Head, paint: Paint) -> Image.Image:
    landmarks = load_landmarks(head)
    points = landmarks.points(head.template, head.faces).double().numpy()
    pictures = []
    for yaw in (0.0, 0.7):
        view = View(yaw, 0.0, size=560, focal=4.2)
        image = Image.fromarray(draw(head, paint, head.template, 1, view))
        pen = ImageDraw.Draw(image)
        pixels, _ = view.project(points)
        for (x, y), weight in zip(pixels, landmarks.weights.tolist(), strict=True):
            color = (int(255 * (1 - weight)), 0, int(255 * weight))
            pen.ellipse((x - 2, y - 2, x + 2, y + 2), fill=color)
        pictures.append(np.array(image))
    return tile(pictures, 2)


def main() -> None:
    head = load_open_head()
    paint = Paint(head)
    generator = torch.Generator().manual_seed(7)
    people = []
    for index in range(10):
        identity = torch.randn(head.num_identities, generator=generator)
        vertices = head.pose(identity, head.neutral_motion())[0]
        people.append(draw(head, paint, vertices, index % len(PALETTES), View(0.35, 0.05, size=200, focal=2.9)))
    shots = []
    for shot in SHOTS:
        motion = head.neutral_motion()
        for name, weight in shot.expression.items():
            motion.expression[0, head.expression_names.index(name)] = weight
        motion = replace(motion, **{name: torch.tensor([value]) for name, value in shot.rotations.items()})
        vertices = head.pose(torch.zeros(0), motion)[0]
        shots.append(draw(head, paint, vertices, 0, View(shot.yaw, 0.0, size=200, focal=2.9)))
    for name, picture in {
        "open_head_uv": uv_picture(head),
        "open_head_people": tile(people, 5),
        "open_head_expressions": tile(shots, 5),
        "open_head_landmarks": landmark_picture(head, paint),
    }.items():
        picture.quantize(96).save(FOLDER / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
