"""A texture for the bare mesh, baked from the avatar's Gaussians.

Single Gaussians are no texels: refined ones overlap, and hair stands off the scalp. So the avatar is drawn from all
around, and each texel takes what is seen at its place, from the views that look at it squarely. Where no view sees it
(inside the mouth, behind the eyelids) it takes the Gaussians' own colours, and between the islands of the UV map the
nearest texel's, so that filtering does not bleed.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.avatar.binding import face_normals
from spatialavatar.avatar.framing import frontal_camera, orbited
from spatialavatar.head.uv import UVLayout, build_uv_layout
from spatialavatar.splat.camera import Camera
from spatialavatar.splat.render import render

VIEWS = ((0, 0), (0, 85), *((yaw, pitch) for pitch in (-25, 25) for yaw in range(-180, 180, 45)))
"""Yaw and pitch in degrees of the views that the texture is taken from."""
_DISTANCE = 2.0
_HEAD_WIDTH = 0.55
"""Metres that a view is wide."""
_REACH = 0.006
"""Metres: what is seen at a texel belongs to it if it is bound to the surface about so near to it."""
_LEAST_WEIGHT = 0.02


def bake_texture(avatar: Avatar, resolution: int = 1024, view_size: int = 768) -> NDArray[np.uint8]:
    """(R, R, 3) uint8 sRGB texture in the head's UV coordinates, row 0 at the top.

    Args:
        resolution: R.
        view_size: Pixels along the side of the views it is taken from.
    """
    with torch.no_grad():
        head = avatar.head
        texels = build_uv_layout(head, resolution)
        neutral = avatar.prepared.shaped_template
        points = texels.surface_points(neutral, head.faces)
        seen, weight = _seen(avatar, texels, points, view_size)
        own = _own_colors(avatar, texels)
        share = (weight / _LEAST_WEIGHT).clamp(max=1)[:, None]
        colors = share * seen / weight.clamp_min(1e-9)[:, None] + (1 - share) * own
        grid = texels.to_grid(colors.clamp(0, 1))
        filled = fill_gaps(grid.numpy(), texels.mask.numpy())
    return (filled * 255 + 0.5).astype(np.uint8)


def fill_gaps(grid: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(R, R, C) with every pixel outside of `mask` (R, R) taking the value of the nearest one inside."""
    from scipy.ndimage import distance_transform_edt

    rows, columns = distance_transform_edt(~mask, return_distances=False, return_indices=True)
    return grid[rows, columns]


def _seen(avatar: Avatar, texels: UVLayout, points: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """(M, 3) sum of weighted colours and (M,) sum of weights over all views."""
    head, neutral = avatar.head, avatar.prepared.shaped_template
    normals = torch.nn.functional.normalize(face_normals(neutral, head.faces), dim=-1)
    centers = neutral[head.faces].mean(1)
    gaussians = replace(avatar, light=None).pose(head.neutral_motion())
    surface = avatar.layout.surface_points(neutral, head.faces)
    is_skin = (head.part_of_face == 0).float()
    # Every Gaussian carries where its triangle lies and whether that is skin, so that a picture tells which part of
    # the surface it shows: a lid is close to the eye that it covers, and lips to teeth.
    carried = torch.cat([surface, is_skin[avatar.layout.triangles, None]], -1)
    drawn = replace(gaussians, colors=torch.cat([gaussians.colors, carried], -1))
    wanted = torch.cat([points, is_skin[texels.triangles, None] * _REACH * 3], -1)
    middle = points.mean(0)
    front = frontal_camera(_DISTANCE, _DISTANCE / _HEAD_WIDTH, size)
    front = replace(front, camera_from_world=front.camera_from_world @ _shift(-middle))
    total, weights = torch.zeros_like(points), points.new_zeros(len(points))
    for yaw, pitch in VIEWS:
        camera = orbited(front, middle, math.radians(yaw), math.radians(pitch))
        towards = torch.nn.functional.normalize(camera.position - centers, dim=-1)
        facing = (normals * towards).sum(-1)[texels.triangles]
        chosen = (facing > 0.2).nonzero()[:, 0]
        picture = render(drawn, camera)
        values = _sample(picture.image, picture.alpha, camera, points[chosen])
        straight = values[:, :-1] / values[:, -1:].clamp_min(1e-6)
        straight[:, 6] *= _REACH * 3
        squared = (straight[:, 3:] - wanted[chosen]).square().sum(-1)
        weight = facing[chosen] ** 4 * (values[:, -1] > 0.5) * torch.exp(squared / -(_REACH**2))
        total[chosen] += weight[:, None] * straight[:, :3]
        weights[chosen] += weight
    return total, weights


def _sample(image: Tensor, alpha: Tensor, camera: Camera, points: Tensor) -> Tensor:
    """(M, C + 1) picture and coverage at the points, between pixels."""
    in_camera = points @ camera.camera_from_world[:3, :3].T + camera.camera_from_world[:3, 3]
    pixels = (in_camera / in_camera[:, 2:]) @ camera.intrinsics.T
    grid = pixels[:, :2] / pixels.new_tensor([camera.width, camera.height]) * 2 - 1
    stacked = torch.cat([image, alpha[..., None]], -1).permute(2, 0, 1)[None]
    return grid_sample(stacked, grid[None, None], align_corners=False)[0, :, 0].T


def _own_colors(avatar: Avatar, texels: UVLayout) -> Tensor:
    """(M, 3) colours of the Gaussians themselves, between the pixels of their own layout."""
    layout = avatar.layout
    grid = layout.to_grid(avatar.local(avatar.head.neutral_motion()).colors.clamp(0, 1))
    filled = torch.from_numpy(fill_gaps(grid.numpy(), layout.mask.numpy()))
    size = (texels.resolution, texels.resolution)
    larger = interpolate(filled.permute(2, 0, 1)[None], size, mode="bilinear", align_corners=False)[0]
    return texels.from_grid(larger.permute(1, 2, 0))


def _shift(offset: Tensor) -> Tensor:
    """(4, 4) translation."""
    matrix = torch.eye(4)
    matrix[:3, 3] = offset
    return matrix
