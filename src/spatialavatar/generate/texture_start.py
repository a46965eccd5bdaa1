"""The texture start: an avatar from tracked frames with no network at all (ours; the baseline of every generator).

Default geometry (one flat Gaussian per UV pixel on the mesh, hair as a smooth shell), the frames' own pixels as
colours where a frame sees the surface, and where none does: the mirrored side, then the neighbours on the surface.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.avatar.binding import Binding, cosines_to, make_binding, world_from_local
from spatialavatar.avatar.gaussians import LocalGaussians
from spatialavatar.avatar.surface import SurfaceGraph, local_points, pixel_footprints, smooth_fill, surface_graph
from spatialavatar.errors import UserError
from spatialavatar.generate.clothes import dress
from spatialavatar.generate.outline import outline_of
from spatialavatar.generate.shell import displaced, fit_shell, shell_basis, smoothstep, stretch
from spatialavatar.generate.sources import erode, project_points, sample_image
from spatialavatar.head.head import Head
from spatialavatar.head.landmarks import load_landmarks
from spatialavatar.head.uv import UVLayout, mirror_pixels
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.splat.gaussians import WorldGaussians
from spatialavatar.splat.render import render

START_OPACITY = 0.9
SCALE_IN_PIXELS = 1.2
"""Standard deviation over half the pixel's extent: neighbours overlap at 0.6 of their spacing, no holes between."""
THICKNESS = 0.5
"""Standard deviation along the normal over that along the shorter axis in the surface."""
LONGEST, LONGEST_ON_THE_NECK = 0.5, 1.0
"""Standard deviation in units of the triangle's scale. The front of the neck has so few rows of pixels that shorter
ones leave holes, through which the nape shows."""
ASPECT = 5.0
"""Longest over shortest axis; refinement lets a few grow to about 8 (Tab. 9)."""
FACING = 0.12
"""Cosine to the camera below which a surface point's pixel says little about its colour."""
DEPTH_TOLERANCE = 0.008
"""Metres behind the drawn surface at which a point still counts as visible: about a lid's or a lip's thickness."""

DEFAULT_COLORS = {
    "upper_teeth": (0.80, 0.76, 0.70),
    "lower_teeth": (0.76, 0.72, 0.66),
    "mouth_socket": (0.32, 0.13, 0.12),
    "tongue": (0.62, 0.33, 0.32),
}
"""What the inside of a mouth looks like until a frame shows it."""


@dataclass(frozen=True)
class TextureStart:
    """avatar; seen (N,) in 0..1, how well a source frame shows each Gaussian; frames used as sources."""

    avatar: Avatar
    seen: Tensor
    frames: tuple[int, ...]


def default_gaussians(
    head: Head, layout: UVLayout, vertices: Tensor, longest: Tensor | float = LONGEST
) -> LocalGaussians:
    """One flat Gaussian per UV pixel, lying on the mesh `vertices` (V, 3) and shaped like its pixel; mid grey.

    Args:
        longest: Or (N, 1); see LONGEST.
    """
    footprint = pixel_footprints(head, layout, vertices)
    half = 0.5 * footprint.angles
    zero = torch.zeros_like(half)
    # Pixels of long thin triangles are needles, and some reach far beyond their triangle, where the surface has long
    # turned away: no Gaussian starts longer than that or with an aspect above ASPECT.
    in_plane = (SCALE_IN_PIXELS * footprint.scales).clamp_max(longest)
    longer, shorter = in_plane[:, 0], torch.maximum(in_plane[:, 1], in_plane[:, 0] / ASPECT)
    thickness = torch.maximum(THICKNESS * shorter, longer / ASPECT)
    return LocalGaussians(
        positions=local_points(layout, vertices, head.faces),
        quaternions_wxyz=torch.stack([half.cos(), zero, half.sin(), zero], -1),
        log_scales=torch.stack([longer, thickness, shorter], -1).log(),
        opacity_logits=torch.full_like(half, START_OPACITY).logit(),
        colors=torch.full((len(half), 3), 0.5),
    )


def _longest(head: Head, layout: UVLayout, vertices: Tensor) -> Tensor:
    """(N, 1) how long a Gaussian may start: longer where neck and shoulders begin, from the chin down by 3 cm."""
    chin = load_landmarks(head).points(vertices, head.faces)[:, 1].min()
    below = smoothstep(float(chin) - layout.surface_points(vertices, head.faces)[:, 1], 0.01, 0.04)
    return LONGEST + (LONGEST_ON_THE_NECK - LONGEST) * below[:, None]


def sample_colors(
    gaussians: LocalGaussians, head: Head, binding: Binding, sequence: TrackedSequence, frames: list[int]
) -> tuple[Tensor, Tensor]:
    """Colours (N, 3) and confidence (N,) in 0..1 from the frames that see each Gaussian.

    A frame counts for a Gaussian as far as the surface faces its camera, nothing lies in front (depth test against
    the drawn surface), and the matte, shrunk by two pixels, says it is the person and not the background.
    """
    identity = head.prepare_identity(sequence.identity)
    total = torch.zeros(len(binding), 1)
    colors = torch.zeros(len(binding), 3)
    for frame in frames:
        vertices = head.pose(identity, sequence.motion[frame])[0]
        world = world_from_local(gaussians, vertices, binding)
        camera = sequence.camera(frame)
        pixels, depth = project_points(world.positions, camera.camera_from_world, camera.intrinsics)
        solid = WorldGaussians(
            world.positions, world.quaternions_wxyz, world.scales, torch.full_like(depth, 0.99), depth[:, None]
        )
        drawn = render(solid, camera)
        surface_depth = (drawn.image[..., 0] / drawn.alpha.clamp_min(1e-3))[..., None]
        in_front = depth - sample_image(surface_depth, pixels)[:, 0] < DEPTH_TOLERANCE

        cosines = cosines_to(camera.position, world.positions, vertices, binding, head.faces)
        facing = (cosines - FACING).clamp_min(0) / (1 - FACING)
        inside = (
            (pixels[:, 0] > 1)
            & (pixels[:, 1] > 1)
            & (pixels[:, 0] < camera.width - 1)
            & (pixels[:, 1] < camera.height - 1)
        )
        matte = erode(sequence.matte(frame).float() / 255, 2)
        person = sample_image(matte[..., None], pixels)[:, 0]
        # The third power lets the best view win: averages of views that disagree by a pixel are blurred.
        weight = (facing * person * in_front * inside).pow(3)[:, None]
        colors += weight * sample_image(sequence.image(frame).float() / 255, pixels)
        total += weight
    return colors / total.clamp_min(1e-8), (total[:, 0] / 0.05).clamp(0, 1)


def fill_colors(colors: Tensor, seen: Tensor, head: Head, layout: UVLayout, graph: SurfaceGraph) -> Tensor:
    """Colours for what no frame sees: the mirrored side where that is seen, typical colours in the mouth, and the
    smoothest continuation over the surface elsewhere. (N, 3)."""
    mirror = mirror_pixels(layout, head)
    from_mirror = 0.3 * (1 - seen) * seen[mirror]
    parts = head.part_of_face[layout.triangles]
    values = (seen[:, None] * colors + from_mirror[:, None] * colors[mirror]) / (seen + from_mirror).clamp_min(1e-6)[
        :, None
    ]
    confidence = (seen + from_mirror).clamp(0, 1)
    for name, color in DEFAULT_COLORS.items():
        if name in head.part_names:
            chosen = (parts == head.part_names.index(name)) & (confidence < 0.3)
            values[chosen] = values.new_tensor(color)
            confidence[chosen] = 0.3
    return smooth_fill(values, confidence, graph, stiffness=0.03).clamp(0, 1)


def texture_start(
    sequence: TrackedSequence,
    head: Head,
    layout: UVLayout,
    frames: list[int],
    *,
    shell: bool = True,
    clothes: bool = False,
) -> TextureStart:
    """An avatar from K tracked frames in a few seconds, no network.

    Args:
        sequence: Tracked photos or video.
        head: The head it was tracked with.
        layout: UV layout of that head.
        frames: Source frames; their pixels become the colours.
        shell: Move the scalp out to the mattes first (see `shell`).
        clothes: The torso too (see `clothes`). The bare one is the baseline of every generator.

    Raises:
        UserError: The sequence was tracked with another head.
    """
    if sequence.head_edition != head.edition:
        raise UserError(
            f"this sequence was tracked with the head {sequence.head_edition}, and the avatar uses {head.edition}.",
            where=sequence.folder,
            hint="Track it again with the head you want.",
        )
    with torch.no_grad():
        neutral = head.prepare_identity(sequence.identity).shaped_template
        gaussians = default_gaussians(head, layout, neutral, _longest(head, layout, neutral))
    graph = surface_graph(head, layout, neutral)
    if shell:
        basis = shell_basis(head, layout, neutral)
        few, fewer, binding = outline_of(gaussians, head, layout)
        field = fit_shell(fewer, basis.at(few), head, binding, sequence, frames)
        with torch.no_grad():
            gaussians = displaced(gaussians, basis, field)
            points = layout.surface_points(neutral, head.faces)
            wider = stretch(basis, field, points, graph).log()
            gaussians = replace(gaussians, log_scales=gaussians.log_scales + wider[:, None])
    if clothes:
        gaussians = dress(gaussians, layout, neutral, graph, head, sequence, frames)
    binding = make_binding(head.faces, layout.triangles, head.num_vertices)
    with torch.no_grad():
        colors, seen = sample_colors(gaussians, head, binding, sequence, frames)
        colors = fill_colors(colors, seen, head, layout, graph)
    gaussians = replace(gaussians, colors=colors)
    provenance = {"start": "texture", "start_frames": [sequence.names[frame] for frame in frames]}
    return TextureStart(
        Avatar(head=head, layout=layout, identity=sequence.identity, gaussians=gaussians, provenance=provenance),
        seen,
        tuple(frames),
    )
