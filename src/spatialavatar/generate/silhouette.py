"""Hair's volume read off the mattes in closed form: the shell of `shell`, in milliseconds instead of seconds.

From scalp points that lie near the outline of a picture (their outward direction is at right angles to the line of
sight), one walks outwards in the picture until the matte ends. That many metres of hair stand there. A smooth shell
through these measurements, even from side to side, is one small linear system.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spatialavatar.avatar.binding import triangle_frames, world_from_local
from spatialavatar.generate import shoulders
from spatialavatar.generate.prior import SurfacePrior
from spatialavatar.generate.shell import push_out
from spatialavatar.generate.sources import project_points, sample_image
from spatialavatar.head.head import Head
from spatialavatar.splat.camera import Camera
from spatialavatar.splat.render import render

REACH, STEPS = 0.12, 24
"""Metres walked outwards, and in how many steps."""
INWARD = 0.02
"""Metres behind the skull's surface at which the walk begins: heads are narrower than the fitted mesh now and then."""
SLANT = 0.25
"""Cosine between outward direction and line of sight at which a point says e^-1 as much as one on the outline."""
USUAL = 0.005
"""Thickness of hair where no outline tells, metres."""
BARE = 0.006
"""Metres that the matte must reach beyond the bare head: below that it is the head's own outline, an ear perhaps."""
SMOOTH, EVEN, FIRM = 0.02, 0.01, 0.003
"""Weights of neighbouring bumps' and of mirrored bumps' squared differences and of the squared distance from USUAL,
against one measurement of a bump."""
EVERY = 4
"""One in so many of the canvas' sites is measured."""
OUTLINE_SIZE = 192
"""Pixels along a side of the picture of the bare head."""


def measure_thickness(
    prior: SurfacePrior, head: Head, views: list[tuple[Tensor, Camera, Tensor]]
) -> tuple[Tensor, Tensor, Tensor]:
    """What the outlines say.

    Args:
        prior: Of the layout.
        head: Its head.
        views: For each source its posed vertices (V, 3), camera, and matte (H, W) in [0, 1].

    Returns:
        Pixels (P,), thickness of the shell over the skull in their directions (K, P), and how far each measurement
        is to be believed (K, P), 0 to 1.
    """
    basis, canvas = prior.shell, prior.canvas
    chosen = canvas.sites[basis.mask[canvas.sites] > 0.5][::EVERY]
    skull = basis.weights[chosen] @ basis.skull
    thickness, belief = [], []
    for view in views:
        length, own, believed = walk_outwards(prior, head, view, chosen, basis.outward, SLANT)
        belief.append(believed)
        over_skull = length + basis.radius[chosen] - skull
        thickness.append(torch.where(length - own > BARE, over_skull, over_skull.clamp_max(0)))
    return chosen, torch.stack(thickness), torch.stack(belief)


def walk_outwards(
    prior: SurfacePrior,
    head: Head,
    view: tuple[Tensor, Camera, Tensor],
    chosen: Tensor,
    outward: Tensor,
    slant: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """From some surface points outwards in one picture, until its matte ends, and until the bare head does.

    Args:
        view: Posed vertices, camera and matte.
        chosen: (P,) pixels of the layout.
        outward: (N, 3) directions, in local units per metre.
        slant: Cosine between direction and line of sight at which a point is believed e^-1 as much as on the outline.

    Returns:
        Metres to the matte's end (P,), to the bare head's own (P,), and how far that is to be believed (P,).
    """
    vertices, camera, matte = view
    triangles = prior.binding.triangles[chosen]
    steps = torch.linspace(-INWARD, REACH, STEPS)
    frames = triangle_frames(vertices, head.faces)
    rotations, scales = frames.rotations[triangles], frames.scales[triangles][:, None]
    away = (rotations @ outward[chosen][..., None])[..., 0] * scales
    away = away / away.norm(dim=1, keepdim=True).clamp_min(1e-9)
    local = prior.gaussians.positions[chosen]
    start = (rotations @ local[..., None])[..., 0] * scales + frames.centers[triangles]
    walk = start[:, None] + steps[:, None] * away[:, None]  # (P, STEPS, 3)
    pixels, depth = project_points(walk.reshape(-1, 3), camera.camera_from_world, camera.intrinsics)
    both = torch.stack([matte, _bare_outline(prior, vertices, camera)], -1)
    inside, on_head = sample_image(both, pixels).view(-1, STEPS, 2).unbind(-1)
    x, y = pixels.view(-1, STEPS, 2).unbind(-1)
    in_picture = (x > 1) & (y > 1) & (x < camera.width - 1) & (y < camera.height - 1)
    # Both walks end at the last step before matte or bare head first fall below one half.
    last, last_on_head = ((cover > 0.5).long().cumprod(1).sum(1) - 1 for cover in (inside, on_head))
    half_step = 0.5 * (steps[1] - steps[0])
    length, own = steps[last.clamp_min(0)] + half_step, steps[last_on_head.clamp_min(0)] + half_step
    ends_inside = in_picture.gather(1, (last + 1).clamp_max(STEPS - 1)[:, None])[:, 0] & (last < STEPS - 1)
    towards = torch.nn.functional.normalize(camera.position - start, dim=1)
    aside = (away * towards).sum(1)
    believed = (-(aside / slant).square()).exp() * ends_inside * (depth.view(-1, STEPS)[:, 0] > 0)
    return length, own, believed


def shell_from_outlines(prior: SurfacePrior, head: Head, views: list[tuple[Tensor, Camera, Tensor]]) -> Tensor:
    """(N,) metres by which each Gaussian moves outwards so that hair fills the mattes; arguments as above."""
    basis = prior.shell
    chosen, thickness, belief = measure_thickness(prior, head, views)
    shares = basis.weights[chosen]
    weight = belief.sum(0)
    target = (belief * thickness).sum(0) / weight.clamp_min(1e-6)
    bumps = len(basis.mirror)
    # Of one bump's measurements all together count as one.
    weight = weight / (shares * weight[:, None]).sum(0).amax().clamp_min(1e-6)
    identity = torch.eye(bumps)
    unlike = identity - identity[basis.mirror]
    system = shares.T @ (weight[:, None] * shares)
    system = system + SMOOTH * basis.laplacian + EVEN * unlike.T @ unlike + FIRM * identity
    right = shares.T @ (weight * target) + FIRM * USUAL * torch.ones(bumps)
    field = torch.linalg.solve(system.double(), right.double()).float()
    return push_out(basis, field.clamp(-0.06, 0.10))


def shoulders_from_outlines(prior: SurfacePrior, head: Head, views: list[tuple[Tensor, Camera, Tensor]]) -> Tensor:
    """(N,) metres by which each Gaussian of the torso moves outwards so that shoulders fill the mattes (see
    `shoulders`); arguments as above."""
    basis, canvas = prior.shoulders, prior.canvas
    chosen = canvas.sites[basis.mask[canvas.sites] > 0.5]
    walks = [walk_outwards(prior, head, view, chosen, basis.outward, shoulders.SLANT) for view in views]
    beyond = torch.stack([length - own for length, own, _ in walks])
    return shoulders.solve_shoulders(basis, chosen, beyond, torch.stack([belief for _, _, belief in walks]))


def _bare_outline(prior: SurfacePrior, vertices: Tensor, camera: Camera) -> Tensor:
    """(H, W) coverage of the head without hair, drawn small and enlarged."""
    world = world_from_local(prior.site_gaussians, vertices, prior.site_binding)
    small = camera.scaled(min(1.0, OUTLINE_SIZE / camera.width))
    alpha = render(world, small).alpha[None, None]
    size = (camera.height, camera.width)
    return torch.nn.functional.interpolate(alpha, size, mode="bilinear", align_corners=False)[0, 0]
