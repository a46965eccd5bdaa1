"""What a UV layout knows before any picture: base geometry, mirrored pixels, typical colours, the coarser canvas.

Everything is measured on the head's mean shape, once for each layout; in triangle frames it changes little with the
identity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from spatialavatar.avatar.binding import Binding, make_binding, triangle_frames
from spatialavatar.avatar.gaussians import LocalGaussians
from spatialavatar.avatar.surface import face_band
from spatialavatar.generate.shell import EAR, ShellBasis, shell_basis, smoothstep
from spatialavatar.generate.shoulders import SPREAD, ShoulderBasis, shoulder_basis
from spatialavatar.generate.texture_start import DEFAULT_COLORS, default_gaussians
from spatialavatar.head.head import Head
from spatialavatar.head.landmarks import load_landmarks
from spatialavatar.head.uv import UVLayout, mirror_pixels

TYPICAL_COLORS = {
    "skin": (0.58, 0.44, 0.38),
    "left_eye": (0.70, 0.66, 0.64),
    "right_eye": (0.70, 0.66, 0.64),
    "left_eye_socket": (0.45, 0.28, 0.25),
    "right_eye_socket": (0.45, 0.28, 0.25),
    **DEFAULT_COLORS,
}
"""A middling skin, and what eyes and mouth look like until a picture shows them."""


@dataclass(frozen=True, eq=False)
class Canvas:
    """A square grid, coarser than the UV image by a whole factor, and how pixels fall into its cells.

    resolution: r.
    cells: (N,) cell of each pixel, row by row.
    share: (N,) one over how many pixels its cell has.
    sites: (M,) one pixel for each cell that has any, ascending: where dense features are sampled.
    site_cells: (M,) their cells.
    """

    resolution: int
    cells: Tensor
    share: Tensor
    sites: Tensor
    site_cells: Tensor


def make_canvas(layout: UVLayout, resolution: int) -> Canvas:
    """Cells of a canvas of `resolution` x `resolution`, which must divide the layout's."""
    factor = layout.resolution // resolution
    cells = (layout.rows // factor) * resolution + layout.columns // factor
    counts = torch.bincount(cells, minlength=resolution * resolution)
    # Of a cell's pixels the first one stands for it: pixels are sorted by triangle, any of them would do.
    order = cells.argsort(stable=True)
    first = torch.ones_like(cells, dtype=torch.bool)
    first[1:] = cells[order][1:] != cells[order][:-1]
    sites = order[first].sort().values
    return Canvas(resolution, cells, 1 / counts[cells].float(), sites, cells[sites])


def at_sites(gaussians: LocalGaussians, canvas: Canvas) -> LocalGaussians:
    """The Gaussians of the canvas' sites, widened to close the gaps that the others leave."""
    widen = 0.5 * math.log(len(gaussians) / len(canvas.sites))
    chosen = LocalGaussians(*(getattr(gaussians, item.name)[canvas.sites] for item in fields(gaussians)))
    return replace(chosen, log_scales=chosen.log_scales + widen)


@dataclass(frozen=True, eq=False)
class SurfacePrior:
    """See the module. N pixels.

    gaussians: The texture start's default geometry.
    mirror: (N,) the pixel on the other side.
    colors: (N, 3) typical colours of the pixel's part.
    is_skin: (N,) bool.
    face: (2, N) in [0, 1], see `face_band`; the scalp is left out.
    has_default: (N,) bool: inside of the mouth, where the typical colour is better than a neighbour's.
    hair: (N, 2) in [0, 1]: whether hair is the likelier covering where nothing is seen, and whether what is seen
        there tells the hair's colour (well above the eyes: further down it may be an ear, a cheek or the forehead).
    shell: Directions in which hair is pushed out.
    shoulders: Directions in which shoulders are.
    outward: (N, 3) of both, in local units per metre.
    spread: (N,) metres: what is pushed out by d is widened by 1 + d / spread.
    encoding: (N, 9) position (zero mean, unit deviation), normal, and three marks of the part.
    canvas: The grid the network works on.
    binding: Triangles of all pixels.
    site_gaussians, site_binding: Those of the canvas' sites alone, widened, to draw the surface coarsely.
    """

    gaussians: LocalGaussians
    mirror: Tensor
    colors: Tensor
    is_skin: Tensor
    face: Tensor
    has_default: Tensor
    hair: Tensor
    shell: ShellBasis
    shoulders: ShoulderBasis
    outward: Tensor
    spread: Tensor
    encoding: Tensor
    canvas: Canvas
    binding: Binding
    site_gaussians: LocalGaussians
    site_binding: Binding


_KNOWN: dict[tuple[str, int], SurfacePrior] = {}


def surface_prior(head: Head, layout: UVLayout, canvas_resolution: int) -> SurfacePrior:
    """The prior of this layout; a second or two at first, kept for the rest of the process."""
    key = (layout.layout_id, canvas_resolution)
    if key not in _KNOWN:
        with torch.no_grad():
            _KNOWN[key] = _measure(head, layout, canvas_resolution)
    return _KNOWN[key]


def _ears(shell: ShellBasis, points: Tensor, chin: float, top: float) -> Tensor:
    """(N,) 1 on the ears and close to them, 0 from 2.5 cm on: what stands out of the skull beside the face."""
    from scipy.spatial import cKDTree

    out = shell.radius > shell.weights @ shell.skull + EAR
    aside = points[:, 0].abs() > 0.5 * points[shell.mask > 0.5, 0].abs().max()
    ears = points[out & aside & (shell.mask > 0) & (points[:, 1] > chin) & (points[:, 1] < top)]
    if len(ears) == 0:
        return torch.zeros(len(points))
    distance, _ = cKDTree(ears.double().numpy()).query(points.double().numpy())
    return 1 - smoothstep(torch.from_numpy(distance).float(), 0.01, 0.025)


def _measure(head: Head, layout: UVLayout, canvas_resolution: int) -> SurfacePrior:
    points = layout.surface_points(head.template, head.faces)
    normals = triangle_frames(head.template, head.faces).rotations[layout.triangles][:, :, 1]
    parts = head.part_of_face[layout.triangles]
    colors = torch.tensor([TYPICAL_COLORS.get(name, TYPICAL_COLORS["skin"]) for name in head.part_names])[parts]

    def among(*names: str) -> Tensor:
        chosen = torch.zeros(len(parts), dtype=torch.bool)
        for name in names:
            if name in head.part_names:
                chosen |= parts == head.part_names.index(name)
        return chosen

    marks = torch.stack([among("skin"), among("left_eye", "right_eye"), among("upper_teeth", "lower_teeth")], 1)
    placed = (points - points.mean(0)) / points.std()
    canvas = make_canvas(layout, canvas_resolution)
    gaussians = default_gaussians(head, layout, head.template)
    shell = shell_basis(head, layout, head.template)
    shoulders = shoulder_basis(head, layout, head.template)
    shoulders = replace(shoulders, mask=shoulders.mask * (shell.mask == 0))
    is_shoulder = shoulders.mask > 0
    landmarks = load_landmarks(head).points(head.template, head.faces)
    chin, top = float(landmarks[:, 1].min()), float(landmarks[:, 1].max())
    # From a third of the face's height on, behind the ears, heads have hair; the forehead's own landmarks end it below.
    likely = shell.mask * smoothstep(points[:, 1], chin + 0.2 * (top - chin), chin + 0.5 * (top - chin))
    likely = likely * (1 - _ears(shell, points, chin, top))
    # Well above the brows: between them and there lies the forehead.
    tells = shell.mask * smoothstep(points[:, 1], chin + 1.1 * (top - chin), chin + 1.35 * (top - chin))
    return SurfacePrior(
        gaussians=gaussians,
        mirror=mirror_pixels(layout, head),
        colors=colors,
        is_skin=among("skin"),
        face=torch.stack(face_band(head, layout)) * (1 - shell.mask),
        has_default=among(*DEFAULT_COLORS),
        hair=torch.stack([likely, tells], 1),
        shell=shell,
        shoulders=shoulders,
        outward=torch.where(is_shoulder[:, None], shoulders.outward, shell.outward),
        spread=torch.where(is_shoulder, SPREAD, shell.radius),
        encoding=torch.cat([placed, normals, marks.float()], 1),
        canvas=canvas,
        binding=make_binding(head.faces, layout.triangles, head.num_vertices),
        site_gaussians=at_sites(gaussians, canvas),
        site_binding=make_binding(head.faces, layout.triangles[canvas.sites], head.num_vertices),
    )
