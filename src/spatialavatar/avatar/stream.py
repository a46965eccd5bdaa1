"""An avatar drawn again and again in real time: no autograd, the same buffers for every frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from spatialavatar import _native
from spatialavatar.avatar.avatar import Avatar
from spatialavatar.avatar.gaussians import LocalGaussians
from spatialavatar.avatar.residual import ATTRIBUTES, lit_residuals, no_residuals
from spatialavatar.errors import UserError
from spatialavatar.head.motion import Motion
from spatialavatar.splat import threads  # noqa: F401  (sets the size of the kernels' thread pool)
from spatialavatar.splat.camera import Camera
from spatialavatar.splat.constants import MAX_IMAGE_SIZE
from spatialavatar.splat.render import check_camera


class Stream:
    """Draws one avatar, frame by frame, into a buffer of its own. Made by `Avatar.stream`.

    Mutable: it keeps its buffers and its camera. For several threads, make a stream for each.

    Args:
        avatar: On the CPU.
        camera: Where to look from; the avatar's own if None. May be changed between frames by `look_from`.
        background: (r, g, b) in [0, 1]; None for transparent pictures.

    Raises:
        UserError: The avatar lies on another device.
        ValueError: The camera is no pinhole camera, or its picture is too large.
    """

    def __init__(
        self,
        avatar: Avatar,
        camera: Camera | None = None,
        background: tuple[float, float, float] | None = None,
    ):
        if avatar.gaussians.positions.device.type != "cpu":
            raise UserError("streams are drawn on the CPU.", hint='Use avatar.to("cpu").stream().')
        self.avatar = avatar
        self.background = None if background is None else [float(part) for part in background]
        # float32 and contiguous; the kernel holds on to the arrays.
        local = avatar.gaussians.detach().to(dtype=torch.float32)
        self._local = LocalGaussians(*(tensor.contiguous() for tensor in vars(local).values()))
        binding = avatar.binding
        self._kernel = _native.Drawer(
            faces=binding.faces_int32.numpy(),
            first_of_face=binding.first_of_face.numpy(),
            vertices_count=binding.num_vertices,
            values=[tensor.numpy() for tensor in vars(self._local).values()],
        )
        self.look_from(avatar.default_camera() if camera is None else camera)

    def look_from(self, camera: Camera) -> None:
        """Draw from this camera from now on.

        Raises:
            ValueError: It is no pinhole camera, or its picture is too large.
        """
        check_camera(camera)
        if max(camera.width, camera.height) > MAX_IMAGE_SIZE:
            raise ValueError(f"the image is {camera.width} x {camera.height}; the limit is {MAX_IMAGE_SIZE}")
        self.camera = camera
        self._camera_from_world = camera.camera_from_world.detach().cpu().double().contiguous().numpy()
        self._intrinsics = camera.intrinsics.detach().cpu().double().contiguous().numpy()
        self._picture = torch.empty(camera.height, camera.width, 4, dtype=torch.uint8)

    @torch.inference_mode()
    def draw(self, motion: Motion | None = None, out: Tensor | np.ndarray | None = None) -> Tensor:
        """Pose and draw one frame (Eq. 1).

        Args:
            motion: One frame; the resting one if None.
            out: (H, W, 4) contiguous bytes to draw into; the stream's own buffer if None.

        Returns:
            (H, W, 4) uint8: red, green, blue (sRGB, not multiplied by the coverage) and coverage. The stream's own
            buffer is drawn over by the next frame: copy what is to stay.

        Raises:
            UserError: The motion has more than one frame, or another head's number of expressions.
            ValueError: `out` does not fit.
        """
        motion = self.avatar.rest if motion is None else motion
        vertices = self.avatar.vertices(motion)
        corrections = self._corrections(motion, vertices)
        picture = self._picture if out is None else torch.as_tensor(out)
        if picture.shape != self._picture.shape or picture.dtype != torch.uint8 or not picture.is_contiguous():
            raise ValueError(
                f"out must be contiguous uint8 of shape {tuple(self._picture.shape)}, "
                f"got {picture.dtype} of {tuple(picture.shape)}"
            )
        self._kernel.draw(
            vertices.float().contiguous().numpy(),
            self._camera_from_world,
            self._intrinsics,
            self.background,
            corrections,
            picture.numpy(),
        )
        return picture

    def _corrections(self, motion: Motion, vertices: Tensor) -> list[np.ndarray] | None:
        """What the residual head and the light change, in the order of ATTRIBUTES; None without either."""
        avatar = self.avatar
        found = None if avatar.residual is None else avatar.residual.corrections(motion.condition())
        factors = avatar.brightness(vertices)
        if factors is not None:
            found = lit_residuals(found or self._no_residuals, self._local.colors, factors.float())
        return None if found is None else [found[name].contiguous().numpy() for name in ATTRIBUTES]

    @cached_property
    def _no_residuals(self) -> dict[str, Tensor]:
        return no_residuals(len(self.avatar))

    def frames(self, motion: Motion | Iterable[Motion]) -> Iterator[Tensor]:
        """Draw frame after frame, each into the same buffer: a motion of many frames, or single ones as they come."""
        singles = [motion[index] for index in range(len(motion))] if isinstance(motion, Motion) else motion
        for frame in singles:
            yield self.draw(frame)

    def batch(self, motion: Motion) -> Tensor:
        """(B, H, W, 4) uint8: all frames of a motion, each straight into its place."""
        pictures = torch.empty(len(motion), *self._picture.shape, dtype=torch.uint8)
        for index in range(len(motion)):
            self.draw(motion[index], out=pictures[index])
        return pictures
