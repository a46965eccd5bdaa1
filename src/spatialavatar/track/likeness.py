"""A likeness: what the photometric stage believes the person looks like, as Gaussians on the head's surface.

It is learned while the motion is fitted to it, at low resolution, and thrown away afterwards: an avatar is made by
`generate` and `refine` from the tracking that results.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from spatialavatar.avatar.binding import Binding, make_binding, triangle_frames
from spatialavatar.avatar.gaussians import LocalGaussians
from spatialavatar.avatar.light import SHADES, shades
from spatialavatar.avatar.surface import local_points, pixel_footprints
from spatialavatar.head.head import Head
from spatialavatar.head.uv import UVLayout
from spatialavatar.splat.gaussians import WorldGaussians

_NAMES = ("positions", "quaternions_wxyz", "log_scales", "opacity_logits", "colors")
_RATES = {"positions": 5e-3, "quaternions_wxyz": 1e-3, "log_scales": 8e-3, "opacity_logits": 5e-2, "colors": 1e-2}
# Adam's epsilons: what hardly shows hardly moves, so sides that few frames show do not turn to noise.
_EPSILONS = {
    **{"positions": 3e-7, "quaternions_wxyz": 1e-7, "log_scales": 3e-6, "opacity_logits": 1e-8, "colors": 5e-7}
}
_LARGEST_CHANGE = math.log(3.0)
_START_COLOR = (0.6, 0.5, 0.45)
_START_OPACITY = 0.9
_OVERLAP = 1.3


@dataclass
class Likeness:
    """Gaussians with their optimiser; mutable on purpose, this is training state.

    Attributes:
        local: N Gaussians in the layout's order, leaves of the graph.
        binding: To their triangles.
        shades: (N, 8) `shades` of the surface's normals at rest.
        shading: (8, 3) light by direction for each colour, a leaf.
    """

    local: LocalGaussians
    binding: Binding
    shades: Tensor
    shading: Tensor
    optimiser: torch.optim.Optimizer
    _start_log_scales: Tensor

    def lit(self, world: WorldGaussians, turn: Tensor, gain: Tensor) -> WorldGaussians:
        """The posed Gaussians under the light of a frame.

        Args:
            turn: (8, 8) of the head's rotation, which carries the normals; see `turned_shades`.
            gain: (3,) logarithm of the frame's exposure.
        """
        light = 1 + self.shades @ (turn @ self.shading)
        colors = world.colors * light * gain.exp()
        return WorldGaussians(world.positions, world.quaternions_wxyz, world.scales, world.opacities, colors)

    def set_rate(self, factor: float) -> None:
        """Scale all rates."""
        for group in self.optimiser.param_groups:
            group["lr"] = group["base"] * factor

    def step(self) -> None:
        """One step from the gradients at hand."""
        self.optimiser.step()
        with torch.no_grad():
            self.local.log_scales.clamp_(
                self._start_log_scales - _LARGEST_CHANGE, self._start_log_scales + _LARGEST_CHANGE
            )
            self.local.colors.clamp_(0, 1.5)
        self.optimiser.zero_grad(set_to_none=True)


def start_likeness(head: Head, layout: UVLayout, vertices: Tensor) -> Likeness:
    """A grey-skinned person of flat discs, as large as their UV pixels.

    Args:
        vertices: (V, 3) the subject's mesh at rest.
    """
    frames = triangle_frames(vertices, head.faces)
    footprint = pixel_footprints(head, layout, vertices)
    count = len(layout.triangles)
    long, short = (_OVERLAP * footprint.scales).unbind(-1)
    log_scales = torch.stack([long, 0.3 * short, short], -1).clamp_min(1e-6).log()
    half = footprint.angles / 2
    zero = torch.zeros_like(half)
    values = {
        "positions": local_points(layout, vertices, head.faces, frames),
        "quaternions_wxyz": torch.stack([half.cos(), zero, half.sin(), zero], -1),
        "log_scales": log_scales,
        "opacity_logits": torch.full((count,), math.log(_START_OPACITY / (1 - _START_OPACITY))),
        "colors": torch.tensor(_START_COLOR).expand(count, 3),
    }
    leaves = {name: value.detach().clone().contiguous().requires_grad_() for name, value in values.items()}
    shading = torch.zeros(SHADES, 3, requires_grad=True)
    groups = [
        {"params": [leaves[name]], "lr": _RATES[name], "base": _RATES[name], "eps": _EPSILONS[name]} for name in _NAMES
    ]
    groups.append({"params": [shading], "lr": 2e-3, "base": 2e-3, "eps": 1e-8})
    return Likeness(
        local=LocalGaussians(**leaves),
        binding=make_binding(head.faces, layout.triangles, head.num_vertices),
        shades=shades(frames.rotations[layout.triangles][:, :, 1].detach()),
        shading=shading,
        optimiser=torch.optim.Adam(groups, fused=True),
        _start_log_scales=log_scales.detach().clone(),
    )


def turned_shades(rotations: Tensor) -> Tensor:
    """(T, 3, 3) rotations R -> (T, 8, 8) matrices M with shades(normals @ R^T) = shades(normals) @ M.

    Each band is closed under rotation, so a turned sphere of normals needs no more than eight numbers of each.
    """
    directions = torch.randn(64, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    directions = torch.nn.functional.normalize(directions, dim=1)
    turned = shades(directions @ rotations.double().mT)
    return torch.linalg.lstsq(shades(directions).expand(len(rotations), -1, -1), turned).solution.to(rotations.dtype)
