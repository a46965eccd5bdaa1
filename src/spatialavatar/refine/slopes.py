"""What a photo shows on the face's slopes although it is something else (ours).

A photo's fit is off by a pixel or three: past the jaw shows a white collar, and refinement would paint it on the jaw;
and a rim of light lies where the cheek turns away. From the front both look right; from aside, where a slope has few
pixels for much surface, they are flecks and patches. There the start's own colours stand in place of the photo's.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as functional
from torch import Tensor

from spatialavatar.avatar.binding import Binding, cosines_to, world_from_local
from spatialavatar.avatar.gaussians import LocalGaussians
from spatialavatar.avatar.surface import face_band
from spatialavatar.head.head import Head
from spatialavatar.head.uv import UVLayout
from spatialavatar.refine.frame_store import StoredFrame
from spatialavatar.splat.camera import Camera
from spatialavatar.splat.render import render

SLOPE = 0.6
"""Cosine to the camera below which skin is a slope."""
BRIGHTER = 0.2
"""By so much, of 1, must the photo be brighter there than the start, in the mean of nine pixels."""
ROUND_ABOUT = 3
"""Pixels around what is found that are replaced, too."""


@torch.no_grad()
def without_glare(
    stored: StoredFrame,
    start: LocalGaussians,
    vertices: Tensor,
    binding: Binding,
    head: Head,
    layout: UVLayout,
    camera: Camera,
) -> StoredFrame:
    """The frame with the start's colours where a slope of the face is much brighter than the start.

    Args:
        stored: The frame.
        start: The avatar's start, as it looks in this frame.
        vertices: (V, 3) posed mesh.
        camera: Of the whole frame.
    """
    x0, x1, y0, y1 = stored.box
    world = world_from_local(start, vertices, binding)
    cosines = cosines_to(camera.position, world.positions, vertices, binding, head.faces)
    marks = torch.stack([cosines.clamp(0, 1), face_band(head, layout)[0]], 1)
    rendering = render(replace(world, colors=torch.cat([world.colors, marks], 1)), camera)
    drawn, covered = (part[y0:y1, x0:x1] for part in (rendering.image, rendering.alpha))
    facing, face = (drawn[..., 3:] / covered.clamp_min(1e-3)[..., None]).unbind(-1)
    # Over white, as one looks at it.
    looks = (drawn[..., :3] + (1 - covered)[..., None]).clamp(0, 1).permute(2, 0, 1)
    photo = stored.image.float() / 255
    brighter = _mean_around((photo - looks).mean(0))
    found = (brighter > BRIGHTER) & (facing < SLOPE) & (face > 0.6) & (covered > 0.9)
    width = 2 * ROUND_ABOUT + 1
    wider = functional.max_pool2d(found[None].float(), width, stride=1, padding=ROUND_ABOUT)[0]
    share = _mean_around(wider * ((facing < SLOPE + 0.1) & (face > 0.15)))
    image = torch.lerp(photo, looks, share)
    return replace(stored, image=(255 * image).round().to(torch.uint8))


def _mean_around(values: Tensor) -> Tensor:
    """(H, W) means of three by three."""
    return functional.avg_pool2d(values[None], 3, stride=1, padding=1)[0]
