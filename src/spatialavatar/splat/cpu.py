"""The CPU back end: the compiled kernel under torch's autograd."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from spatialavatar import _native
from spatialavatar.splat import threads  # noqa: F401  (sets the size of the kernels' thread pool)
from spatialavatar.splat.box import Box
from spatialavatar.splat.camera import Camera
from spatialavatar.splat.constants import MAX_IMAGE_SIZE
from spatialavatar.splat.gaussians import WorldGaussians
from spatialavatar.splat.projection import Projected

CAMERA_GRADIENTS = 16
"""What the kernel says of a camera: 12 of its pose, 4 of its intrinsics."""
MAX_IDLE_CONTEXTS = 4
_idle_contexts: list[_native.Context] = []


class _Lease:
    """Holds a kernel context (the buffers of one render) until the autograd node that owns it goes away.

    Contexts are used again: their buffers are large, and warm memory is faster than new memory.
    """

    def __init__(self) -> None:
        self.context = _idle_contexts.pop() if _idle_contexts else _native.Context()

    def __del__(self) -> None:
        if len(_idle_contexts) < MAX_IDLE_CONTEXTS:
            _idle_contexts.append(self.context)


def render_cpu(gaussians: WorldGaussians, camera: Camera, background: Tensor) -> tuple[Tensor, Tensor, Projected, Box]:
    """Render with the compiled kernel; see `spatialavatar.splat.render.render`.

    Returns:
        image (H, W, C), alpha (H, W), the projected Gaussians, and the box that they fill.

    Raises:
        ValueError: The tensors are not float32 on the CPU, or the image is too large.
    """
    if gaussians.positions.dtype != torch.float32 or gaussians.positions.device.type != "cpu":
        raise ValueError(
            f'backend "cpu" needs float32 tensors on the CPU, got {gaussians.positions.dtype} on '
            f'{gaussians.positions.device}; for float64 there is backend "reference"'
        )
    if max(camera.width, camera.height) > MAX_IMAGE_SIZE:
        raise ValueError(f"the image is {camera.width} x {camera.height}; the limit is {MAX_IMAGE_SIZE} on either side")
    lease = _Lease()
    image, alpha, means2d, covariances2d, depths, radii = _Render.apply(
        gaussians.positions,
        gaussians.quaternions_wxyz,
        gaussians.scales,
        gaussians.opacities,
        gaussians.colors,
        background,
        camera.camera_from_world,
        camera.intrinsics,
        (camera.width, camera.height),
        lease,
    )
    box = lease.context.box if lease.context.drawn else (0, 0, 0, 0)
    return image.permute(1, 2, 0), alpha, Projected(means2d, covariances2d, depths, radii), box


def blend_weights(gaussians: WorldGaussians, camera: Camera, nobody: Tensor) -> tuple[Tensor, Tensor]:
    """Each Gaussian's weight in a view, alpha times what is left of the light, summed over pixels. No gradients.

    Args:
        gaussians: N of them, float32 on the CPU; their colours do not matter.
        nobody: (H, W) bool, of the camera's size.

    Returns:
        (N,) sums over all pixels, and (N,) over those that `nobody` marks.
    """
    lease = _Lease()
    everywhere, outside = torch.empty(len(gaussians)), torch.empty(len(gaussians))
    inputs = (gaussians.positions, gaussians.quaternions_wxyz, gaussians.scales, gaussians.opacities)
    _native.shown(
        lease.context,
        *(tensor.detach().contiguous().numpy() for tensor in inputs),
        camera.camera_from_world.detach().double().contiguous().numpy(),
        camera.intrinsics.detach().double().contiguous().numpy(),
        nobody.to(torch.uint8).contiguous().numpy(),
        everywhere.numpy(),
        outside.numpy(),
    )
    return everywhere, outside


class _Render(torch.autograd.Function):
    """Images are (C, H, W) in here, as the kernel writes them."""

    @staticmethod
    def forward(
        ctx: Any,
        positions: Tensor,
        quaternions_wxyz: Tensor,
        scales: Tensor,
        opacities: Tensor,
        colors: Tensor,
        background: Tensor,
        camera_from_world: Tensor,
        intrinsics: Tensor,
        size: tuple[int, int],
        lease: _Lease,
    ) -> tuple[Tensor, ...]:
        inputs = [
            tensor.detach().contiguous()
            for tensor in (positions, quaternions_wxyz, scales, opacities, colors, background)
        ]
        count, channels = colors.shape
        width, height = size
        image = torch.empty(channels, height, width)
        alpha = torch.empty(height, width)
        means2d, covariances2d = torch.empty(count, 2), torch.empty(count, 3)
        depths, radii = torch.empty(count), torch.empty(count)
        _native.render_forward(
            lease.context,
            *(tensor.numpy() for tensor in inputs[:5]),
            camera_from_world.detach().cpu().double().contiguous().numpy(),
            intrinsics.detach().cpu().double().contiguous().numpy(),
            inputs[5].numpy(),
            *(tensor.numpy() for tensor in (image, alpha, means2d, covariances2d, depths, radii)),
        )
        ctx.lease, ctx.cameras = lease, (camera_from_world.detach(), intrinsics.detach())
        ctx.save_for_backward(*inputs)
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(radii)
        return image, alpha, means2d, covariances2d, depths, radii

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        inputs = ctx.saved_tensors
        incoming = [None if gradient is None else gradient.contiguous().numpy() for gradient in gradients[:5]]
        outgoing = [torch.empty_like(tensor) for tensor in inputs[:5]]
        wants_background = ctx.needs_input_grad[5] and incoming[0] is not None
        background = torch.empty_like(inputs[5]) if wants_background else None
        camera = np.empty(CAMERA_GRADIENTS) if ctx.needs_input_grad[6] or ctx.needs_input_grad[7] else None
        _native.render_backward(
            ctx.lease.context,
            *(tensor.numpy() for tensor in inputs[:5]),
            *incoming,
            *(tensor.numpy() for tensor in outgoing),
            None if background is None else background.numpy(),
            camera,
        )
        needed = [gradient if needs else None for gradient, needs in zip(outgoing, ctx.needs_input_grad, strict=False)]
        return (*needed, background, *_camera_gradients(camera, *ctx.cameras), None, None)


def _camera_gradients(
    gradients: np.ndarray | None, camera_from_world: Tensor, intrinsics: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """The kernel's 16 numbers (rows of R | t, focal lengths, centre) where they stand in the camera's matrices."""
    if gradients is None:
        return None, None
    of_world, of_intrinsics = torch.zeros_like(camera_from_world), torch.zeros_like(intrinsics)
    values = torch.from_numpy(gradients)
    of_world[:3] = values[:12].view(3, 4).to(of_world)
    of_intrinsics[[0, 1, 0, 1], [0, 1, 2, 2]] = values[12:].to(of_intrinsics)
    return of_world, of_intrinsics
