"""LPIPS written from its paper, in float64 numpy, convolutions as sums over windows."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[np.float64]


def _windows(x: Array, kernel: int, stride: int, padding: int) -> Array:
    """(C, H, W) -> (C, h, w, kernel, kernel)."""
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    return sliding_window_view(padded, (kernel, kernel), (1, 2))[:, ::stride, ::stride]


def features(image: Array, weights: dict[str, Array]) -> list[Array]:
    """(H, W, 3) in [0, 1] -> AlexNet's activations after each of its five rectifiers, (C, h, w)."""
    mean, deviation = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
    x = ((image * 2 - 1 - mean) / deviation).transpose(2, 0, 1)
    found = []
    layers = ((0, 11, 4, 2, False), (3, 5, 1, 2, True), (6, 3, 1, 1, True), (8, 3, 1, 1, False), (10, 3, 1, 1, False))
    for position, kernel, stride, padding, pooled in layers:
        if pooled:
            x = _windows(x, 3, 2, 0).max((-1, -2))
        seen = _windows(x, kernel, stride, padding)
        weight, bias = weights[f"features.{position}.weight"], weights[f"features.{position}.bias"]
        x = np.maximum(np.einsum("chwij,ocij->ohw", seen, weight, optimize=True) + bias[:, None, None], 0)
        found.append(x)
    return found


def distance(image: Array, target: Array, weights: dict[str, Array], linear: list[Array]) -> float:
    """LPIPS of two (H, W, 3) images; `linear` holds five rows (C,)."""
    total = 0.0
    for ours, theirs, row in zip(features(image, weights), features(target, weights), linear, strict=True):
        a = ours / np.maximum(np.linalg.norm(ours, axis=0), 1e-10)
        b = theirs / np.maximum(np.linalg.norm(theirs, axis=0), 1e-10)
        total += float((row[:, None, None] * (a - b) ** 2).sum(0).mean())
    return total
