"""Rigid binding of Gaussians to the triangles of a posed mesh (§3.1, Eq. 1 and 8; after GaussianAvatars §3.2).

A triangle (v0, v1, v2) gives a frame: its centre c, a rotation R and a scale s,

    a0 = unit(v1 - v0)        a1 = unit normal        a2 = a0 x a1        R = [a0 a1 a2] as columns
    s = (|v1 - v0| + |a2 . (v2 - v0)|) / 2            the mean of an edge and its altitude

and a Gaussian that is stored in it becomes

    x_world = s R x_local + c      q_world = q(R) (x) q_local      scale_world = s scale_local

The paper prints a2 = a1 x a0, which would make R a reflection, for which no quaternion exists.

A triangle without area has no frame of its own (eye corners and lips come close). Its missing directions are made up,
so that everything stays finite, and its orientation passes no gradient to the vertices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from spatialavatar import _native
from spatialavatar.avatar.gaussians import LocalGaussians
from spatialavatar.head.rotations import (
    conjugate_quaternions_wxyz,
    multiply_quaternions_wxyz,
    quaternions_wxyz_from_rotation_matrix,
)
from spatialavatar.splat import threads  # noqa: F401  (sets the size of the kernels' thread pool)
from spatialavatar.splat.gaussians import WorldGaussians

MIN_EDGE = 1e-8
"""Metres: a shorter first edge has no direction. Also the least scale of a triangle."""

MIN_SINE = 1e-6
"""A triangle whose sides at v0 enclose an angle with a smaller sine has no normal that float32 could tell."""


@dataclass(frozen=True, eq=False)
class TriangleFrames:
    """The frames of all F triangles of a mesh."""

    rotations: Tensor
    """(F, 3, 3) columns a0, a1, a2; right-handed."""
    quaternions_wxyz: Tensor
    """(F, 4) the same as unit quaternions."""
    centers: Tensor
    """(F, 3) metres."""
    scales: Tensor
    """(F,) metres, at least 1e-8."""


@dataclass(frozen=True, eq=False)
class Binding:
    """Which triangle each Gaussian belongs to. Made once per head and layout by `make_binding`."""

    faces: Tensor
    """(F, 3) int64 vertices of the triangles."""
    triangles: Tensor
    """(N,) int64 triangle of each Gaussian, ascending."""
    num_vertices: int
    faces_int32: Tensor
    """(F, 3) the same as `faces`, for the kernel."""
    first_of_face: Tensor
    """(F + 1,) int32: Gaussians first_of_face[f] .. first_of_face[f + 1] - 1 belong to triangle f."""
    corners: Tensor
    """(3 F,) int32: corners 3 f + k of the mesh, sorted by the vertex they meet."""
    first_of_vertex: Tensor
    """(V + 1,) int32: where each vertex' corners begin in `corners`."""

    def __len__(self) -> int:
        return self.triangles.shape[0]

    def to(self, device: torch.device | str) -> Binding:
        """Copy on another device."""
        return Binding(
            self.faces.to(device),
            self.triangles.to(device),
            self.num_vertices,
            self.faces_int32.to(device),
            self.first_of_face.to(device),
            self.corners.to(device),
            self.first_of_vertex.to(device),
        )


def make_binding(faces: Tensor, triangles: Tensor, num_vertices: int) -> Binding:
    """Bind Gaussians to triangles.

    Args:
        faces: (F, 3) integer vertices of the triangles.
        triangles: (N,) integer triangle of each Gaussian, ascending (as a UV layout lists them).
        num_vertices: V.

    Raises:
        ValueError: A shape is wrong, an index is out of range, or ``triangles`` does not ascend.
    """
    if faces.dim() != 2 or faces.shape[1] != 3 or triangles.dim() != 1:
        raise ValueError(
            f"make_binding: faces {tuple(faces.shape)} and triangles {tuple(triangles.shape)} must be (F, 3), (N,)"
        )
    faces, triangles = faces.long().contiguous(), triangles.long().contiguous()
    if faces.numel() and not 0 <= int(faces.min()) <= int(faces.max()) < num_vertices:
        raise ValueError(
            f"make_binding: faces run from {int(faces.min())} to {int(faces.max())}, vertices 0 to {num_vertices - 1}"
        )
    if triangles.numel():
        first, last = int(triangles.min()), int(triangles.max())
        if not 0 <= first <= last < faces.shape[0]:
            raise ValueError(f"make_binding: triangles run from {first} to {last}, faces 0 to {faces.shape[0] - 1}")
        if bool((triangles[1:] < triangles[:-1]).any()):
            raise ValueError("make_binding: triangles must ascend")
    corner_vertices = faces.reshape(-1)
    corners = corner_vertices.argsort(stable=True)

    def starts(sorted_keys: Tensor, count: int) -> Tensor:
        return torch.searchsorted(sorted_keys, torch.arange(count + 1, device=sorted_keys.device)).int()

    return Binding(
        faces=faces,
        triangles=triangles,
        num_vertices=num_vertices,
        faces_int32=faces.int(),
        first_of_face=starts(triangles, faces.shape[0]),
        corners=corners.int(),
        first_of_vertex=starts(corner_vertices[corners].contiguous(), num_vertices),
    )


def face_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """(F, 3) normals as long as twice the faces' areas; for units that degenerate faces have too: `triangle_frames`."""
    v0, v1, v2 = vertices[faces].unbind(-2)
    return torch.linalg.cross(v1 - v0, v2 - v0, dim=-1)


def triangle_frames(vertices: Tensor, faces: Tensor) -> TriangleFrames:
    """The frame of every triangle (Eq. 1 and 8), differentiable in the vertices.

    Args:
        vertices: (V, 3) metres.
        faces: (F, 3) int64.
    """
    v0, v1, v2 = vertices[faces].unbind(-2)  # (F, 3) each
    edge, side = v1 - v0, v2 - v0
    edge_length, side_length = _norm(edge), _norm(side)  # (F, 1)
    normal = torch.linalg.cross(edge, side, dim=-1)
    normal_length = _norm(normal)
    has_edge = edge_length > MIN_EDGE
    has_normal = has_edge & (normal_length > MIN_SINE * edge_length * side_length)

    # Stand-ins are put in before any division, so that gradients stay finite in the branch that is not taken.
    one = torch.ones_like(edge_length)
    a0 = torch.where(has_edge, edge, edge.new_tensor([1.0, 0.0, 0.0])) / torch.where(has_edge, edge_length, one)
    spare = _perpendicular(a0.detach())
    a1 = torch.where(has_normal, normal, spare) / torch.where(has_normal, normal_length, one)
    rotations = torch.stack([a0, a1, torch.linalg.cross(a0, a1, dim=-1)], dim=-1)
    rotations = torch.where(has_normal[..., None], rotations, rotations.detach())

    altitude = torch.where(has_normal, normal_length / torch.where(has_edge, edge_length, one), 0 * one)
    scales = (torch.where(has_edge, edge_length, 0 * one) + altitude) / 2
    return TriangleFrames(
        rotations=rotations,
        quaternions_wxyz=quaternions_wxyz_from_rotation_matrix(rotations),
        centers=(v0 + v1 + v2) / 3,
        scales=scales.squeeze(-1).clamp_min(MIN_EDGE),
    )


def cosines_to(eye: Tensor, points: Tensor, vertices: Tensor, binding: Binding, faces: Tensor) -> Tensor:
    """(N,) how far each Gaussian's triangle faces a camera: the cosine between its normal and the way there.

    Args:
        eye: (3,) the camera's place.
        points: (N, 3) where the Gaussians are.
        vertices, faces: Of the posed mesh.
    """
    normals = triangle_frames(vertices, faces).rotations[binding.triangles][:, :, 1]
    return (normals * torch.nn.functional.normalize(eye - points, dim=1)).sum(1)


def world_from_local(local: LocalGaussians, vertices: Tensor, binding: Binding) -> WorldGaussians:
    """Carry Gaussians from their triangles into the world (Eq. 1).

    Differentiable in all of ``local`` and in ``vertices``. Float32 on the CPU goes through the compiled kernel (five
    times as fast as torch, but without second derivatives), everything else through torch.

    Args:
        local: N Gaussians, in the binding's order.
        vertices: (V, 3) of the posed mesh, metres.
        binding: From `make_binding`.

    Raises:
        ValueError: The counts of Gaussians or vertices differ from the binding's.
    """
    _check_counts(len(local), vertices, binding)
    tensors = (vertices, local.positions, local.quaternions_wxyz, local.log_scales)
    if all(tensor.dtype == torch.float32 and tensor.device.type == "cpu" for tensor in tensors):
        positions, quaternions_wxyz, scales = _Bind.apply(*tensors, binding)
    else:
        positions, quaternions_wxyz, scales = world_from_local_torch(*tensors, binding)
    return WorldGaussians(positions, quaternions_wxyz, scales, local.opacity_logits.sigmoid(), local.colors)


def local_from_world(world: WorldGaussians, vertices: Tensor, binding: Binding) -> LocalGaussians:
    """The inverse of `world_from_local`: express Gaussians of the world in the frames of their triangles.

    Args:
        world: N Gaussians, in the binding's order, with three colour channels. Opacities of exactly 0 or 1 get logits
            of -16 or 16.
        vertices: (V, 3), metres.
        binding: From `make_binding`.

    Raises:
        ValueError: The counts of Gaussians or vertices differ from the binding's.
    """
    _check_counts(len(world), vertices, binding)
    frames = triangle_frames(vertices, binding.faces)
    rotations, scales = frames.rotations[binding.triangles], frames.scales[binding.triangles][:, None]
    offsets = (world.positions - frames.centers[binding.triangles]) / scales
    inverse = conjugate_quaternions_wxyz(frames.quaternions_wxyz[binding.triangles])
    return LocalGaussians(
        positions=(rotations.transpose(-1, -2) @ offsets[..., None]).squeeze(-1),
        quaternions_wxyz=multiply_quaternions_wxyz(inverse, world.quaternions_wxyz),
        log_scales=(world.scales / scales).log(),
        opacity_logits=torch.logit(world.opacities).clamp(-16, 16),
        colors=world.colors,
    )


def world_from_local_torch(
    vertices: Tensor, positions: Tensor, quaternions_wxyz: Tensor, log_scales: Tensor, binding: Binding
) -> tuple[Tensor, Tensor, Tensor]:
    """Eq. 1 in torch, for any dtype and device.

    Args:
        vertices: (V, 3) metres.
        positions, quaternions_wxyz, log_scales: (N, 3), (N, 4), (N, 3) in triangle frames.
        binding: From `make_binding`.

    Returns:
        positions (N, 3), quaternions_wxyz (N, 4), scales (N, 3) in the world, metres.
    """
    frames = triangle_frames(vertices, binding.faces)
    # One gather for everything: index_select's backward is the slow part.
    packed = torch.cat(
        [frames.rotations.flatten(-2), frames.centers, frames.scales[:, None], frames.quaternions_wxyz], dim=-1
    ).index_select(0, binding.triangles)
    rotations, centers, scales, frame_quaternions = packed.split([9, 3, 1, 4], dim=-1)
    turned = (rotations.unflatten(-1, (3, 3)) @ positions[..., None]).squeeze(-1)
    return (
        scales * turned + centers,
        multiply_quaternions_wxyz(frame_quaternions, quaternions_wxyz),
        scales * log_scales.exp(),
    )


class _Bind(torch.autograd.Function):
    """`world_from_local_torch` by the compiled kernel."""

    @staticmethod
    def forward(
        ctx: Any, vertices: Tensor, positions: Tensor, quaternions_wxyz: Tensor, log_scales: Tensor, binding: Binding
    ) -> tuple[Tensor, ...]:
        inputs = [tensor.detach().contiguous() for tensor in (vertices, positions, quaternions_wxyz, log_scales)]
        outputs = [torch.empty_like(tensor) for tensor in inputs[1:]]
        _native.bind_forward(
            inputs[0].numpy(),
            binding.faces_int32.numpy(),
            binding.first_of_face.numpy(),
            *(tensor.numpy() for tensor in inputs[1:]),
            *(tensor.numpy() for tensor in outputs),
        )
        ctx.binding = binding
        ctx.save_for_backward(*inputs[:3], outputs[2])
        return tuple(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        vertices, positions, quaternions_wxyz, scales = ctx.saved_tensors
        binding: Binding = ctx.binding
        outgoing = [torch.empty_like(tensor) for tensor in (positions, quaternions_wxyz, scales)]
        grad_vertices = torch.empty_like(vertices) if ctx.needs_input_grad[0] else None
        indices = (binding.faces_int32, binding.first_of_face, binding.corners, binding.first_of_vertex)
        _native.bind_backward(
            vertices.numpy(),
            *(index.numpy() for index in indices),
            *(tensor.numpy() for tensor in (positions, quaternions_wxyz, scales)),
            *(gradient.contiguous().numpy() for gradient in gradients),
            *(tensor.numpy() for tensor in outgoing),
            None if grad_vertices is None else grad_vertices.numpy(),
        )
        return grad_vertices, *outgoing, None


def _norm(vectors: Tensor) -> Tensor:
    """(..., 1) lengths of (..., 3), with gradient 0 instead of NaN at zero."""
    squared = vectors.square().sum(dim=-1, keepdim=True)
    positive = squared > 0
    return torch.where(positive, torch.where(positive, squared, torch.ones_like(squared)).sqrt(), squared)


def _perpendicular(units: Tensor) -> Tensor:
    """(..., 3) some unit vector at right angles to each of (..., 3) unit vectors."""
    axis = torch.zeros_like(units).scatter(-1, units.abs().argmin(dim=-1, keepdim=True), 1.0)
    across = torch.linalg.cross(units, axis, dim=-1)
    return across / across.norm(dim=-1, keepdim=True)


def _check_counts(count: int, vertices: Tensor, binding: Binding) -> None:
    if count != len(binding):
        raise ValueError(f"{count} Gaussians do not fit a binding of {len(binding)}")
    if tuple(vertices.shape) != (binding.num_vertices, 3):
        raise ValueError(f"vertices must have shape ({binding.num_vertices}, 3), got {tuple(vertices.shape)}")
