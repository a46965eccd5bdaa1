"""What the generator is given: K pictures of one person, and where each UV pixel lies in each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
import torch.nn.functional as functional
from torch import Tensor

from spatialavatar.avatar.binding import cosines_to, world_from_local
from spatialavatar.avatar.gaussians import LocalGaussians
from spatialavatar.errors import UserError
from spatialavatar.generate.prior import SurfacePrior, at_sites, surface_prior
from spatialavatar.generate.rim import away_from_steps, within_matte
from spatialavatar.generate.silhouette import shell_from_outlines, shoulders_from_outlines
from spatialavatar.generate.sources import erode, project_points, sample_image
from spatialavatar.generate.texture_start import FACING
from spatialavatar.head.head import Head
from spatialavatar.head.uv import UVLayout
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.splat.camera import Camera
from spatialavatar.splat.gaussians import WorldGaussians
from spatialavatar.splat.render import render

MOST_SOURCES = 4
BACKGROUND = 0.5
"""Grey behind the person, as far from any hair or skin as a plain colour can be."""
DEPTH_RANGE = (0.006, 0.012)
"""Metres behind the drawn surface: visible up to the first, hidden from the second on."""
DEPTH_SIZE = 192
"""Pixels along a side of the depth picture."""


@dataclass(frozen=True, eq=False)
class Sources:
    """B subjects with K pictures each, N UV pixels. No gradients.

    images: (B, K, 3, S, S) sRGB in [0, 1], square, over a plain grey by the matte.
    mattes: (B, K, 1, S, S) in [0, 1].
    pixels: (B, K, N, 2) x, y of every UV pixel's point in each picture, pixels, centres at + 0.5.
    visibility: (B, K, N) in [0, 1]: the surface faces the camera, nothing lies in front, and it is in the matte.
    shown: (B, K, N) the same whichever way the surface faces, and beyond the picture's border as at it: whether the
        colour there can be of this place at all.
    shell: (B, N) metres by which hair, and shoulders, stand out from the surface, from the mattes.
    """

    images: Tensor
    mattes: Tensor
    pixels: Tensor
    visibility: Tensor
    shown: Tensor
    shell: Tensor

    @property
    def size(self) -> int:
        """S."""
        return self.images.shape[-1]

    def to(self, device: torch.device | str) -> Sources:
        """The same on another device."""
        return Sources(*(getattr(self, item.name).to(device) for item in fields(self)))

    @staticmethod
    def cat(items: Sequence[Sources]) -> Sources:
        """Subjects with the same K and S in one batch."""
        return Sources(*(torch.cat([getattr(one, item.name) for one in items]) for item in fields(Sources)))


def check_count(count: int) -> None:
    """Raises UserError unless there are 1 to 4 sources."""
    if not 1 <= count <= MOST_SOURCES:
        raise UserError(
            f"the generator takes 1 to {MOST_SOURCES} pictures of one person; it was given {count}.",
            hint="Give one good frontal picture, or up to four from different sides.",
        )


def letterboxed(values: Tensor, camera: Camera, size: int) -> tuple[Tensor, Camera]:
    """A picture (C, H, W) scaled to fit a square, centred over zeros, and the camera that sees that square."""
    factor = size / max(camera.width, camera.height)
    width, height = max(1, round(camera.width * factor)), max(1, round(camera.height * factor))
    if (width, height) != (camera.width, camera.height):
        values = functional.interpolate(
            values[None], (height, width), mode="bilinear", antialias=True, align_corners=False
        )[0]
    left, top = (size - width) // 2, (size - height) // 2
    values = functional.pad(values, (left, size - width - left, top, size - height - top))
    scaled = camera.scaled((width, height))
    shift = torch.zeros(3, 3)
    shift[0, 2], shift[1, 2] = left, top
    return values, replace(scaled, intrinsics=scaled.intrinsics + shift, width=size, height=size)


def base_geometry(prior: SurfacePrior, shell: Tensor) -> LocalGaussians:
    """The default Gaussians pushed out by `shell` (N,) metres and widened as a growing sphere's surface is."""
    gaussians = prior.gaussians
    return replace(
        gaussians,
        positions=gaussians.positions + shell[:, None] * prior.outward,
        log_scales=gaussians.log_scales + torch.log1p(shell / prior.spread)[:, None],
    )


def see(
    prior: SurfacePrior,
    head: Head,
    base: LocalGaussians,
    vertices: Tensor,
    camera: Camera,
    matte: Tensor,
    points: Tensor | None = None,
    rim: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Where one camera sees each UV pixel's point, (N, 2) pixels, how well, (N,) in [0, 1], and how well but for the
    surface's slant and the picture's border, (N,).

    Args:
        base: Geometry that is drawn to find out what is hidden.
        vertices: (V, 3) posed mesh.
        matte: (H, W) in [0, 1] of that camera.
        points: (N, 3) what is projected; by default the Gaussians of `base` where they come to lie.
        rim: Beside outlines, within this share of the picture's width, it is not believed (see `rim`); 0: only the
            matte's outermost pixel is not.
    """
    points = world_from_local(base, vertices, prior.binding).positions if points is None else points
    pixels, depth = project_points(points, camera.camera_from_world, camera.intrinsics)
    # The canvas' sites draw the surface as well as all pixels do.
    coarse = world_from_local(at_sites(base, prior.canvas), vertices, prior.site_binding)
    coarse_depth = depth[prior.canvas.sites]
    solid = WorldGaussians(
        coarse.positions,
        coarse.quaternions_wxyz,
        coarse.scales,
        torch.full_like(coarse_depth, 0.99),
        coarse_depth[:, None],
    )
    small = camera.scaled(min(1.0, DEPTH_SIZE / camera.width))
    drawn = render(solid, small)
    surface = drawn.image[..., 0] / drawn.alpha.clamp_min(1e-3)
    at_small = pixels * (small.width / camera.width)
    behind = depth - sample_image(surface[..., None], at_small)[:, 0]
    near, far = DEPTH_RANGE
    uncovered = ((far - behind) / (far - near)).clamp(0, 1)
    cosines = cosines_to(camera.position, points, vertices, prior.binding, head.faces)
    facing = (cosines - FACING).clamp_min(0) / (1 - FACING)
    x, y = pixels.unbind(1)
    inside = (x > 1) & (y > 1) & (x < camera.width - 1) & (y < camera.height - 1) & (depth > 0)
    outermost = max(1, round(camera.width / 256))
    shrunk = erode(matte, outermost) if rim == 0 else within_matte(matte, max(outermost, round(rim * camera.width)))
    person = sample_image(shrunk[..., None], pixels)[:, 0]
    shown = uncovered * person
    if rim > 0:
        away = away_from_steps(surface, drawn.alpha, depth, at_small, max(1, round(rim * small.width)))
        # Hair is full of steps, and what lies beside it is hair, too.
        shown = shown * torch.lerp(away, torch.ones_like(away), prior.shell.mask)
    # Beyond the picture its border continues, which is a better guess for a chest than any fill.
    return pixels, facing * shown * inside, shown


def prepare_sources(
    frames: Sequence[tuple[TrackedSequence, int]],
    head: Head,
    layout: UVLayout,
    size: int,
    *,
    canvas_resolution: int | None = None,
    shell: bool = True,
    rim: float = 0.0,
    shoulders: bool = False,
) -> Sources:
    """One subject's K frames as the generator takes them (B = 1). No gradients, on the CPU.

    Args:
        frames: Which frames of which sequences; the same person in all.
        head, layout: Of the generator.
        size: S.
        canvas_resolution: Of the generator; half the layout's by default.
        shell: Let hair stand out to the mattes; otherwise UV pixels lie on the mesh.
        rim: Of the generator: how far from outlines a picture is believed.
        shoulders: Let shoulders reach out to the mattes, too.

    Raises:
        UserError: Not 1 to 4 frames, a frame without a face, or frames tracked with another head.
    """
    check_count(len(frames))
    prior = surface_prior(head, layout, canvas_resolution or layout.resolution // 2)
    views: list[tuple[Tensor, Camera, Tensor]] = []
    images = []
    with torch.no_grad():
        for sequence, index in frames:
            if sequence.head_edition != head.edition:
                raise UserError(
                    f"this sequence was tracked with the head {sequence.head_edition}, and the generator uses "
                    f"{head.edition}.",
                    where=sequence.folder,
                    hint="Track it again with the head you want.",
                )
            if not bool(sequence.is_valid[index]):
                raise UserError(
                    f"the frame {sequence.names[index]} shows no face that could be tracked.",
                    where=sequence.folder,
                    hint="Choose a frame in which the face can be seen.",
                )
            vertices = head.pose(head.prepare_identity(sequence.identity), sequence.motion[index])[0]
            matte = sequence.matte(index).float()[None] / 255
            image = sequence.image(index).permute(2, 0, 1).float() / 255
            # Grey is zero while the picture is scaled and padded, so that its margin is grey, too.
            stacked = torch.cat([(image - BACKGROUND) * matte, matte])
            stacked, camera = letterboxed(stacked, sequence.camera(index), size)
            images.append((stacked[:3] + BACKGROUND).clamp(0, 1))
            views.append((vertices, camera, stacked[3].clamp(0, 1)))
        amount = shell_from_outlines(prior, head, views) if shell else torch.zeros(len(layout))
        if shoulders:
            amount = amount + shoulders_from_outlines(prior, head, views)
        base = base_geometry(prior, amount)
        # The paper's points are the mesh's own. Gaussians keep their place in a triangle's frame while the triangle is
        # sheared, and lie a fraction of a millimetre beside them: what starts from the texture samples it there.
        points = [None if shell else layout.surface_points(vertices, head.faces) for vertices, _, _ in views]
        seen = [see(prior, head, base, *view, at, rim) for view, at in zip(views, points, strict=True)]
    return Sources(
        images=torch.stack(images)[None],
        mattes=torch.stack([matte[None] for _, _, matte in views])[None],
        pixels=torch.stack([pixels for pixels, _, _ in seen])[None],
        visibility=torch.stack([visibility for _, visibility, _ in seen])[None],
        shown=torch.stack([shown for _, _, shown in seen])[None],
        shell=amount[None],
    )
