"""Teeth for FLAME, which has none: two arcs of strips inside the mouth, 60 vertices and 84 triangles each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from spatialavatar.head.head import Head
from spatialavatar.head.rig import JAW, NECK

COLUMNS = 15
# Across an arc, from the gum in front over the edge to the gum behind: share of the tooth's height from gum to edge,
# and how far behind the front surface (metres). Each arc is a bent sheet of 15 x 4 vertices.
_PROFILE = ((0.0, 0.001), (1.0, 0.0), (1.0, 0.004), (0.1, 0.007))
# Metres. How far the front teeth stand before the rim of FLAME's open mouth, and how far the arc reaches back.
_FORWARD, _DEPTH = 0.002, 0.024
# Share of the half width of the mouth's rim that the arc spans, and of its half height that a tooth is high.
_SPAN, _HEIGHT = 0.9, 0.85


def mouth_rim(head: Head) -> np.ndarray | None:
    """The vertices around the hole inside FLAME's mouth: the mesh's open edge in front, on the middle line.

    Returns:
        (N,) vertex indices, or None where the mesh has no such hole.
    """
    faces, template = head.faces.numpy(), head.template.numpy()
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    present = set(map(tuple, edges.tolist()))
    following = {a: b for a, b in edges.tolist() if (b, a) not in present}
    half_width = np.abs(template[:, 0]).max()
    while following:
        start = min(following)
        loop, after = [start], following.pop(start)
        while after != start and after in following:
            loop.append(after)
            after = following.pop(after)
        rim = template[loop]
        in_front = rim[:, 2].min() > np.quantile(template[:, 2], 0.5)
        if in_front and abs(rim[:, 0].mean()) < 0.1 * half_width and len(loop) >= 8:
            return np.array(loop)
    return None


def add_teeth(head: Head) -> Head:
    """The head with upper and lower teeth appended: 120 vertices, 168 triangles, no UV.

    The upper teeth turn with the neck, the lower with the jaw. Identity moves them as it moves their half of the
    mouth's rim on average; expressions and pose correctives leave them alone.

    Raises:
        ValueError: The mesh has no open mouth; see `mouth_rim`.
    """
    rim = mouth_rim(head)
    if rim is None:
        raise ValueError("this head has no open mouth to put teeth into")
    points = head.template.numpy()[rim].astype(np.float64)
    middle = 0.5 * (points[:, 1].max() + points[:, 1].min())
    upper, lower = rim[points[:, 1] > middle], rim[points[:, 1] <= middle]
    positions, identity, weights, faces = [], [], [], []
    first = head.num_vertices
    for half, direction, joint in ((upper, 1.0, NECK), (lower, -1.0, JAW)):
        arc = _arc(points, middle, direction)
        mean = head.identity_basis[:, torch.from_numpy(half)].mean(dim=1, keepdim=True)
        positions.append(torch.from_numpy(arc.astype(np.float32)))
        identity.append(mean.expand(-1, len(arc), -1))
        weights.append(torch.eye(head.num_joints)[joint].expand(len(arc), -1))
        faces.append(torch.from_numpy(_sheet(flipped=direction < 0)) + first)
        first += len(arc)
    added = first - head.num_vertices
    new_faces = torch.cat(faces)

    def with_zeros(basis: torch.Tensor) -> torch.Tensor:
        return torch.cat([basis, basis.new_zeros(basis.shape[0], added, *basis.shape[2:])], dim=1)

    per_part = len(new_faces) // 2
    names = (*head.part_names, "upper_teeth", "lower_teeth")
    new_parts = torch.tensor([len(names) - 2] * per_part + [len(names) - 1] * per_part)
    return replace(
        head,
        edition=head.edition + "-teeth",
        template=torch.cat([head.template, *positions]),
        identity_basis=torch.cat([head.identity_basis, *identity], dim=1),
        expression_basis=with_zeros(head.expression_basis),
        pose_correctives=None if head.pose_correctives is None else with_zeros(head.pose_correctives),
        joint_regressor=with_zeros(head.joint_regressor),
        skinning_weights=torch.cat([head.skinning_weights, *weights]),
        faces=torch.cat([head.faces, new_faces]),
        uv_faces=torch.cat([head.uv_faces, torch.full_like(new_faces, -1)]),
        part_of_face=torch.cat([head.part_of_face, new_parts]),
        part_names=names,
        mirror_vertices=None,
    )


def _arc(rim: np.ndarray, middle: float, direction: float) -> np.ndarray:
    """(60, 3) vertices of one jaw, column by column from the subject's right to the left.

    Args:
        rim: (N, 3) rim of the mouth's hole.
        middle: Height at which the two jaws meet.
        direction: 1 for the upper jaw, whose gums are above, -1 for the lower.
    """
    half_width = _SPAN * 0.5 * np.ptp(rim[:, 0])
    front = rim[:, 2].max() + _FORWARD
    half = rim[direction * (rim[:, 1] - middle) > 0]
    height = _HEIGHT * np.abs(half[:, 1] - middle).max()
    across = np.linspace(-1, 1, COLUMNS)
    # Equal steps along the arc rather than across it: front teeth are seen straight on.
    across = np.sign(across) * (1 - (1 - np.abs(across)) ** 1.15)
    columns = []
    for share in across:
        outward = np.array([share * half_width, 0.0, -_DEPTH * share**2])
        # The arc is a parabola; its inner surface follows along its normal.
        normal = np.array([2 * _DEPTH * share / half_width, 0.0, 1.0])
        normal /= np.linalg.norm(normal)
        for from_gum, behind in _PROFILE:
            point = np.array([rim[:, 0].mean(), 0.0, front]) + outward - behind * normal
            point[1] = middle + direction * (1 - from_gum) * height
            columns.append(point)
    return np.array(columns)


def _sheet(flipped: bool) -> np.ndarray:
    """(84, 3) triangles of a sheet of 15 x 4 vertices, facing out of the mouth."""
    rows = len(_PROFILE)
    faces = []
    for column in range(COLUMNS - 1):
        for row in range(rows - 1):
            a = column * rows + row
            b, c, d = a + 1, a + rows, a + rows + 1
            faces += [[a, b, d], [a, d, c]]
    sheet = np.array(faces, dtype=np.int64)
    return sheet[:, ::-1].copy() if flipped else sheet
