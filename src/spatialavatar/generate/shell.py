"""A smooth shell around the skull: hair as a surface that the bald head is pushed out to, fitted to the mattes (ours).

The FLAME family has no hair. A start that paints hair onto the skull leaves the silhouette several centimetres
inside the matte, and refinement then has to drag single Gaussians outwards. The shell is a radius for every direction
from the head's centre, smooth, symmetric unless the pictures say otherwise; scalp Gaussians that lie inside move out
to it together, so that ears vanish under long hair instead of standing out of it. The face does not move.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from spatialavatar.avatar.binding import Binding, triangle_frames, world_from_local
from spatialavatar.avatar.gaussians import LocalGaussians
from spatialavatar.avatar.surface import SurfaceGraph
from spatialavatar.head.head import Head
from spatialavatar.head.landmarks import load_landmarks
from spatialavatar.head.uv import UVLayout
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.splat.render import render

CENTERS = 128
"""Bumps over the sphere of directions: about 15 degrees apart, the scale of a hairstyle, not of a strand."""
SHARPNESS = 30.0
"""Each bump is exp(SHARPNESS (cos angle - 1)): about 15 degrees of standard deviation."""
FACE_MARGIN = (0.008, 0.035)
"""No displacement this close (metres) to the nearest face landmark; full displacement from the second value on."""
THICKNESS = (-0.06, 0.10)
"""Range of the shell's thickness over the skull, metres; below zero it moves nothing."""
SMOOTH, EVEN, THIN = 0.08, 0.15, 0.01
"""Weights of neighbouring bumps' and mirrored bumps' squared differences and of thickness itself, per square metre,
against the mean absolute error of the matte."""
EAR = 0.006
"""What stands further out than this over the mean radius of its direction is not skull."""
SOFTNESS = 0.002
"""Metres over which a Gaussian passes from standing outside of the shell to lying in it."""


@dataclass(frozen=True)
class ShellBasis:
    """Where the shell is at rest, and what it moves.

    weights: (N, B) share of each of B bumps in the shell at each Gaussian's direction, rows summing to 1.
    mask: (N,) how far a Gaussian follows the shell, 0 on the face.
    outward: (N, 3) away from the head's centre, in local units per metre.
    radius: (N,) metres from the head's centre.
    skull: (B,) the skull's own radius in each bump's direction, ears and nose apart, metres.
    laplacian: (B, B) of neighbouring bumps.
    mirror: (B,) index of each bump's mirror image.
    """

    weights: Tensor
    mask: Tensor
    outward: Tensor
    radius: Tensor
    skull: Tensor
    laplacian: Tensor
    mirror: Tensor

    def at(self, chosen: Tensor) -> ShellBasis:
        """The same shell over some of the Gaussians, by index."""
        parts = {name: getattr(self, name)[chosen] for name in ("weights", "mask", "outward", "radius")}
        return replace(self, **parts)


def _fibonacci_sphere(count: int) -> Tensor:
    """Mirror-symmetric, near-uniform directions, about (count, 3): half of them on x > 0, the rest their images."""
    index = torch.arange(count, dtype=torch.float64) + 0.5
    y = 1 - 2 * index / count
    angle = index * math.pi * (3 - math.sqrt(5))
    ring = (1 - y * y).sqrt()
    directions = torch.stack([ring * angle.cos(), y, ring * angle.sin()], -1)
    half = directions[directions[:, 0] > 0]
    return torch.cat([half, half * half.new_tensor([-1.0, 1.0, 1.0])]).float()


def smoothstep(value: Tensor, low: float, high: float) -> Tensor:
    """0 up to `low`, 1 from `high` on, smooth between."""
    share = ((value - low) / (high - low)).clamp(0, 1)
    return share * share * (3 - 2 * share)


def shell_basis(head: Head, layout: UVLayout, vertices: Tensor) -> ShellBasis:
    """The directions in which the scalp's Gaussians may move, on the subject's neutral mesh `vertices` (V, 3)."""
    from scipy.spatial import cKDTree

    points = layout.surface_points(vertices, head.faces)
    landmarks = load_landmarks(head).points(vertices, head.faces)
    # Between the eyes and back by a head's depth lies the centre of the skull, wherever the edition puts its origin.
    skin = points[head.part_of_face[layout.triangles] == head.part_names.index("skin")]
    above_chin = skin[skin[:, 1] > landmarks[:, 1].min()]
    center = 0.5 * (above_chin.amin(0) + above_chin.amax(0))
    away = points - center
    radius = away.norm(dim=1).clamp_min(1e-6)
    direction = away / radius[:, None]

    distance = torch.from_numpy(cKDTree(landmarks.double().numpy()).query(points.double().numpy())[0]).to(points)
    mask = smoothstep(distance, *FACE_MARGIN)
    mask = mask * (head.part_of_face[layout.triangles] == head.part_names.index("skin"))
    # Below the chin the outline is collar and shoulders; hair that reaches there thins out over some centimetres.
    chin = landmarks[:, 1].min()
    mask = mask * smoothstep(points[:, 1], float(chin) - 0.03, float(chin) + 0.03)

    centers = _fibonacci_sphere(CENTERS)
    bumps = (SHARPNESS * (direction @ centers.T - 1)).exp()
    # Twice the mean radius under each bump: the second time without what stands out, the ears above all.
    on_skin = mask[:, None] * bumps
    skull = (on_skin * radius[:, None]).sum(0) / on_skin.sum(0).clamp_min(1e-9)
    on_skin = on_skin * (radius[:, None] < skull + EAR)
    skull = (on_skin * radius[:, None]).sum(0) / on_skin.sum(0).clamp_min(1e-9)
    bumps = bumps / bumps.sum(1, keepdim=True)
    frames = triangle_frames(vertices, head.faces)
    rotation, scale = frames.rotations[layout.triangles], frames.scales[layout.triangles]
    outward = (rotation.transpose(1, 2) @ direction[..., None])[..., 0] / scale[:, None]
    closeness = (2 * SHARPNESS / 4 * (centers @ centers.T - 1)).exp()
    closeness.fill_diagonal_(0)
    laplacian = torch.diag(closeness.sum(1)) - closeness
    half = len(centers) // 2
    mirror = torch.cat([torch.arange(half, 2 * half), torch.arange(half)])
    return ShellBasis(bumps, mask, outward, radius, skull, laplacian, mirror)


def push_out(basis: ShellBasis, thickness: Tensor) -> Tensor:
    """(N,) metres by which each Gaussian moves outwards under a shell of this `thickness` (B,) over the skull."""
    inside = basis.weights @ (basis.skull + thickness) - basis.radius
    return basis.mask * SOFTNESS * torch.nn.functional.softplus(inside / SOFTNESS)


def displaced(gaussians: LocalGaussians, basis: ShellBasis, thickness: Tensor) -> LocalGaussians:
    """`gaussians` pushed out to a shell of this `thickness` (B,), and widened as a growing sphere's surface is."""
    amount = push_out(basis, thickness)
    return replace(
        gaussians,
        positions=gaussians.positions + amount[:, None] * basis.outward,
        log_scales=gaussians.log_scales + torch.log1p(amount / basis.radius)[:, None],
    )


def stretch(basis: ShellBasis, thickness: Tensor, points: Tensor, graph: SurfaceGraph) -> Tensor:
    """(N,) how many times further each Gaussian's neighbours are away after it was pushed out, beyond what
    `displaced` accounts for; 1 to 3. Where the shell leaves the skull steeply the surface stretches into a web.

    Args:
        points: (N, 3) neutral surface points, metres.
        graph: Neighbours.
    """
    amount = push_out(basis, thickness)
    rows, columns = torch.from_numpy(graph.rows), torch.from_numpy(graph.columns)
    degree = torch.from_numpy(graph.degree).to(points)
    climb = (amount[rows] - amount[columns]).square()
    before = (points[rows] - points[columns]).norm(dim=1)
    after = (before.square() + climb).sqrt()
    mean = [torch.zeros_like(amount).index_add_(0, rows, length) / degree for length in (before, after)]
    return (mean[1] / mean[0].clamp_min(1e-6)).clamp(1, 3)


def fit_shell(
    gaussians: LocalGaussians,
    basis: ShellBasis,
    head: Head,
    binding: Binding,
    sequence: TrackedSequence,
    frames: list[int],
    *,
    iterations: int = 60,
    size: int = 160,
) -> Tensor:
    """The thickness (B,), metres, of the shell whose rendered outline meets the mattes of `frames`.

    Only rows above the chin count, where the outline is the head's and not the clothes'.
    """
    identity = head.prepare_identity(sequence.identity)
    views = []
    embedding = load_landmarks(head)
    for frame in frames:
        camera = sequence.camera(frame)
        camera = camera.scaled(size / camera.height)
        with torch.no_grad():
            vertices = head.pose(identity, sequence.motion[frame])[0]
        matte = sequence.matte(frame).float() / 255
        matte = torch.nn.functional.interpolate(matte[None, None], (camera.height, camera.width), mode="area")[0, 0]
        in_camera = embedding.points(vertices, head.faces) @ camera.camera_from_world[:3, :3].T
        in_camera = in_camera + camera.camera_from_world[:3, 3]
        rows = in_camera[:, 1] / in_camera[:, 2] * camera.intrinsics[1, 1] + camera.intrinsics[1, 2]
        counts = (torch.arange(camera.height)[:, None] < float(rows.max())).float().expand_as(matte)
        views.append((camera, vertices, matte, counts))

    field = torch.zeros(len(basis.mirror), requires_grad=True)
    optimiser = torch.optim.Adam([field], lr=4e-3)
    for iteration in range(iterations):
        for group in optimiser.param_groups:
            group["lr"] = 4e-3 * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * iteration / iterations)))
        camera, vertices, matte, counts = views[iteration % len(views)]
        shell = displaced(gaussians, basis, field)
        world = world_from_local(shell, vertices, binding)
        alpha = render(world, camera).alpha
        loss = ((alpha - matte).abs() * counts).sum() / counts.sum()
        smooth = field @ basis.laplacian @ field
        uneven = (field - field[basis.mirror]).square().sum()
        loss = loss + SMOOTH * smooth + EVEN * uneven + THIN * field.square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            field.clamp_(*THICKNESS)
    return field.detach()
