"""A subject with known cameras, motion and pixels, on the open head written as if it were a FLAME file.

The open head has FLAME's five joints, so its arrays fill FLAME's format, and what readers do with FLAME's codes can be
held against a mesh that looks like a head. Nothing of the readers' code is used here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from spatialavatar.head import Head, Motion, load_open_head
from spatialavatar.head.flame import load_flame
from spatialavatar.sequence.validate import silhouette_mask

SHAPES, EXPRESSIONS = 300, 100
FRAMES, SIZE = 3, 128


def flame_file(path: Path) -> Path:
    """The open head as a FLAME `.npz`; codes beyond the open head's own move nothing."""
    head = load_open_head()
    count = head.num_vertices
    directions = np.zeros((count, 3, SHAPES + EXPRESSIONS), np.float32)
    directions[:, :, : head.num_identities] = head.identity_basis.permute(1, 2, 0).numpy()
    directions[:, :, SHAPES : SHAPES + head.num_expressions] = head.expression_basis.permute(1, 2, 0).numpy()
    np.savez(
        path,
        v_template=head.template.numpy(),
        f=head.faces.numpy().astype(np.uint32),
        shapedirs=directions,
        posedirs=np.zeros((count, 3, 36), np.float32),
        J_regressor=head.joint_regressor.numpy(),
        kintree_table=np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.uint32),
        weights=head.skinning_weights.numpy(),
        vt=head.uv_coordinates.numpy(),
        ft=head.uv_faces.clamp_min(0).numpy().astype(np.uint32),
    )
    return path


@lru_cache(maxsize=1)
def flame_head() -> Head:
    """The head that all layouts of FLAME are read with."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return load_flame(flame_file(Path(folder) / "flame.npz"), teeth=False)


@dataclass(frozen=True)
class Truth:
    """T frames; metres, OpenCV.

    vertices: (T, V, 3) in the world.
    camera_from_world: (T, 4, 4).
    k: (3, 3).
    """

    identity: NDArray[np.float64]
    expression: NDArray[np.float64]
    global_rotation: NDArray[np.float64]
    neck_rotation: NDArray[np.float64]
    jaw_rotation: NDArray[np.float64]
    eyes_rotation: NDArray[np.float64]
    translation: NDArray[np.float64]
    vertices: NDArray[np.float64]
    camera_from_world: NDArray[np.float64]
    k: NDArray[np.float64]

    def project(self, frame: int, camera: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """(V, 2) pixels by this camera, or another (4, 4)."""
        matrix = self.camera_from_world[frame] if camera is None else camera
        seen = self.vertices[frame] @ matrix[:3, :3].T + matrix[:3, 3]
        pixels = seen @ self.k.T
        return pixels[:, :2] / pixels[:, 2:]


def truth(
    *, body: bool = True, neck: bool = True, moves: bool = True, shapes: int = 100, codes: int = 50, focal: float = 3.0
) -> Truth:
    """A head that turns, nods, opens its mouth and looks about.

    Args:
        body: Whether its root turns (else only the camera does).
        neck: Whether its neck bends.
        moves: Whether it is translated.
        shapes, codes: How many identity and expression codes the layout has.
        focal: Focal length over the picture's size; the camera stands so far that the head fills the picture.
    """
    random = np.random.default_rng(5)
    head = flame_head()
    identity = np.zeros(shapes)
    identity[:20] = random.normal(size=20) * 0.5
    expression = np.zeros((FRAMES, codes))
    expression[:, :30] = random.uniform(0, 0.4, (FRAMES, 30))
    time = np.linspace(-1, 1, FRAMES)[:, None]
    root = time * [0.05, 0.3, 0.02] * body
    bend = time * [0.1, -0.2, 0.05] * neck
    jaw = np.abs(time) * [0.2, 0.0, 0.01]
    eyes = time * [0.1, 0.2, 0.0, 0.1, 0.15, 0.0]
    moved = (time * [0.01, -0.02, 0.01] + [0, 0.02, 0]) * moves
    tensors = [torch.from_numpy(array).float() for array in (root, bend, jaw, eyes, moved)]
    wide = torch.zeros(FRAMES, head.num_expressions)
    wide[:, :codes] = torch.from_numpy(expression).float()
    motion = Motion(wide, *tensors, torch.zeros(FRAMES, 3))
    vertices = head.pose(torch.from_numpy(identity).float(), motion).double().numpy()
    middle = vertices.mean((0, 1))
    # Looks at the middle from in front, turned a little more with every frame.
    cameras = []
    distance = 0.33 * focal
    for angle in (-0.1, 0.0, 0.15):
        turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
        rotation = np.diag([1.0, -1.0, -1.0]) @ turn
        camera = np.eye(4)
        camera[:3, :3], camera[:3, 3] = rotation, [0.01, 0.0, distance] - rotation @ middle
        cameras.append(camera)
    k = np.array([[focal * SIZE, 0, SIZE / 2 + 2], [0, focal * SIZE, SIZE / 2 - 1], [0, 0, 1.0]])
    return Truth(identity, expression, root, bend, jaw, eyes, moved, vertices, np.stack(cameras), k)


def paint(pixels: NDArray[np.float64], seed: int = 0, size: int = SIZE) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A picture (H, W, 3) of noise and the matte (H, W) of the mesh's silhouette."""
    matte = silhouette_mask(pixels.astype(np.float32), flame_head().faces.numpy(), size, size)
    image = np.random.default_rng(seed).integers(30, 255, (size, size, 3)).astype(np.uint8)
    return image, matte.astype(np.uint8) * 255


def save(path: Path, image: NDArray[np.uint8], matte: NDArray[np.uint8] | None = None) -> None:
    """A PNG, with the matte as alpha if there is one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image if matte is None else np.dstack([image, matte])).save(path)
