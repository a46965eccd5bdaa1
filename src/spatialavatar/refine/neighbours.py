"""Where a Gaussian's neighbours have gone: what keeps a surface that one camera sees from tearing (ours).

Along the camera's rays nothing is known, and Gaussians slide there each by itself. From the front that is the same
picture; from 45 degrees the skin is a coat of scales, and between them one sees the back of the head. So each is drawn
towards where its neighbours have gone: the whole may bulge and shift as the frames want, but does not tear.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spatialavatar.avatar.binding import triangle_frames
from spatialavatar.avatar.surface import SurfaceGraph
from spatialavatar.head.uv import UVLayout


@dataclass(frozen=True)
class Neighbourhood:
    """The surface at rest, as `neighbours_moved` wants it.

    rotations: (N, 3, 3) of the Gaussians' triangles, local to world.
    scales: (N, 1) of these, metres.
    averages: (N, N) sparse: each row the mean over a Gaussian's neighbours.
    """

    rotations: Tensor
    scales: Tensor
    averages: Tensor


def neighbourhood(vertices: Tensor, faces: Tensor, layout: UVLayout, graph: SurfaceGraph) -> Neighbourhood:
    """Of the Gaussians of a layout.

    Args:
        vertices: (V, 3) mesh at rest, metres.
        faces: (F, 3).
        graph: Who is whose neighbour.
    """
    frames = triangle_frames(vertices, faces)
    count = len(layout.triangles)
    pairs = torch.from_numpy(np.stack([graph.rows, graph.columns])).to(vertices.device)
    shares = (1 / torch.from_numpy(graph.degree).float()).to(vertices.device)[pairs[0]]
    averages = torch.sparse_coo_tensor(pairs, shares, (count, count), check_invariants=False)
    return Neighbourhood(
        rotations=frames.rotations[layout.triangles],
        scales=frames.scales[layout.triangles][:, None],
        averages=averages.coalesce(),
    )


def neighbours_moved(moved: Tensor, surface: Neighbourhood) -> Tensor:
    """How far each Gaussian's neighbours have moved in the mean, (N, 3) in the axes and units of its own triangle.

    Args:
        moved: (N, 3) how far each itself has moved, in the axes and units of its own triangle. What is not finite
            counts as not moved: it stays its own affair.
    """
    in_world = (surface.rotations @ moved.nan_to_num(0.0, 0.0, 0.0)[..., None])[..., 0] * surface.scales
    mean = surface.averages @ in_world
    return (surface.rotations.mT @ mean[..., None])[..., 0] / surface.scales


def narrowness(yaws: Tensor, usual_degrees: float | None) -> float:
    """How little a head turns, 0 to 1: what its pictures say of depth grows as the square of the turns.

    Args:
        yaws: (T,) of the training frames, radians.
        usual_degrees: The standard deviation of yaw at which it is 1/2; None: 1, whatever the yaws.
    """
    if usual_degrees is None:
        return 1.0
    turns = float(yaws.std(correction=0)) / math.radians(usual_degrees)
    return 1 / (1 + turns**2)
