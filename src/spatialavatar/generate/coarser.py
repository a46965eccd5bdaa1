"""The same avatar with fewer Gaussians: on a coarser UV layout of the same head."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.avatar.binding import local_from_world, make_binding, world_from_local
from spatialavatar.head.uv import UVLayout

BLENDED = 4
"""Nearest Gaussians whose colours are averaged."""


def on_layout(avatar: Avatar, layout: UVLayout) -> Avatar:
    """The avatar on another layout of its head: each pixel takes the Gaussian that lies nearest on the surface.

    Its place and shape on the neutral head stay; it is widened by as much as its new neighbours are further apart.
    """
    if layout.layout_id == avatar.layout.layout_id:
        return avatar
    head, vertices = avatar.head, avatar.prepared.shaped_template
    nearest = _nearest(avatar, layout)
    first = nearest[:, 0]
    world = world_from_local(avatar.gaussians, vertices, avatar.binding)
    moved = type(world)(
        world.positions[first],
        world.quaternions_wxyz[first],
        world.scales[first],
        world.opacities[first],
        world.colors[nearest].mean(1),
    )
    binding = make_binding(head.faces, layout.triangles, head.num_vertices)
    local = local_from_world(moved, vertices, binding)
    wider = 0.5 * math.log(len(avatar) / len(layout))
    gaussians = replace(
        local,
        log_scales=local.log_scales + wider,
        opacity_logits=avatar.gaussians.opacity_logits[first],
    )
    residual = avatar.residual
    if residual is not None:
        residual = replace(residual, features=residual.features[first])
    return replace(avatar, layout=layout, gaussians=gaussians, residual=residual)


def _nearest(avatar: Avatar, layout: UVLayout) -> Tensor:
    """(M, BLENDED) pixels of the avatar's layout nearest to each pixel of `layout`, within the same part."""
    from scipy.spatial import cKDTree

    head = avatar.head
    sides = []
    for one in (layout, avatar.layout):
        points = one.surface_points(head.template, head.faces).double().numpy()
        sides.append((points, head.part_of_face[one.triangles].numpy()))
    (points, parts), (known, known_parts) = sides
    nearest = torch.zeros(len(layout), BLENDED, dtype=torch.long)
    for part in range(len(head.part_names)):
        mine, theirs = (parts == part).nonzero()[0], (known_parts == part).nonzero()[0]
        if len(mine) and len(theirs):
            _, found = cKDTree(known[theirs]).query(points[mine], k=min(BLENDED, len(theirs)))
            found = found.reshape(len(mine), -1)
            columns = [min(column, found.shape[1] - 1) for column in range(BLENDED)]
            nearest[torch.from_numpy(mine)] = torch.from_numpy(theirs[found[:, columns]])
    return nearest
