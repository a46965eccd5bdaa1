"""What other seeds make of a held-out score: benchmarks print it beside the score itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, stdev


def noise_line(name: str, scores: Sequence[Mapping[str, float | None]]) -> str:
    """Mean and standard deviation over seeds of held-out scores, as text; says so where one seed tells no noise."""
    if len(scores) < 2:
        return f"{name}: one seed, so the noise of its scores is not known (--seeds 3)"
    parts = []
    for figure, decimals in (("psnr", 3), ("psnr_above_chin", 3), ("ssim", 5)):
        values = [value for score in scores if (value := score[figure]) is not None]
        if len(values) > 1:
            parts.append(f"{figure} {mean(values):.{decimals}f} +- {stdev(values):.{decimals}f}")
    return f"{name}: over {len(scores)} seeds, {', '.join(parts)}"
