"""Perspective projection of 3D Gaussians to 2D ones (EWA splatting), in plain torch, differentiable.

The compiled kernel does the same in ``native/projection.hpp``; this is the form to read, and the one that runs in
float64 and on other devices.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spatialavatar.head.rotations import rotation_matrix_from_quaternions_wxyz
from spatialavatar.splat.box import Box
from spatialavatar.splat.camera import Camera
from spatialavatar.splat.constants import ALPHA_MIN, DILATION, FRUSTUM_MARGIN, MAX_LENGTH, MIN_SQUARED_QUATERNION, NEAR
from spatialavatar.splat.gaussians import WorldGaussians


@dataclass(frozen=True, eq=False)
class Projected:
    """Gaussians as the camera sees them, all N of them, in the order they came in.

    A Gaussian at or behind the near plane, with a value that is not finite, with a zero quaternion, or larger than the
    world has no projection. It gets the stand-in mean (0, 0), covariance (1, 0, 1) (a round one, so that losses on the
    shape ignore it), depth 0 and radius 0, and no gradient.
    """

    means2d: Tensor
    """(N, 2) pixels."""
    covariances2d: Tensor
    """(N, 3) square pixels: xx, xy, yy, before the renderer adds its 0.3 to xx and yy."""
    depths: Tensor
    """(N,) metres along the optical axis."""
    radii: Tensor
    """(N,) pixels: how far from its mean the Gaussian reaches 1/255 at most. 0 = not drawn. Without gradient."""


def project(gaussians: WorldGaussians, camera: Camera) -> Projected:
    """Project every Gaussian; differentiable in positions, quaternions, scales, and the camera's tensors.

    The covariance is J W Sigma W^T J^T, where W is the camera's rotation and J the Jacobian of the perspective
    division at the Gaussian's centre (moved into the image, widened by 15 % on either side, if it lies outside).
    """
    rotation, translation = camera.camera_from_world[:3, :3], camera.camera_from_world[:3, 3]
    focal_x, focal_y = camera.intrinsics[0, 0], camera.intrinsics[1, 1]
    center_x, center_y = camera.intrinsics[0, 2], camera.intrinsics[1, 2]

    depths = (gaussians.positions @ rotation.T + translation)[:, 2].detach()
    valid = is_proper(gaussians) & (depths > NEAR)  # (N,)

    # Values without a projection are replaced before the arithmetic, not after: NaN times zero is NaN in a gradient.
    ahead = rotation.T @ (rotation.new_tensor([0.0, 0.0, 1.0]) - translation)  # (3,) one metre before the camera
    positions = torch.where(valid[:, None], gaussians.positions, ahead)
    quaternions_wxyz = torch.where(
        valid[:, None], gaussians.quaternions_wxyz, rotation.new_tensor([1.0, 0.0, 0.0, 0.0])
    )
    scales = torch.where(valid[:, None], gaussians.scales, torch.ones_like(gaussians.scales))

    x, y, depths = (positions @ rotation.T + translation).unbind(-1)  # (N,) each
    slope_x, slope_y = x / depths, y / depths
    means2d = torch.stack([focal_x * slope_x + center_x, focal_y * slope_y + center_y], dim=-1)

    margin_x, margin_y = FRUSTUM_MARGIN * camera.width / 2, FRUSTUM_MARGIN * camera.height / 2  # pixels
    slope_x = slope_x.clamp((-margin_x - center_x) / focal_x, (camera.width + margin_x - center_x) / focal_x)
    slope_y = slope_y.clamp((-margin_y - center_y) / focal_y, (camera.height + margin_y - center_y) / focal_y)
    # Columns of W R S: the Gaussian's axes in the camera, each as long as its standard deviation.
    axes = rotation @ (rotation_matrix_from_quaternions_wxyz(quaternions_wxyz) * scales[:, None, :])  # (N, 3, 3)
    axes_x = (focal_x / depths)[:, None] * (axes[:, 0] - slope_x[:, None] * axes[:, 2])  # (N, 3) pixels
    axes_y = (focal_y / depths)[:, None] * (axes[:, 1] - slope_y[:, None] * axes[:, 2])
    covariances2d = torch.stack(
        [(axes_x * axes_x).sum(-1), (axes_x * axes_y).sum(-1), (axes_y * axes_y).sum(-1)], dim=-1
    )

    means2d = torch.where(valid[:, None], means2d, torch.zeros_like(means2d))
    covariances2d = torch.where(valid[:, None], covariances2d, covariances2d.new_tensor([1.0, 0.0, 1.0]))
    depths = torch.where(valid, depths, torch.zeros_like(depths))
    with torch.no_grad():
        radii = _radii(means2d, covariances2d, gaussians.opacities, camera) * valid
    return Projected(means2d, covariances2d, depths, radii)


def drawn_box(projected: Projected, camera: Camera) -> Box:
    """A box around all pixels that a Gaussian may touch; (0, 0, 0, 0) if there is none."""
    drawn = projected.radii > 0
    if not bool(drawn.any()):
        return (0, 0, 0, 0)
    means2d, radii = projected.means2d.detach()[drawn], projected.radii[drawn, None]
    # A pixel is touched at its centre; a whole pixel on either side makes up for rounding.
    x0, y0 = (means2d - radii - 0.5).amin(0).floor().tolist()
    x1, y1 = (means2d + radii + 0.5).amax(0).ceil().tolist()
    return max(0, int(x0)), min(camera.width, int(x1)), max(0, int(y0)), min(camera.height, int(y1))


def is_proper(gaussians: WorldGaussians) -> Tensor:
    """(N,) bool: every value is finite, lengths are below 1000 km, and the quaternion stands for a rotation."""
    g = gaussians.detach()
    largest = torch.cat([g.positions, g.scales], dim=-1).abs().amax(dim=-1)  # NaN if one of them is
    squared_norm = g.quaternions_wxyz.square().sum(dim=-1)
    proper = (largest <= MAX_LENGTH) & (squared_norm >= MIN_SQUARED_QUATERNION) & squared_norm.isfinite()
    return proper & g.opacities.isfinite() & g.colors.isfinite().all(dim=-1)


def _radii(means2d: Tensor, covariances2d: Tensor, opacities: Tensor, camera: Camera) -> Tensor:
    """(N,) reach of each Gaussian in pixels; 0 where it touches no pixel centre of the image."""
    half_x, half_y = cutoff_extents(covariances2d, opacities).unbind(-1)
    # The box that encloses the cut-off ellipse, in units where pixel centres are whole numbers.
    first_x, last_x = (means2d[:, 0] - half_x - 0.5).ceil(), (means2d[:, 0] + half_x - 0.5).floor()
    first_y, last_y = (means2d[:, 1] - half_y - 0.5).ceil(), (means2d[:, 1] + half_y - 0.5).floor()
    drawn = (opacities >= ALPHA_MIN) & (first_x <= last_x) & (first_y <= last_y)
    drawn &= (last_x >= 0) & (last_y >= 0) & (first_x <= camera.width - 1) & (first_y <= camera.height - 1)
    xx, xy, yy = covariances2d[:, 0] + DILATION, covariances2d[:, 1], covariances2d[:, 2] + DILATION
    largest = (xx + yy) / 2 + (((xx - yy) / 2).square() + xy.square()).sqrt()
    return (_squared_reach(opacities) * largest).sqrt() * drawn


def cutoff_extents(covariances2d: Tensor, opacities: Tensor) -> Tensor:
    """(N, 2) half width and half height, in pixels, of the box around where alpha is at least 1/255."""
    return (_squared_reach(opacities)[:, None] * (covariances2d[:, ::2] + DILATION)).sqrt()


def _squared_reach(opacities: Tensor) -> Tensor:
    """(N,) squared Mahalanobis distance at which opacity times the Gaussian falls to 1/255: 2 ln(255 opacity)."""
    return 2 * torch.log((opacities / ALPHA_MIN).nan_to_num(1.0).clamp_min(1.0))
