"""The light of a video, found beside its Gaussians (ours; see `avatar.light`).

A picture is linear in the Gaussians' colours, and those in the light: what the avatar drawn in its resting light lacks
of a frame is the light times eight pictures that can be drawn. So a few times in a run the light is solved for in
closed form, robustly, and stands still in between.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from spatialavatar.avatar.binding import world_from_local
from spatialavatar.avatar.light import SHADES, brightness, triangle_shades
from spatialavatar.avatar.residual import corrected
from spatialavatar.splat.camera import Camera
from spatialavatar.splat.gaussians import WorldGaussians
from spatialavatar.splat.render import render

if TYPE_CHECKING:
    from spatialavatar.refine.refinement import Refinement

FRAMES = 32
"""Frames that are looked at."""
SIDE = 192
"""Pixels along the longer side of the pictures that are compared."""
ROUNDS = 3
"""Solutions in a row, each weighted by what the one before leaves."""
BEND = 0.05
"""Difference, of 1, from which on a pixel counts for less: hair that is displaced, a shadow, a lid."""
COVERED = 0.97
"""Coverage from which on a pixel is the person's."""
USUAL = 0.15
"""How large a light's numbers usually are."""
TELLING = 500.0
"""Pixels that make up one whose error is its own: neighbours, and frames after each other, err together."""
MOST_KEPT = 4000
"""Frames whose brightness is kept, 40 kB each."""


@dataclass(frozen=True)
class View:
    """A frame to find the light in.

    world: The Gaussians as posed in it, in their resting light.
    turned: (N, 8) how their triangles' `shades` differ from those at rest.
    target: (H, W, 3) the frame over black.
    camera: Of the frame.
    """

    world: WorldGaussians
    turned: Tensor
    target: Tensor
    camera: Camera


def brightness_in(run: Refinement, frame: int) -> Tensor:
    """(F,) how much brighter the run's light makes each triangle in a frame than at rest."""
    assert run.light is not None
    found = run.kept_brightness.get(frame)
    if found is None:
        shades = triangle_shades(run.mesh(frame), run.avatar.head.faces)
        found = brightness(run.light, shades, run.avatar.resting_shades)
        if run.motion is None and len(run.kept_brightness) < MOST_KEPT:
            run.kept_brightness[frame] = found
    return found


def view_of(run: Refinement, frame: int) -> View:
    """A training frame, and the avatar in it in its resting light."""
    sequence, store = run.whole
    local, residual = run.local(), run.residual_corrections(frame)
    if residual is not None:
        local = corrected(local, residual)
    vertices = run.mesh(frame)
    with torch.no_grad():
        world = world_from_local(local, vertices, run.binding)
        turned = triangle_shades(vertices, run.avatar.head.faces) - run.avatar.resting_shades
    return View(world, turned[run.binding.triangles], store.target(frame, torch.zeros(3)), sequence.camera(frame))


def light_of(run: Refinement) -> Tensor:
    """(8,) the light as a run's frames and Gaussians tell it now."""
    stride = max(1, len(run.training) // FRAMES)
    return solve_light((view_of(run, frame) for frame in run.training[::stride]), run.light)


@torch.no_grad()
def solve_light(views: Iterable[View], light: Tensor | None = None) -> Tensor:
    """(8,) the light that explains the frames best, drawn to none as far as they do not tell.

    Args:
        light: To begin with.
    """
    drawn = [_drawn(view) for view in views]
    device = drawn[0][0].device
    found = torch.zeros(SHADES, device=device) if light is None else light.clone()
    for _ in range(ROUNDS):
        left = torch.zeros(SHADES, SHADES, device=device)
        right = torch.zeros(SHADES, device=device)
        for missing, bases, covered in drawn:
            rest = missing - bases @ found
            # One weight for the three colours of a pixel.
            weights = covered / (1 + (rest.abs().mean(1, keepdim=True) / BEND).square())
            weighted = (bases * weights[..., None]).flatten(0, 1)
            left += weighted.T @ bases.flatten(0, 1)
            right += weighted.T @ missing.flatten()
        held = TELLING * (BEND / USUAL) ** 2
        found = torch.linalg.solve(left + held * torch.eye(SHADES, device=device), right)
    return found


def _drawn(view: View) -> tuple[Tensor, Tensor, Tensor]:
    """(P, 3) what the frame has more than the avatar in its resting light, (P, 3, 8) what each of the light's numbers
    adds, and (P, 1) where it is the person, of a smaller picture's pixels."""
    share = min(1.0, SIDE / max(view.camera.width, view.camera.height))
    camera = view.camera.scaled(share)
    colors = view.world.colors
    bases = (colors[:, :, None] * view.turned[:, None, :]).flatten(1)
    drawn = render(replace(view.world, colors=torch.cat([colors, bases], 1)), camera)
    image = drawn.image.flatten(0, 1)
    size = (camera.height, camera.width)
    target = torch.nn.functional.interpolate(view.target.permute(2, 0, 1)[None], size, mode="area")[0]
    missing = target.flatten(1).T - image[:, :3]
    covered = (drawn.alpha.flatten()[:, None] > COVERED).to(image.dtype)
    return missing, image[:, 3:].unflatten(1, (3, SHADES)), covered
