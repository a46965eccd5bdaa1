"""3D Gaussians and a camera in, a picture out.

The rules are those of 3D Gaussian splatting (Kerbl et al. 2023): Gaussians are projected by a linearised camera,
widened by 0.3 px^2, sorted by the depth of their centres and blended front to back. The numbers stand in
`spatialavatar.splat.constants`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from spatialavatar.splat.box import Box
from spatialavatar.splat.camera import Camera
from spatialavatar.splat.gaussians import WorldGaussians
from spatialavatar.splat.projection import Projected

__all__ = ["Backend", "Projected", "Rendering", "render"]

Backend = Literal["auto", "cpu", "cuda", "reference"]


@dataclass(frozen=True, eq=False)
class Rendering:
    """What `render` returns; all of it differentiable but `projected.radii`."""

    image: Tensor
    """(H, W, C), over the background already. The CPU kernel's images lie in memory one channel after the other."""
    alpha: Tensor
    """(H, W), in [0, 1]: 1 where nothing of the background is seen."""
    projected: Projected
    """The N Gaussians in the image plane."""
    box: Box
    """A box of pixels outside of which there is only background; (0, 0, 0, 0) if that is everywhere."""
    depth: Tensor | None = None
    """(H, W), metres along the optical axis, if it was asked for: the mean of what is drawn, weighted as its colours
    are; 0 where nothing is."""


def render(
    gaussians: WorldGaussians,
    camera: Camera,
    background: Tensor | None = None,
    *,
    backend: Backend = "auto",
    depth: bool = False,
) -> Rendering:
    """Draw Gaussians, differentiably.

    Args:
        gaussians: N of them with C colour channels; N may be 0. Those with a value that is not finite are skipped, and
            get zero gradient.
        camera: One pinhole camera, without skew.
        background: (C,), black if None.
        backend: "cpu" (the compiled kernel; float32), "cuda" (gsplat; float32), "reference" (plain torch; slow, any
            dtype, second derivatives too), or "auto": by the device of the Gaussians.
        depth: Draw the depth as well, as one more channel.

    Returns:
        The image, its alpha, and the projected Gaussians. With "cpu" the same bits for any number of threads. Gradients
        flow to positions, quaternions, scales, opacities, colours, background, and the camera's matrices; there are
        no second derivatives but with "reference".

    Raises:
        ValueError: A shape, dtype or device does not fit, or the camera is no pinhole camera.
        UserError: "cuda" without gsplat.
    """
    colors = gaussians.colors
    if background is None:
        background = colors.new_zeros(colors.shape[1])
    if background.shape != (colors.shape[1],):
        raise ValueError(f"background must have shape ({colors.shape[1]},), got {tuple(background.shape)}")
    if background.dtype != colors.dtype or background.device != colors.device:
        raise ValueError(
            f"background is {background.dtype} on {background.device}, "
            f"the Gaussians are {colors.dtype} on {colors.device}"
        )
    check_camera(camera)
    if backend == "auto":
        backend = "cuda" if colors.device.type == "cuda" else "cpu"
    # Imported late: two of the three are not needed by most programs.
    if backend == "cpu":
        from spatialavatar.splat.cpu import render_cpu as draw
    elif backend == "cuda":
        from spatialavatar.splat.cuda import render_cuda as draw
    elif backend == "reference":
        from spatialavatar.splat.reference import render_reference as draw
    else:
        raise ValueError(f'backend must be "auto", "cpu", "cuda" or "reference", got {backend!r}')
    if not depth:
        return Rendering(*draw(gaussians, camera, background))
    world = camera.camera_from_world.to(colors)
    depths = gaussians.positions @ world[2, :3] + world[2, 3]  # (N,)
    layered = replace(gaussians, colors=torch.cat([colors, depths[:, None]], dim=1))
    image, alpha, projected, box = draw(layered, camera, torch.cat([background, background.new_zeros(1)]))
    # Where nothing is drawn both are 0.
    return Rendering(image[..., :-1], alpha, projected, box, depth=image[..., -1] / alpha.clamp_min(1e-6))


def check_camera(camera: Camera) -> None:
    """Raises ValueError unless the camera is a rigid pinhole camera without skew, all of it finite."""
    world = camera.camera_from_world.detach().cpu().double()
    pinhole = camera.intrinsics.detach().cpu().double()
    if not (bool(world.isfinite().all()) and bool(pinhole.isfinite().all())):
        raise ValueError("the camera has values that are not finite: NaN or infinity")
    (focal_x, skew, _), (zero, focal_y, _), last_row = pinhole.tolist()
    if focal_x <= 0 or focal_y <= 0 or skew != 0 or zero != 0 or last_row != [0, 0, 1]:
        raise ValueError(
            f"Camera.intrinsics must be [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] with fx, fy > 0, got {pinhole.tolist()}"
        )
    rotation = world[:3, :3]
    # A thousandth is far above rounding and far below a forgotten scale or mirrored axis.
    rigid = (rotation @ rotation.T - torch.eye(3, dtype=torch.float64)).abs().max() < 1e-3
    if not rigid or torch.linalg.det(rotation) < 0 or world[3].tolist() != [0, 0, 0, 1]:
        raise ValueError(
            "Camera.camera_from_world must be a rotation and a translation with last row 0, 0, 0, 1, "
            f"got {world.tolist()}"
        )
