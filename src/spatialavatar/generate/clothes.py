"""What a body wears: a smooth displacement of the torso's surface, fitted to the mattes (ours).

The mesh ends in bare, narrow shoulders. Coats, collars and raised shoulders reach centimetres beyond them, and
refinement would drag single Gaussians there, each for itself: right from the front, feathers from aside. Here the
whole surface goes there together first, in bumps as wide as a hand. The head does not move.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from spatialavatar.avatar.binding import Binding, triangle_frames, world_from_local
from spatialavatar.avatar.gaussians import LocalGaussians
from spatialavatar.avatar.surface import SurfaceGraph
from spatialavatar.generate.outline import outline_of
from spatialavatar.generate.shell import smoothstep
from spatialavatar.head.head import Head
from spatialavatar.head.rig import ROOT
from spatialavatar.head.uv import UVLayout
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.splat.camera import Camera
from spatialavatar.splat.render import render

CENTERS = 48
"""Bumps over the torso, spread as far from each other as they can be."""
WIDTH = 0.05
"""Standard deviation of a bump, metres."""
ON_THE_BODY = (0.3, 0.9)
"""Share of the root joint in a point's skinning from which on it follows, and from which on wholly: the neck stays."""
MOST = 0.2
"""Metres that clothes may stand out along an axis."""
SMOOTH, DEEP, THIN = 0.003, 0.3, 0.001
"""Weights of neighbouring bumps' squared differences, of squared displacement along the depth, of which one camera says
nothing, and of any, per square metre, against the mean absolute error of the matte. Weak: where they leave
the edge of a collar a centimetre from the picture's, refinement makes feathers of it."""


@dataclass(frozen=True)
class ClothesBasis:
    """How the torso's Gaussians may move.

    weights: (N, B) share of each of B bumps in what moves a Gaussian, times how far it follows: 0 on the head.
    local_from_rest: (N, 3, 3) from metres on the neutral mesh to local units.
    laplacian: (B, B) of neighbouring bumps.
    """

    weights: Tensor
    local_from_rest: Tensor
    laplacian: Tensor

    def at(self, chosen: Tensor) -> ClothesBasis:
        """The same bumps under some of the Gaussians, by index."""
        return replace(self, weights=self.weights[chosen], local_from_rest=self.local_from_rest[chosen])


def dress(
    gaussians: LocalGaussians,
    layout: UVLayout,
    vertices: Tensor,
    graph: SurfaceGraph,
    head: Head,
    sequence: TrackedSequence,
    frames: list[int],
) -> LocalGaussians:
    """Gaussians whose torso has grown into what the person wears in some frames.

    Args:
        gaussians: On the bare mesh; their colours stay.
        vertices: (V, 3) the subject's neutral mesh.
        graph: Neighbours on it.
    """
    basis = clothes_basis(head, layout, vertices)
    few, fewer, binding = outline_of(gaussians, head, layout)
    field = fit_clothes(fewer, basis.at(few), head, binding, sequence, frames)
    with torch.no_grad():
        points = layout.surface_points(vertices, head.faces)
        return widened(dressed(gaussians, basis, field), basis, field, points, graph)


def clothes_basis(head: Head, layout: UVLayout, vertices: Tensor) -> ClothesBasis:
    """The bumps on a subject's neutral mesh `vertices` (V, 3)."""
    points = layout.surface_points(vertices, head.faces)
    corners = head.faces[layout.triangles]
    on_body = smoothstep(head.skinning_weights[:, ROOT][corners].mean(1), *ON_THE_BODY)
    body = points[on_body > 0.5]
    chosen = [int(body[:, 1].argmin())]
    distance = (body - body[chosen[0]]).norm(dim=1)
    while len(chosen) < min(CENTERS, len(body)):
        chosen.append(int(distance.argmax()))
        distance = torch.minimum(distance, (body - body[chosen[-1]]).norm(dim=1))
    centers = body[chosen]
    bumps = (-0.5 * (torch.cdist(points, centers) / WIDTH).square()).exp()
    # Far from all bumps, on the head, the rows would be 0 / 0.
    weights = on_body[:, None] * bumps / bumps.sum(1, keepdim=True).clamp_min(1e-6)
    frames = triangle_frames(vertices, head.faces)
    rotation, scale = frames.rotations[layout.triangles], frames.scales[layout.triangles]
    closeness = (-0.25 * (torch.cdist(centers, centers) / WIDTH).square()).exp()
    closeness.fill_diagonal_(0)
    return ClothesBasis(
        weights, rotation.transpose(1, 2) / scale[:, None, None], torch.diag(closeness.sum(1)) - closeness
    )


def dressed(gaussians: LocalGaussians, basis: ClothesBasis, field: Tensor) -> LocalGaussians:
    """`gaussians` moved by the bumps' displacements `field` (B, 3), metres on the neutral mesh."""
    moved = (basis.local_from_rest @ (basis.weights @ field)[..., None])[..., 0]
    return replace(gaussians, positions=gaussians.positions + moved)


def widened(
    gaussians: LocalGaussians, basis: ClothesBasis, field: Tensor, points: Tensor, graph: SurfaceGraph
) -> LocalGaussians:
    """`gaussians` grown as their neighbours went away from them, so that the moved surface has no holes.

    Args:
        points: (N, 3) neutral surface points, metres.
        graph: Neighbours.
    """
    rows, columns = torch.from_numpy(graph.rows), torch.from_numpy(graph.columns)
    degree = torch.from_numpy(graph.degree).to(points)
    lengths = []
    for at in (points, points + basis.weights @ field):
        apart = (at[rows] - at[columns]).norm(dim=1)
        lengths.append(torch.zeros_like(degree).index_add_(0, rows, apart) / degree.clamp_min(1))
    growth = (lengths[1] / lengths[0].clamp_min(1e-6)).clamp(0.8, 2.5)
    follows = basis.weights.sum(1)
    return replace(gaussians, log_scales=gaussians.log_scales + (follows * growth.log())[:, None])


def fit_clothes(
    gaussians: LocalGaussians,
    basis: ClothesBasis,
    head: Head,
    binding: Binding,
    sequence: TrackedSequence,
    frames: list[int],
    *,
    iterations: int = 120,
    sizes: tuple[int, ...] = (48, 96, 192),
) -> Tensor:
    """The displacements (B, 3), metres, with which the drawn outline meets the mattes of `frames`.

    From small pictures, in which an outline is felt from afar, to larger ones. What was not filmed does not count.
    """
    identity = head.prepare_identity(sequence.identity)
    with torch.no_grad():
        posed = [head.pose(identity, sequence.motion[frame])[0] for frame in frames]
    field = torch.zeros(len(basis.laplacian), 3, requires_grad=True)
    optimiser = torch.optim.Adam([field])
    views = [_views(sequence, frames, size) for size in sizes]
    for iteration in range(iterations):
        done = iteration / iterations
        for group in optimiser.param_groups:
            group["lr"] = 8e-3 * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * done)))
        which = iteration % len(frames)
        camera, matte, filmed = views[int(done * len(sizes))][which]
        world = world_from_local(dressed(gaussians, basis, field), posed[which], binding)
        loss = ((render(world, camera).alpha - matte).abs() * filmed).sum() / filmed.sum().clamp_min(1)
        smooth = (field * (basis.laplacian @ field)).sum()
        loss = loss + SMOOTH * smooth + DEEP * field[:, 2].square().sum() + THIN * field.square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            field.clamp_(-MOST, MOST)
    return field.detach()


def _views(sequence: TrackedSequence, frames: list[int], size: int) -> list[tuple[Camera, Tensor, Tensor]]:
    """Camera, matte (S, S) and what was filmed (S, S) of each frame, `size` pixels high."""
    views = []
    for frame in frames:
        camera = sequence.camera(frame)
        camera = camera.scaled(size / camera.height)
        shape = (camera.height, camera.width)
        x0, x1, y0, y1 = sequence.filmed(frame)
        filmed = torch.zeros(sequence.height, sequence.width)
        filmed[y0:y1, x0:x1] = 1
        both = torch.stack([sequence.matte(frame).float() / 255, filmed])[None]
        matte, filmed = torch.nn.functional.interpolate(both, shape, mode="area")[0]
        views.append((camera, matte, (filmed > 0.99).float()))
    return views
