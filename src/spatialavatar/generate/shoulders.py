"""Shoulders as wide as the matte shows them, in closed form as the hair's shell is (ours).

All subjects of the open head share one torso. People have broader shoulders, and coats over them: as far as the matte
reaches beyond the bare torso's outline, its Gaussians move outwards from the chest, smoothly and nearly evenly on both
sides. They never move inwards: a matte that ends early may be the end of what was filmed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spatialavatar.avatar.binding import triangle_frames
from spatialavatar.generate.shell import smoothstep
from spatialavatar.head.head import Head
from spatialavatar.head.landmarks import load_landmarks
from spatialavatar.head.uv import UVLayout

BESIDE_NECK = (0.035, 0.09)
"""Metres to the side of the middle: nothing moves up to the first, all of it from the second on."""
BELOW_CHIN = (0.02, 0.05)
"""Metres below the chin, likewise."""
BELOW_TORSO = 0.03
"""The chest's middle, from which shoulders move outwards, lies this far below the torso's lower edge, metres."""
BUMPS, WIDTH = 16, 0.2
"""Over the angle about the middle, seen from the front, and their standard deviation in radians."""
SPREAD = 0.1
"""Metres: a Gaussian that moves by d is widened by 1 + d / SPREAD, since most of the stretch is beside the neck."""
SLANT = 0.5
"""As `silhouette.SLANT`: a torso is rounder than a head."""
SMOOTH, EVEN, FIRM = 0.05, 0.05, 0.003
"""Weights of neighbouring bumps' and mirrored bumps' squared differences and of the squared field, against one
measurement of a bump."""
MOST = 0.12
"""Furthest a Gaussian moves, metres."""
CLOTHES = (0.003, 0.01)
"""Metres: less than the first is a pixel or a shirt's thickness and moves nothing; from the second on all moves."""


@dataclass(frozen=True)
class ShoulderBasis:
    """What may move, and where to.

    weights: (N, B) share of each of B bumps at each Gaussian's angle, rows summing to 1.
    mask: (N,) how far a Gaussian follows, 0 on head, neck and the middle of the chest.
    outward: (N, 3) away from the chest's middle, in local units per metre.
    """

    weights: Tensor
    mask: Tensor
    outward: Tensor


def shoulder_basis(head: Head, layout: UVLayout, vertices: Tensor) -> ShoulderBasis:
    """For the neutral mesh `vertices` (V, 3)."""
    points = layout.surface_points(vertices, head.faces)
    chin = float(load_landmarks(head).points(vertices, head.faces)[:, 1].min())
    on_skin = head.part_of_face[layout.triangles] == head.part_names.index("skin")
    mask = smoothstep(points[:, 0].abs(), *BESIDE_NECK) * smoothstep(chin - points[:, 1], *BELOW_CHIN) * on_skin
    depth = points[mask > 0.5, 2].mean() if bool((mask > 0.5).any()) else points[:, 2].mean()
    middle = torch.stack([torch.zeros(()), points[:, 1].min() - BELOW_TORSO, depth])
    away = points - middle
    direction = torch.nn.functional.normalize(away, dim=1)
    angle = torch.atan2(away[:, 1], away[:, 0])
    centers = torch.linspace(0, torch.pi, BUMPS)
    weights = (-0.5 * ((angle[:, None] - centers) / WIDTH).square()).softmax(1)
    frames = triangle_frames(vertices, head.faces)
    rotation, scale = frames.rotations[layout.triangles], frames.scales[layout.triangles]
    outward = (rotation.transpose(1, 2) @ direction[..., None])[..., 0] / scale[:, None]
    return ShoulderBasis(weights, mask, outward)


def solve_shoulders(basis: ShoulderBasis, chosen: Tensor, beyond: Tensor, belief: Tensor) -> Tensor:
    """(N,) metres by which each Gaussian moves.

    Args:
        chosen: (P,) pixels that were measured.
        beyond: (K, P) metres by which the matte reaches beyond the bare torso, in each picture.
        belief: (K, P) how far that is to be believed, 0 to 1.
    """
    shares, weight = basis.weights[chosen], belief.sum(0)
    target = (belief * beyond).sum(0) / weight.clamp_min(1e-6)
    weight = weight / (shares * weight[:, None]).sum(0).amax().clamp_min(1e-6)
    identity = torch.eye(BUMPS)
    unlike, unsteady = identity - identity.flip(0), identity[1:] - identity[:-1]
    system = shares.T @ (weight[:, None] * shares)
    system = system + SMOOTH * unsteady.T @ unsteady + EVEN * unlike.T @ unlike + FIRM * identity
    field = torch.linalg.solve(system.double(), (shares.T @ (weight * target)).double()).float()
    amount = (basis.weights @ field).clamp(0, MOST)
    return basis.mask * smoothstep(amount, *CLOTHES) * amount
