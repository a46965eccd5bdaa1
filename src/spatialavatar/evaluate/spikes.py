"""The spike score: thin streaks that a picture has and its target has not.

Gaussians that grow into needles draw streaks a few pixels thin. A top-hat keeps what is thinner than its window, in
light and in dark; what the target shows nearby is taken off, so that lashes and single hairs do not count.
"""

from __future__ import annotations

import torch.nn.functional as functional
from torch import Tensor

ID = "spike.tophat5-near9-1"
_WINDOW, _NEAR = 5, 9
# Rec. 709 weights.
_LUMA = (0.2126, 0.7152, 0.0722)


def spike_score(image: Tensor, target: Tensor) -> float:
    """Mean excess of thin structure over a picture, in thousandths of the largest brightness.

    Args:
        image, target: (H, W, 3) in [0, 1].
    """
    ours, theirs = _luma(image), _luma(target)
    thin = _thin(ours) - _dilated(_thin(theirs), _NEAR)
    return 1000 * float(thin.clamp_min(0).mean())


def _thin(luma: Tensor) -> Tensor:
    """(H, W) -> what an opening takes from it and what a closing adds to it."""
    opened = _dilated(_eroded(luma, _WINDOW), _WINDOW)
    closed = _eroded(_dilated(luma, _WINDOW), _WINDOW)
    return (luma - opened).maximum(closed - luma)


def _luma(image: Tensor) -> Tensor:
    return image @ image.new_tensor(_LUMA)


def _dilated(values: Tensor, window: int) -> Tensor:
    return functional.max_pool2d(values[None, None], window, 1, window // 2)[0, 0]


def _eroded(values: Tensor, window: int) -> Tensor:
    return -_dilated(-values, window)
