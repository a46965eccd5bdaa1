"""Do the sources show one person? A cue for a warning, from what the warp brings into register anyway (ours).

Faces of one person, laid out on the same UV pixels, agree in where they are light and dark; those of two people agree
far less. Brightness is compared as logarithms, a gradient of light over the face taken out first.
"""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from spatialavatar.generate.inputs import Sources
from spatialavatar.generate.warp import warp
from spatialavatar.head.head import Head
from spatialavatar.head.landmarks import load_landmarks
from spatialavatar.head.uv import UVLayout

LEAST = 0.72
"""Correlation below which two faces are taken for two people's. Measured: 0.81 to 0.97 between frames of a video,
0.53 to 0.68 between portraits of different people."""
NEAR = 0.012
"""Metres from a landmark within which skin is face."""
ENOUGH = 0.07
"""Share of the face that both sources must show to be compared."""


def face_pixels(head: Head, layout: UVLayout) -> Tensor:
    """(N,) bool: skin near the face's landmarks."""
    from scipy.spatial import cKDTree

    points = layout.surface_points(head.template, head.faces)
    landmarks = load_landmarks(head).points(head.template, head.faces)
    skin = head.part_of_face[layout.triangles] == head.part_names.index("skin")
    distance, _ = cKDTree(landmarks.double().numpy()).query(points.double().numpy())
    return torch.from_numpy(distance < NEAR) & skin


def resemblance(sources: Sources, head: Head, layout: UVLayout) -> dict[tuple[int, int], float]:
    """Correlation of the faces of every two sources that show enough of the same skin; one subject (B = 1)."""
    if sources.images.shape[1] < 2:
        return {}
    face = face_pixels(head, layout)
    points = layout.surface_points(head.template, head.faces)
    colors = warp(sources.images[:1], sources.pixels[:1], sources.size)[0]  # (K, 3, N)
    brightness = colors.clamp_min(0.02).log().mean(1)
    found = {}
    for one, other in combinations(range(len(colors)), 2):
        common = face & (sources.visibility[0, one] * sources.visibility[0, other] > 0.15)
        if int(common.sum()) < ENOUGH * int(face.sum()):
            continue
        ramp = torch.cat([points[common], torch.ones(int(common.sum()), 1)], 1)
        flat = [_without(brightness[index, common], ramp) for index in (one, other)]
        found[one, other] = float(torch.corrcoef(torch.stack(flat))[0, 1])
    return found


def strangers(sources: Sources, head: Head, layout: UVLayout, names: list[str]) -> str | None:
    """A warning where two of the sources look like different people, else None."""
    pairs = resemblance(sources, head, layout)
    unlike = {pair: value for pair, value in pairs.items() if value < LEAST}
    if not unlike:
        return None
    (one, other), value = min(unlike.items(), key=lambda item: item[1])
    return (
        f"The faces in {names[one]} and {names[other]} look like two people's (they agree by {value:.2f}; one person's "
        f"by {LEAST} or more). An avatar of both together is of neither."
    )


def _without(values: Tensor, ramp: Tensor) -> Tensor:
    """What is left of `values` (M,) after the best combination of the columns of `ramp` (M, 4)."""
    return values - ramp @ torch.linalg.lstsq(ramp, values[:, None]).solution[:, 0]
