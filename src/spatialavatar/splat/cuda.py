"""The CUDA back end: gsplat, which brings its own kernels and compiles them when it is first used."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from spatialavatar.errors import UserError
from spatialavatar.splat.box import Box
from spatialavatar.splat.camera import Camera
from spatialavatar.splat.constants import DILATION, NEAR
from spatialavatar.splat.gaussians import WorldGaussians
from spatialavatar.splat.projection import Projected, drawn_box, is_proper, project

BUILD_HINT = "Install the CUDA toolkit of the version torch was built for, or render on the CPU."


def render_cuda(gaussians: WorldGaussians, camera: Camera, background: Tensor) -> tuple[Tensor, Tensor, Projected, Box]:
    """Render with gsplat; see `spatialavatar.splat.render.render`.

    gsplat draws by the same rules as the CPU kernel (its "classic" mode: dilation 0.3, alpha clamped to 0.999, cut-offs
    1/255 and 1e-4). What it returns about the projection is given up for the torch projection, whose covariances have
    gradients and are not dilated.

    Returns:
        image (H, W, C), alpha (H, W), the projected Gaussians, and the box that they fill.

    Raises:
        ValueError: The tensors are not float32 on a CUDA device.
        UserError: gsplat is not installed, or cannot compile its kernels.
    """
    positions = gaussians.positions
    if positions.dtype != torch.float32 or positions.device.type != "cuda":
        raise ValueError(
            f'backend "cuda" needs float32 tensors on a CUDA device, got {positions.dtype} on {positions.device}'
        )
    camera = camera.to(positions.device, torch.float32)
    projected = project(gaussians, camera)
    if not len(gaussians):
        image = background.expand(camera.height, camera.width, len(background))
        return image, image.new_zeros(camera.height, camera.width), projected, (0, 0, 0, 0)
    # gsplat does not look for values that are not finite; such Gaussians become invisible ones.
    proper = is_proper(gaussians)
    identity = positions.new_tensor([1.0, 0.0, 0.0, 0.0])
    image, alpha, _ = _rasterization()(
        means=torch.where(proper[:, None], positions, torch.zeros_like(positions)),
        quats=torch.where(proper[:, None], gaussians.quaternions_wxyz, identity),
        scales=torch.where(proper[:, None], gaussians.scales, torch.ones_like(gaussians.scales)),
        opacities=torch.where(proper, gaussians.opacities, torch.zeros_like(gaussians.opacities)),
        colors=torch.where(proper[:, None], gaussians.colors, torch.zeros_like(gaussians.colors)),
        viewmats=camera.camera_from_world[None],
        Ks=camera.intrinsics[None],
        width=camera.width,
        height=camera.height,
        backgrounds=background[None],
        packed=False,
        near_plane=NEAR,
        eps2d=DILATION,
        radius_clip=0.0,
        render_mode="RGB",
    )
    return image[0], alpha[0, ..., 0], projected, drawn_box(projected, camera)


def _rasterization() -> Any:
    """gsplat's function, imported when first wanted: the import alone takes seconds."""
    hint = 'Install it with: pip install "spatialavatar[cuda]"; or render on the CPU, by tensors on the CPU.'
    try:
        from gsplat import rasterization
        from gsplat.cuda import _backend  # compiles the kernels, if they are not yet
    except ImportError as error:
        raise UserError(f"Rendering on a GPU needs gsplat, which cannot be imported: {error}", hint=hint) from error
    except (RuntimeError, OSError) as error:  # what torch's build of extensions raises
        raise UserError(f"gsplat could not build its CUDA kernels: {error}", hint=BUILD_HINT) from error
    if getattr(_backend, "_C", None) is None:
        raise UserError(
            "gsplat is installed, but has no CUDA kernels: it found no CUDA compiler (nvcc) to build them with",
            hint=BUILD_HINT,
        )
    return rasterization
