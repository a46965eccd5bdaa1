"""The Avatar: a person's head as Gaussians bound to the triangles of a posable mesh (§3.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from spatialavatar.avatar.binding import Binding, make_binding, world_from_local
from spatialavatar.avatar.framing import (
    Framing,
    framing_of_frames,
    framing_of_head,
    head_centers,
    line_of_sight,
    orbited,
    resized,
)
from spatialavatar.avatar.gaussians import LocalGaussians
from spatialavatar.avatar.light import SHADES, brightness, triangle_shades
from spatialavatar.avatar.residual import Residual
from spatialavatar.errors import UserError
from spatialavatar.head.head import Head
from spatialavatar.head.motion import Motion
from spatialavatar.head.rig import PreparedIdentity
from spatialavatar.head.uv import UVLayout
from spatialavatar.splat.camera import Camera
from spatialavatar.splat.gaussians import WorldGaussians
from spatialavatar.splat.render import Backend, render

if TYPE_CHECKING:
    from spatialavatar.avatar.stream import Stream


@dataclass(frozen=True, eq=False)
class Avatar:
    """One person, ready to be posed and rendered.

    Attributes:
        head: The head model that moves it; never changed by the avatar.
        layout: Which UV pixel, and so which triangle, every Gaussian belongs to.
        identity: (I,) coefficients of the head's identity basis.
        gaussians: N local Gaussians in the order of the layout.
        provenance: How it was made and from what, as JSON-like values: `made_by` (command and options), `sources` (file
            names and kinds), `consent` (a note on who agreed), and what the makers add.
        given_framing: Rest and camera of its source frames; `framing` falls back to the head's own.
        residual: What the expression changes in the Gaussians (§3.2), where a generator made the avatar; frozen.
        light: (8,) how brightness follows where the surface faces, see `avatar.light`; None where no video told.
    """

    head: Head
    layout: UVLayout
    identity: Tensor
    gaussians: LocalGaussians
    provenance: Mapping[str, Any] = field(default_factory=dict)
    given_framing: Framing | None = None
    residual: Residual | None = None
    light: Tensor | None = None

    def __post_init__(self) -> None:
        if self.layout.head_edition != self.head.edition:
            raise UserError(
                f"the UV layout belongs to the head {self.layout.head_edition} and the avatar to {self.head.edition}.",
                hint="Avatars never move silently from one head to another: make the avatar again.",
            )
        count, found = len(self.layout.triangles), len(self.gaussians)
        if count != found:
            raise UserError(f"the layout {self.layout.layout_id} has {count} Gaussians and the avatar {found}.")
        if self.residual is not None:
            expected = (count, self.head.num_expressions + 12)
            if (len(self.residual), self.residual.condition_length) != expected:
                raise UserError(
                    f"the residual head has {len(self.residual)} Gaussians and {self.residual.condition_length} "
                    f"conditions; expected {expected[0]} and {expected[1]}."
                )
        if self.light is not None and self.light.shape != (SHADES,):
            raise UserError(f"the light has the shape {tuple(self.light.shape)}; expected ({SHADES},).")

    def __len__(self) -> int:
        return len(self.gaussians)

    def to(self, device: torch.device | str) -> Avatar:
        """The same avatar on another device; `render` draws where the avatar is."""
        framing = self.framing
        return replace(
            self,
            head=self.head.to(device),
            layout=self.layout.to(device),
            identity=self.identity.to(device),
            gaussians=self.gaussians.to(device),
            given_framing=Framing(framing.rest.to(device), framing.camera.to(device)),
            residual=None if self.residual is None else self.residual.to(device),
            light=None if self.light is None else self.light.to(device),
        )

    @cached_property
    def prepared(self) -> PreparedIdentity:
        """The head's mesh and joints for this identity, computed once."""
        return self.head.prepare_identity(self.identity)

    @cached_property
    def binding(self) -> Binding:
        """Which triangle each Gaussian belongs to, prepared for the kernels once."""
        return make_binding(self.head.faces, self.layout.triangles, self.head.num_vertices)

    @cached_property
    def framing(self) -> Framing:
        """How it rests and is looked at by default."""
        return self.given_framing or framing_of_head(self.head, self.identity)

    @property
    def rest(self) -> Motion:
        """One frame: upright, neutral, looking into the default camera."""
        return self.framing.rest

    def framed_like(
        self, motion: Motion, camera_from_world: Tensor, intrinsics: Tensor, width: int, height: int
    ) -> Avatar:
        """The same avatar with the rest and the camera of these frames; see `framing_of_frames`."""
        framing = framing_of_frames(self.head, self.identity, motion, camera_from_world, intrinsics, width, height)
        return replace(self, given_framing=framing)

    def default_camera(self, size: int = 512, yaw: float = 0.0, pitch: float = 0.0, zoom: float = 1.0) -> Camera:
        """The camera of the avatar's source, or a frontal portrait camera, moved around the resting head.

        Args:
            size: Pixels along the longer side.
            yaw, pitch: Radians around the head; positive is towards the subject's left, and up.
            zoom: Factor on the focal length.
        """
        camera = resized(self.framing.camera, size)
        if yaw == 0 and pitch == 0 and zoom == 1:
            return camera
        return orbited(camera, self._resting_center, yaw, pitch, zoom)

    @cached_property
    def _resting_center(self) -> Tensor:
        return head_centers(self.head, self.identity, self.rest)[0]

    @cached_property
    def sight(self) -> Tensor:
        """(3, 3) orientation of a head in its place that looks into the default camera."""
        return line_of_sight(self._resting_center, self.framing.camera.position)

    def vertices(self, motion: Motion) -> Tensor:
        """(V, 3) posed mesh of one frame.

        Raises:
            UserError: The motion has more than one frame, or another head's number of expressions.
        """
        if len(motion) != 1:
            raise UserError(f"one frame is posed at a time; this motion has {len(motion)}.", hint="Use motion[i].")
        expected = self.head.num_expressions
        if motion.expression.shape[1] != expected:
            raise UserError(
                f"this motion has {motion.expression.shape[1]} expressions and the head {self.head.edition} has "
                f"{expected}.",
                hint="Motions of another head are translated by name: see spatialavatar.drive.",
            )
        return self.head.pose(self.prepared, motion)[0]

    def local(self, motion: Motion) -> LocalGaussians:
        """The Gaussians in their triangles under one frame's expression: with the residual head's corrections."""
        if self.residual is None:
            return self.gaussians
        return self.residual.apply(self.gaussians, motion.condition())

    def pose(self, motion: Motion) -> WorldGaussians:
        """The Gaussians in the world for one frame of motion (Eq. 1); differentiable."""
        vertices = self.vertices(motion)
        return world_from_local(self.lit(self.local(motion), vertices), vertices, self.binding)

    @cached_property
    def resting_shades(self) -> Tensor:
        """(F, 8) which way the triangles face at rest, where colours are as stored; see `avatar.light`."""
        with torch.no_grad():
            return triangle_shades(self.vertices(self.rest), self.head.faces)

    def brightness(self, vertices: Tensor) -> Tensor | None:
        """(N,) how much brighter each Gaussian is than at rest, its triangle facing elsewhere; None without a light.

        Args:
            vertices: (V, 3) posed mesh.
        """
        if self.light is None:
            return None
        factors = brightness(self.light, triangle_shades(vertices, self.head.faces), self.resting_shades)
        return factors[self.layout.triangles]

    def lit(self, local: LocalGaussians, vertices: Tensor) -> LocalGaussians:
        """Gaussians under the avatar's light, on a posed mesh (V, 3)."""
        factors = self.brightness(vertices)
        return local if factors is None else replace(local, colors=(local.colors * factors[:, None]).clamp(0, 1))

    def stream(self, camera: Camera | None = None, background: tuple[float, float, float] | None = None) -> Stream:
        """For real-time use: draws frame after frame into the same buffer, without autograd; see `avatar.stream`.

        Args:
            camera: The default one if None.
            background: (r, g, b) in [0, 1]; None for transparent pictures.
        """
        from spatialavatar.avatar.stream import Stream

        return Stream(self, camera, background)

    def render(
        self,
        motion: Motion | None = None,
        camera: Camera | None = None,
        background: Tensor | None = None,
        backend: Backend = "auto",
    ) -> Tensor:
        """One frame.

        Args:
            motion: One frame, on any device; the resting one if None.
            camera: The default one if None.
            background: (3,) colour in [0, 1] to render over, or None.
            backend: Which rasteriser, see `spatialavatar.splat.render`.

        Returns:
            (H, W, 4) float: colour over the background and coverage in the fourth channel. Without a background the
            colour is straight (not multiplied by coverage), as PNG files hold it.
        """
        device = self.gaussians.positions.device
        gaussians = self.pose(self.rest if motion is None else motion.to(device))
        camera = (self.default_camera() if camera is None else camera).to(device)
        background = None if background is None else background.to(device)
        rendering = render(gaussians, camera, background, backend=backend)
        color, alpha = rendering.image, rendering.alpha[..., None]
        if background is None:
            color = torch.where(alpha > 0, color / alpha.clamp_min(1e-6), color)
        return torch.cat([color, alpha], -1)
