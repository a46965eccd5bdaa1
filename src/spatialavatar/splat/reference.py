"""The reference renderer: plain torch, slow and plain to read, in float32 or float64 on any device.

It says what the other back ends compute, and is differentiable in everything, the camera included.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from spatialavatar.splat.box import Box
from spatialavatar.splat.camera import Camera
from spatialavatar.splat.constants import ALPHA_MAX, ALPHA_MIN, DILATION, TRANSMITTANCE_MIN
from spatialavatar.splat.gaussians import WorldGaussians
from spatialavatar.splat.projection import Projected, cutoff_extents, drawn_box, project

TILE = 16


def render_reference(
    gaussians: WorldGaussians, camera: Camera, background: Tensor
) -> tuple[Tensor, Tensor, Projected, Box]:
    """Render; see `spatialavatar.splat.render.render`.

    Returns:
        image (H, W, C), alpha (H, W), the projected Gaussians, and the box that they fill.
    """
    camera = camera.to(gaussians.positions.device, gaussians.positions.dtype)
    projected = project(gaussians, camera)
    conics = conics_from_covariances(projected.covariances2d)
    # Tiles only save time: a Gaussian is left out of those where its alpha is below the cut-off at every pixel.
    with torch.no_grad():
        lower = projected.means2d - cutoff_extents(projected.covariances2d, gaussians.opacities) - 1  # (N, 2)
        upper = 2 * projected.means2d - lower
        order = torch.argsort(projected.depths, stable=True)
        order = order[projected.radii[order] > 0]

    rows = []
    for top in range(0, camera.height, TILE):
        row = []
        for left in range(0, camera.width, TILE):
            bottom, right = min(top + TILE, camera.height), min(left + TILE, camera.width)
            pixels = pixel_centers(left, right, top, bottom).to(projected.means2d).reshape(-1, 2)
            touches = (lower < lower.new_tensor([right, bottom])).all(-1) & (upper > upper.new_tensor([left, top])).all(
                -1
            )
            chosen = order[touches[order]]
            blended = checkpoint(  # keeps no (pixels x Gaussians) tensors for the backward pass
                blend,
                pixels,
                projected.means2d[chosen],
                conics[chosen],
                gaussians.opacities[chosen],
                gaussians.colors[chosen],
                use_reentrant=False,
            )
            row.append(blended.unflatten(0, (bottom - top, right - left)))
        rows.append(torch.cat(row, dim=1))
    color, transmittance = torch.cat(rows, dim=0).split([gaussians.colors.shape[1], 1], dim=-1)
    alpha = 1 - transmittance.squeeze(-1)
    return color + transmittance * background, alpha, projected, drawn_box(projected, camera)


def conics_from_covariances(covariances2d: Tensor) -> Tensor:
    """(N, 3) inverses xx, xy, yy of the dilated covariances (N, 3)."""
    xx, xy, yy = covariances2d[:, 0] + DILATION, covariances2d[:, 1], covariances2d[:, 2] + DILATION
    return torch.stack([yy, -xy, xx], dim=-1) / (xx * yy - xy * xy)[:, None]


def pixel_centers(left: int, right: int, top: int, bottom: int) -> Tensor:
    """(bottom - top, right - left, 2) x, y of the centres of pixels."""
    y, x = torch.meshgrid(
        torch.arange(top, bottom, dtype=torch.float64), torch.arange(left, right, dtype=torch.float64), indexing="ij"
    )
    return torch.stack([x, y], dim=-1) + 0.5


def exponentials(pixels: Tensor, means2d: Tensor, conics: Tensor, opacities: Tensor) -> Tensor:
    """(K, P) opacity times Gaussian of K Gaussians at P pixels (P, 2), before the clamp and the cut-off."""
    dx, dy = (pixels[None] - means2d[:, None]).unbind(-1)  # (K, P)
    xx, xy, yy = conics[:, :, None].unbind(1)  # (K, 1)
    return opacities[:, None] * torch.exp(-(xx * dx * dx + yy * dy * dy) / 2 - xy * dx * dy)


def blend(pixels: Tensor, means2d: Tensor, conics: Tensor, opacities: Tensor, colors: Tensor) -> Tensor:
    """Blend K Gaussians, front to back, at P pixels.

    Args:
        pixels: (P, 2) x, y.
        means2d, conics, opacities, colors: (K, 2), (K, 3), (K,), (K, C), nearest first.

    Returns:
        (P, C + 1): colour, then the transmittance that is left.
    """
    alpha = exponentials(pixels, means2d, conics, opacities).clamp_max(ALPHA_MAX)
    alpha = torch.where(alpha >= ALPHA_MIN, alpha, torch.zeros_like(alpha))
    with torch.no_grad():
        goes_on = torch.cumprod(1 - alpha, dim=0) > TRANSMITTANCE_MIN
    alpha = torch.where(goes_on, alpha, torch.zeros_like(alpha))
    after = torch.cumprod(1 - alpha, dim=0)  # (K, P)
    one = torch.ones_like(pixels[None, :, 0])
    before = torch.cat([one, after])[: len(alpha)]
    color = ((alpha * before)[..., None] * colors[:, None]).sum(dim=0)  # (P, C)
    return torch.cat([color, torch.cat([one, after])[-1, :, None]], dim=-1)
