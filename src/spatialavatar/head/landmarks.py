"""Where MediaPipe's 478 face landmarks lie on a head's mesh."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files as package_files

import numpy as np
import torch
from torch import Tensor

from spatialavatar.errors import UserError
from spatialavatar.head.head import Head

NUM_LANDMARKS = 478
"""MediaPipe's face mesh with irises: 468 points of the face, 468 to 472 the right iris, 473 to 477 the left."""
RIGHT_IRIS, LEFT_IRIS = 468, 473
"""Centre of the subject's right and left iris; the four points of its rim follow."""


@dataclass(frozen=True)
class LandmarkEmbedding:
    """L landmarks as points of triangles."""

    triangles: Tensor
    """(L,) int64 face of each landmark."""
    barycentric: Tensor
    """(L, 3) weights of the face's corners."""
    indices: Tensor
    """(L,) int64 MediaPipe's number of each landmark, 0 to 477, ascending."""
    weights: Tensor
    """(L,) how far a landmark's place on the mesh can be trusted, 0 to 1: eyes and lips most, the outline least."""

    def __len__(self) -> int:
        return self.triangles.shape[0]

    def points(self, vertices: Tensor, faces: Tensor) -> Tensor:
        """(..., V, 3) vertices and (F, 3) faces -> (..., L, 3) landmarks, differentiable in the vertices."""
        corners = vertices[..., faces[self.triangles], :]
        return (corners * self.barycentric.to(vertices.dtype)[..., None]).sum(dim=-2)

    def vertices(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        """What to pose when only the landmarks are wanted.

        Returns:
            (N,) the vertices the landmarks need, for `Head.restrict`, and (L, 3) each landmark's corners among them.
        """
        needed, corners = torch.unique(faces[self.triangles], return_inverse=True)
        return needed, corners

    def points_from_restricted(self, vertices: Tensor, corners: Tensor) -> Tensor:
        """(..., N, 3) vertices posed by the restricted rig and `corners` of `vertices()` -> (..., L, 3) landmarks."""
        return (vertices[..., corners, :] * self.barycentric.to(vertices.dtype)[..., None]).sum(dim=-2)

    def to(self, device: torch.device | str) -> LandmarkEmbedding:
        """The same embedding on another device."""
        return LandmarkEmbedding(
            self.triangles.to(device), self.barycentric.to(device), self.indices.to(device), self.weights.to(device)
        )


def load_landmarks(head: Head) -> LandmarkEmbedding:
    """The packaged embedding for a head.

    Raises:
        UserError: There is none for this head.
    """
    if not head.edition.startswith("open-head-1-"):
        raise UserError(
            "no landmark embedding is packaged for this head.",
            where=head.edition,
            hint="Track with the open head, or import a tracking made for this head.",
        )
    path = package_files("spatialavatar.head") / "assets" / "open_head_landmarks.npz"
    with path.open("rb") as stream, np.load(stream) as file:
        return LandmarkEmbedding(
            triangles=torch.from_numpy(file["triangles"].astype(np.int64)),
            barycentric=torch.from_numpy(file["barycentric"].astype(np.float32)),
            indices=torch.from_numpy(file["indices"].astype(np.int64)),
            weights=torch.from_numpy(file["weights"].astype(np.float32)),
        )
