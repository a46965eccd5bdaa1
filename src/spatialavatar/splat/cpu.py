"""The CPU back end: the compiled kernel under torch's autograd."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from spatialavatar import _native
from spatialavatar.splat import threads  # noqa: F401  (sets the size of the kernels' thread pool)
from spatialavatar.splat.camera import Camera
from spatialavatar.splat.constants import MAX_IMAGE_SIZE
from spatialavatar.splat.gaussians import WorldGaussians
from spatialavatar.splat.projection import Box, Projected

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
        ValueError: The tensors are not float32 on the CPU, the image is too large, or the camera needs a gradient.
    """
    if gaussians.positions.dtype != torch.float32 or gaussians.positions.device.type != "cpu":
        raise ValueError(
            f'backend "cpu" needs float32 tensors on the CPU, got {gaussians.positions.dtype} on '
            f'{gaussians.positions.device}; for float64 there is backend "reference"'
        )
    if max(camera.width, camera.height) > MAX_IMAGE_SIZE:
        raise ValueError(f"the image is {camera.width} x {camera.height}; the limit is {MAX_IMAGE_SIZE} on either side")
    if camera.camera_from_world.requires_grad or camera.intrinsics.requires_grad:
        raise ValueError('backend "cpu" gives no gradient to the camera; use backend "reference", or detach it')
    lease = _Lease()
    image, alpha, means2d, covariances2d, depths, radii = _Render.apply(
        gaussians.positions,
        gaussians.quaternions_wxyz,
        gaussians.scales,
        gaussians.opacities,
        gaussians.colors,
        background,
        camera,
        lease,
    )
    box = lease.context.box if lease.context.drawn else (0, 0, 0, 0)
    return image.permute(1, 2, 0), alpha, Projected(means2d, covariances2d, depths, radii), box


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
        camera: Camera,
        lease: _Lease,
    ) -> tuple[Tensor, ...]:
        inputs = [
            tensor.detach().contiguous()
            for tensor in (positions, quaternions_wxyz, scales, opacities, colors, background)
        ]
        count, channels = colors.shape
        image = torch.empty(channels, camera.height, camera.width)
        alpha = torch.empty(camera.height, camera.width)
        means2d, covariances2d = torch.empty(count, 2), torch.empty(count, 3)
        depths, radii = torch.empty(count), torch.empty(count)
        _native.render_forward(
            lease.context,
            *(tensor.numpy() for tensor in inputs[:5]),
            camera.camera_from_world.detach().cpu().double().contiguous().numpy(),
            camera.intrinsics.detach().cpu().double().contiguous().numpy(),
            inputs[5].numpy(),
            *(tensor.numpy() for tensor in (image, alpha, means2d, covariances2d, depths, radii)),
        )
        ctx.lease = lease
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
        _native.render_backward(
            ctx.lease.context,
            *(tensor.numpy() for tensor in inputs[:5]),
            *incoming,
            *(tensor.numpy() for tensor in outgoing),
            None if background is None else background.numpy(),
        )
        needed = [gradient if needs else None for gradient, needs in zip(outgoing, ctx.needs_input_grad, strict=False)]
        return (*needed, background, None, None)
