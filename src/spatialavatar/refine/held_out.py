"""Scores on frames the training never saw: PSNR and SSIM over white, on the whole matte and above the chin."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.sequence.sequence import TrackedSequence
from spatialavatar.splat.photometric import l1_ssim, psnr
from spatialavatar.splat.render import render

CHIN_LANDMARK = 152


@dataclass(frozen=True)
class Score:
    """Means over frames. `psnr_above_chin` is None where the frames have no landmarks."""

    psnr: float
    ssim: float
    psnr_above_chin: float | None
    frames: int

    def as_dict(self) -> dict[str, float | int | None]:
        return asdict(self)


def over_white(sequence: TrackedSequence, frame: int) -> Tensor:
    """The frame composited over white by its matte, (H, W, 3) float; what was not filmed is white."""
    alpha = (sequence.matte(frame).float() / 255)[..., None]
    return only_filmed(sequence.image(frame).float() / 255 * alpha + (1 - alpha), sequence, frame)


def draw(avatar: Avatar, sequence: TrackedSequence, frame: int) -> Tensor:
    """The avatar in one tracked frame over white, (H, W, 3), clamped to [0, 1]; what was not filmed is white."""
    with torch.no_grad():
        world = avatar.pose(sequence.motion[frame])
        image = render(world, sequence.camera(frame), torch.ones(3)).image.clamp(0, 1)
    return only_filmed(image, sequence, frame)


def only_filmed(image: Tensor, sequence: TrackedSequence, frame: int) -> Tensor:
    """(H, W, 3) with white beyond the source's picture, where a frame tells nothing."""
    x0, x1, y0, y1 = sequence.filmed(frame)
    if (x0, x1, y0, y1) == (0, sequence.width, 0, sequence.height):
        return image
    white = torch.ones_like(image)
    white[y0:y1, x0:x1] = image[y0:y1, x0:x1]
    return white


def score(avatar: Avatar, sequence: TrackedSequence, frames: list[int]) -> Score:
    """Mean scores of `avatar` over `frames` of `sequence`."""
    whole, structure, above = [], [], []
    for frame in frames:
        image = draw(avatar, sequence, frame)
        target = over_white(sequence, frame)
        whole.append(float(psnr(image, target)))
        # The kernels' loss is 1 - SSIM, many times faster than the map in torch.
        structure.append(1 - float(l1_ssim(image, target, l1_weight=0.0, ssim_weight=1.0)))
        if sequence.landmarks is not None and bool(sequence.landmarks[frame].isfinite().all()):
            chin = int(sequence.landmarks[frame, CHIN_LANDMARK, 1].clamp(16, sequence.height))
            above.append(float(psnr(image[:chin], target[:chin])))
    return Score(
        psnr=sum(whole) / len(whole),
        ssim=sum(structure) / len(structure),
        psnr_above_chin=sum(above) / len(above) if above else None,
        frames=len(frames),
    )
