"""The texture start's colours as the generator's own start: what the sources show, their mirror image, and a fill.

The texture start solves one large sparse system for what no picture shows; here a pyramid of means does it, in a
millisecond.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor

from spatialavatar.generate.prior import SurfacePrior

ENOUGH = 0.05
"""Cubed visibility, in its best source, from which a pixel counts as wholly seen."""
MIRROR, FILL, TYPICAL = 0.3, 0.15, 0.0002
"""Weights of the mirrored side, of the fill, and of a part's typical colour, against 1 for a wholly seen pixel."""
SHOWN = 0.5
"""How well, of 1, a pixel must be shown, at whatever slant, for its colour to be a candidate: below that the picture
shows something else there, the background or a collar, and the more of it is the fill."""
SLOPE = (0.3, 0.6)
"""Cosine to the camera up to which skin is a slope, where few pixels are spread over much surface, and from which on it
is not."""
BRIGHTER = (0.17, 0.3)
"""By so much more than the face beside it, of 1, a slope may be bright, and from so much on it is something else."""
HAIR_SEEN = 0.02
"""Share of the upper scalp that must be seen for its colour to be taken as the hair's."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """colors: (B, N, 3, 3) source, mirror and fill (then RGB); log_weights: (B, N, 3) how far each is believed at
    start; seen, mirrored: (B, N) in [0, 1] how well the sources show the pixel, and its mirror image."""

    colors: Tensor
    log_weights: Tensor
    seen: Tensor
    mirrored: Tensor


def candidate_colors(
    colors: Tensor,
    visibility: Tensor,
    prior: SurfacePrior,
    cells: Tensor,
    share: Tensor,
    shown: Tensor | None = None,
) -> Candidates:
    """The candidates for every UV pixel.

    Args:
        colors: (B, K, 3, N) sampled from the sources.
        visibility: (B, K, N).
        prior: Of the layout.
        cells, share: (N,) of its canvas.
        shown: (B, K, N) whether each source shows the pixel at all: the fill stands in the place of what none does,
            and of mirror images of that. By default every colour is a candidate.
    """
    device = colors.device
    mirror = prior.mirror.to(device)
    if shown is not None:
        believed = _like_the_face(colors, visibility, shown, prior, cells, share)
        visibility, shown = visibility * believed, shown * believed
    source, seen = _merged(colors, visibility, shown)
    other, mirrored = source[:, mirror], seen[:, mirror]
    from_mirror = MIRROR * (1 - seen) * mirrored
    confidence = seen + from_mirror
    known = (seen[..., None] * source + from_mirror[..., None] * other) / confidence.clamp_min(1e-6)[..., None]
    typical = prior.colors.to(device)
    is_skin, (likely, tells) = prior.is_skin.to(device), prior.hair.to(device).unbind(1)
    side = prior.canvas.resolution
    filled = _fill(known, confidence * is_skin * (1 - tells), typical, cells, share, side)
    # Where hair is likely, the fill continues what is seen of the hair, if anything is; a bald head's own skin else.
    hair = _fill(known, confidence * tells, typical, cells, share, side)
    any_hair = ((confidence * tells).sum(1) / tells.sum() / HAIR_SEEN).clamp(0, 1)
    filled = torch.lerp(filled, hair, (likely * any_hair[:, None])[..., None])
    # Only skin is continued over the grid: eyes and mouth have islands of their own beside it.
    fill = torch.where(is_skin[:, None], filled, typical)
    doubt = FILL * (1 - confidence)
    doubt = torch.where(prior.has_default.to(device), (0.3 * (confidence < 0.3)).clamp_min(doubt), doubt)
    if shown is not None:
        own = (shown.amax(1) / SHOWN).clamp_max(1)[..., None]
        source, other = torch.lerp(fill, source, own), torch.lerp(fill, other, own[:, mirror])
    all_weights = torch.stack([seen, from_mirror, doubt], -1)
    return Candidates(torch.stack([source, other, fill], 2), all_weights.clamp_min(1e-5).log(), seen, mirrored)


def _merged(colors: Tensor, visibility: Tensor, shown: Tensor | None) -> tuple[Tensor, Tensor]:
    """(B, N, 3) the sources' colours, and (B, N) in [0, 1] how well the best of them shows each pixel."""
    # The third power lets the best view win: averages of views that disagree by a pixel are blurred.
    weights = visibility.pow(3)
    shares = weights + (1e-6 if shown is None else 1e-6 + 1e-3 * shown)
    shares = shares / shares.sum(1, keepdim=True)
    source = (shares[:, :, None] * colors).sum(1).transpose(1, 2)
    return source, (weights.amax(1) / ENOUGH).clamp(0, 1)


def _like_the_face(
    colors: Tensor, visibility: Tensor, shown: Tensor, prior: SurfacePrior, cells: Tensor, share: Tensor
) -> Tensor:
    """(B, 1, N) in [0, 1]: 0 where a slope of the face is much brighter than what is seen of the face beside it.

    That is a white collar that shows past a jaw whose place is off by a pixel or three, or a rim of light: from aside
    the one is a fleck on the jaw, the other a patch on the cheek. Above the mouth what the other side of the face has
    as well may stay, white hair over the temples.
    """
    device = colors.device
    band, above = prior.face.to(device).unbind(0)
    low, high = SLOPE
    slope = (((high - visibility / shown.clamp_min(1e-4)) / (high - low)).clamp(0, 1) * band).amin(1)
    source, seen = _merged(colors, visibility, shown)
    is_skin, typical = prior.is_skin.to(device), prior.colors.to(device)
    beside = _fill(source, seen * (1 - slope) * is_skin, typical, cells, share, prior.canvas.resolution)
    brightness, mirror = source.mean(-1), prior.mirror.to(device)
    apart = brightness - beside.mean(-1)
    on_both = (seen[:, mirror] > 0.3) & (above > 0.5)
    apart = torch.where(on_both, torch.minimum(apart, (brightness - brightness[:, mirror]).abs()), apart)
    low, high = BRIGHTER
    return (1 - slope * ((apart - low) / (high - low)).clamp(0, 1))[:, None]


def _fill(known: Tensor, confidence: Tensor, typical: Tensor, cells: Tensor, share: Tensor, side: int) -> Tensor:
    """(B, N, 3): each pixel's colour from ever larger surroundings, until something in them is known."""
    batch = known.shape[0]
    weighted = torch.cat([known * confidence[..., None], confidence[..., None]], -1).transpose(1, 2)  # (B, 4, N)
    grid = known.new_zeros(batch, 4, side * side).index_add_(2, cells, weighted * share).view(batch, 4, side, side)
    levels = [grid]
    while levels[-1].shape[-1] > 1:
        levels.append(functional.avg_pool2d(levels[-1], 2, ceil_mode=True))
    usual = typical.mean(0)
    top = levels[-1]
    color = (top[:, :3] + TYPICAL * usual[:, None, None]) / (top[:, 3:] + TYPICAL)
    for level in reversed(levels[:-1]):
        color = functional.interpolate(color, level.shape[-2:], mode="bilinear", align_corners=False)
        doubt = FILL * (1 - level[:, 3:]) + 1e-4
        color = (level[:, :3] + doubt * color) / (level[:, 3:] + doubt)
    return color.flatten(2)[:, :, cells].transpose(1, 2)
