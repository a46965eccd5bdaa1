"""Gaussian splatting, pixel by pixel in plain Python, for scenes of a few Gaussians; and where its cut-offs lie."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from spatialavatar.splat.camera import Camera
from spatialavatar.splat.gaussians import WorldGaussians
from spatialavatar.splat.projection import cutoff_extents, project
from spatialavatar.splat.reference import conics_from_covariances, exponentials, pixel_centers


def render_by_loops(
    gaussians: WorldGaussians, camera: Camera, background: Tensor
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image (H, W, C), alpha (H, W) and covariances2d (N, 2, 2), float64.

    Independent of the package's renderers: covariances from 3 x 3 matrices, a determinant by its definition, no tiles.
    """
    rotation, translation = (
        camera.camera_from_world[:3, :3].double().numpy(),
        camera.camera_from_world[:3, 3].double().numpy(),
    )
    (focal_x, _, center_x), (_, focal_y, center_y), _ = camera.intrinsics.double().tolist()
    splats, covariances = [], []
    for position, quaternion, scale, opacity, color in zip(
        *(tensor.detach().double().numpy() for tensor in vars(gaussians).values()), strict=True
    ):
        x, y, z = rotation @ position + translation
        turned = rotation @ _rotation_matrix(quaternion / np.linalg.norm(quaternion))
        covariance3d = turned @ np.diag(scale**2) @ turned.T
        # Linearised at the centre, but no further out than 15 % of the image's size beyond its border.
        u = min(max(x / z, (-0.15 * camera.width - center_x) / focal_x), (1.15 * camera.width - center_x) / focal_x)
        v = min(max(y / z, (-0.15 * camera.height - center_y) / focal_y), (1.15 * camera.height - center_y) / focal_y)
        jacobian = np.array([[focal_x / z, 0, -focal_x * u / z], [0, focal_y / z, -focal_y * v / z]])
        covariances.append(jacobian @ covariance3d @ jacobian.T)
        mean = np.array([focal_x * x / z + center_x, focal_y * y / z + center_y])
        if z > 0.01:
            splats.append((z, mean, np.linalg.inv(covariances[-1] + 0.3 * np.eye(2)), opacity, color))
    splats.sort(key=lambda splat: splat[0])

    image = np.zeros((camera.height, camera.width, gaussians.colors.shape[1]))
    alphas = np.zeros((camera.height, camera.width))
    for row in range(camera.height):
        for column in range(camera.width):
            left = 1.0
            for _, mean, conic, opacity, color in splats:
                offset = np.array([column + 0.5, row + 0.5]) - mean
                alpha = min(0.999, opacity * math.exp(-0.5 * offset @ conic @ offset))
                if alpha < 1 / 255:
                    continue
                if left * (1 - alpha) <= 1e-4:
                    break
                image[row, column] += left * alpha * color
                left *= 1 - alpha
            image[row, column] += left * background.double().numpy()
            alphas[row, column] = 1 - left
    return image, alphas, np.stack(covariances)


def _rotation_matrix(quaternion: np.ndarray) -> np.ndarray:
    """Of a unit quaternion, by rotating the basis vectors: v -> q v q*."""

    def multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        scalar = a[0] * b[0] - a[1:] @ b[1:]
        return np.concatenate([[scalar], a[0] * b[1:] + b[0] * a[1:] + np.cross(a[1:], b[1:])])

    conjugate = quaternion * np.array([1, -1, -1, -1])
    return np.stack(
        [multiply(multiply(quaternion, np.concatenate([[0], axis])), conjugate)[1:] for axis in np.eye(3)], axis=1
    )


ALPHA_MARGIN = 2e-4
"""Relative. Alpha has this error in float32: up to 1e-5 px of error in the mean, times a slope of at most 6 per px of
ln(alpha) where alpha is 1/255, and the rounding of the exponent; three times that."""
TRANSMITTANCE_MARGIN = 2e-3
"""Relative, of the transmittance at which a pixel ends: a product of up to a few dozen factors 1 - alpha."""
DEPTH_MARGIN = 5e-7
"""Metres, at about 1 m: 4 steps of float32. Nearer neighbours may be blended in either order."""


def away_from_cutoffs(gaussians: WorldGaussians, camera: Camera) -> Tensor:
    """(H, W) bool: the pixels where float32 and float64 must take the same decisions.

    Left out are pixels where some Gaussian's alpha is about 1/255 or about 0.999, where the transmittance comes close
    to 1e-4, and where two Gaussians that follow each other have the same depth but for rounding. In all of these the
    picture is not continuous, so that the smallest error may change it visibly.
    """
    gaussians, camera = gaussians.to(dtype=torch.float64).detach(), camera.to(dtype=torch.float64)
    projected = project(gaussians, camera)
    conics = conics_from_covariances(projected.covariances2d)
    lower = projected.means2d - cutoff_extents(projected.covariances2d, gaussians.opacities) - 1
    upper = 2 * projected.means2d - lower
    order = torch.argsort(projected.depths, stable=True)
    order = order[(projected.depths[order] > 0) & (gaussians.opacities[order] > 0.99 / 255)]
    safe = torch.zeros(camera.height, camera.width, dtype=torch.bool)
    tile = 16
    for top in range(0, camera.height, tile):
        for left in range(0, camera.width, tile):
            bottom, right = min(top + tile, camera.height), min(left + tile, camera.width)
            touches = (lower < lower.new_tensor([right, bottom])).all(-1) & (upper > upper.new_tensor([left, top])).all(
                -1
            )
            chosen = order[touches[order]]
            raw = exponentials(
                pixel_centers(left, right, top, bottom).reshape(-1, 2),
                projected.means2d[chosen],
                conics[chosen],
                gaussians.opacities[chosen],
            )  # (K, P)
            alpha = raw.clamp_max(0.999)
            drawn = alpha >= 1 / 255
            near = ((raw * 255 - 1).abs() < ALPHA_MARGIN) | ((raw / 0.999 - 1).abs() < ALPHA_MARGIN)
            transmittance = torch.cumprod(1 - alpha * drawn, dim=0)
            ended = transmittance <= 1e-4 * (1 - TRANSMITTANCE_MARGIN)
            near |= (transmittance / 1e-4 - 1).abs() < TRANSMITTANCE_MARGIN
            # The depth of the Gaussian drawn before each one at the same pixel.
            depths = projected.depths[chosen][:, None].expand_as(raw)
            latest = torch.where(drawn, depths, torch.zeros_like(depths)).cummax(dim=0).values
            before = torch.cat([torch.zeros_like(latest[:1]), latest])[: len(latest)]
            near |= drawn & (depths - before < DEPTH_MARGIN)
            # What lies behind the end of a pixel does not matter.
            done_before = torch.cat([torch.zeros_like(ended[:1]), ended])[: len(ended)]
            safe[top:bottom, left:right] = ~(near & ~done_before).any(dim=0).reshape(bottom - top, right - left)
    return safe
