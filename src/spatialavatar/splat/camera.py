"""A pinhole camera in OpenCV's convention: x right, y down, z forward."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera.

    Pixel (row i, column j) covers [j, j + 1) x [i, i + 1), so its centre lies at (j + 0.5, i + 0.5) and the
    principal point of a centred camera is (width / 2, height / 2).
    """

    camera_from_world: Tensor
    """(4, 4), rigid: the first three rows take world metres to camera metres."""
    intrinsics: Tensor
    """(3, 3), pixels: [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]."""
    width: int
    height: int

    def __post_init__(self) -> None:
        """Raises ValueError on wrong shapes or sizes."""
        for name, shape in (("camera_from_world", (4, 4)), ("intrinsics", (3, 3))):
            found = tuple(getattr(self, name).shape)
            if found != shape:
                raise ValueError(f"Camera.{name} must have shape {shape}, got {found}")
        if self.width < 1 or self.height < 1:
            raise ValueError(f"Camera needs a width and a height of at least 1, got {self.width} x {self.height}")

    @property
    def position(self) -> Tensor:
        """(3,) the camera's centre in the world, metres."""
        rotation, translation = self.camera_from_world[:3, :3], self.camera_from_world[:3, 3]
        return -rotation.T @ translation

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Camera:
        """Copy on another device, or with another floating-point type."""
        return replace(
            self,
            camera_from_world=self.camera_from_world.to(device=device, dtype=dtype),
            intrinsics=self.intrinsics.to(device=device, dtype=dtype),
        )

    def scaled(self, size: float | tuple[int, int]) -> Camera:
        """The same view at another resolution.

        Args:
            size: A factor, or the new (width, height). Sizes are rounded to whole pixels, and the intrinsics follow
                the rounded size, so that the image still shows the same part of the world.
        """
        if isinstance(size, tuple):
            width, height = size
        else:
            width, height = max(1, round(self.width * size)), max(1, round(self.height * size))
        ratio = self.intrinsics.new_tensor([[width / self.width], [height / self.height], [1.0]])
        return replace(self, intrinsics=self.intrinsics * ratio, width=width, height=height)

    @staticmethod
    def look_at(
        position: Sequence[float] | Tensor,
        target: Sequence[float] | Tensor,
        *,
        width: int,
        height: int,
        vertical_field_of_view: float = math.radians(20.0),
        up: Sequence[float] | Tensor = (0.0, 1.0, 0.0),
        dtype: torch.dtype = torch.float32,
    ) -> Camera:
        """A camera at ``position`` whose optical axis goes through ``target``.

        Args:
            position, target: (3,) world metres.
            width, height: Image size in pixels.
            vertical_field_of_view: Radians.
            up: (3,) world direction that points up in the image; must not be parallel to the view direction.

        Raises:
            ValueError: The position equals the target, or ``up`` is parallel to the view direction.
        """
        eye, aim, sky = (torch.as_tensor(v, dtype=torch.float64).detach().cpu() for v in (position, target, up))
        forward = aim - eye
        right = torch.linalg.cross(forward, sky)
        if right.norm() <= 1e-9 * forward.norm() * sky.norm():
            raise ValueError(f"look_at: no view from {eye.tolist()} to {aim.tolist()} with up {sky.tolist()}")
        forward, right = forward / forward.norm(), right / right.norm()
        rotation = torch.stack([right, torch.linalg.cross(forward, right), forward])
        camera_from_world = torch.eye(4, dtype=torch.float64)
        camera_from_world[:3, :3], camera_from_world[:3, 3] = rotation, -rotation @ eye
        focal = height / 2 / math.tan(vertical_field_of_view / 2)
        intrinsics = torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], dtype=torch.float64)
        return Camera(camera_from_world.to(dtype), intrinsics.to(dtype), width, height)
