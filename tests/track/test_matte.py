"""Mattes: flicker, blobs, edges."""

from __future__ import annotations

import numpy as np
import pytest

from spatialavatar.track import matte
from spatialavatar.track.matte import guided_filter, keep_blob, median_of_three, refine_matte


def test_the_median_takes_out_a_flicker_and_keeps_the_length() -> None:
    frames = [np.full((2, 2), v, np.float32) for v in (0.1, 0.1, 0.9, 0.1, 0.2)]
    smooth = list(median_of_three(frames))
    assert [round(float(f[0, 0]), 3) for f in smooth] == [0.1, 0.1, 0.1, 0.2, 0.2]
    assert len(list(median_of_three(frames[:1]))) == 1
    assert list(median_of_three([])) == []


def test_only_the_blob_with_the_face_stays() -> None:
    alpha = np.zeros((60, 100), np.float32)
    alpha[10:50, 10:40] = 1
    alpha[10:50, 38:42] = 0.3  # A soft edge stays with its blob.
    alpha[20:40, 70:90] = 0.9
    kept = keep_blob(alpha, (20.0, 30.0), 4)
    assert kept[30, 20] == 1 and kept[30, 40] == pytest.approx(0.3)
    assert kept[30, 80] == 0


def test_a_face_outside_every_blob_keeps_the_largest() -> None:
    alpha = np.zeros((60, 100), np.float32)
    alpha[10:50, 10:40] = 1
    alpha[20:30, 70:80] = 1
    kept = keep_blob(alpha, (95.0, 5.0), 4)
    assert kept[30, 20] == 1 and kept[25, 75] == 0


def edge_case() -> tuple[np.ndarray, np.ndarray]:
    """A dark disc on a light ground, and a blurred probability whose edge lies 3 pixels too far out."""
    y, x = np.mgrid[0:128, 0:128] + 0.5
    radius = np.hypot(x - 64, y - 64)
    image = np.where(radius[..., None] < 40, np.uint8([60, 50, 40]), np.uint8([220, 225, 230])).astype(np.uint8)
    return image, (1 / (1 + np.exp((radius - 43) / 3))).astype(np.float32)


@pytest.mark.parametrize("ours", [False, True])
def test_the_guided_filter_moves_the_edge_onto_the_image(monkeypatch: pytest.MonkeyPatch, ours: bool) -> None:
    image, probability = edge_case()
    if ours:
        monkeypatch.delattr(matte.cv2, "ximgproc", raising=False)
    sharp = guided_filter(image, probability, 8, 13.0)
    y, x = np.mgrid[0:128, 0:128] + 0.5
    radius = np.hypot(x - 64, y - 64)
    # The step across the image's edge grows, which is what "sharper" means.
    before = probability[(radius > 38) & (radius < 39.5)].mean() - probability[(radius > 40.5) & (radius < 42)].mean()
    after = sharp[(radius > 38) & (radius < 39.5)].mean() - sharp[(radius > 40.5) & (radius < 42)].mean()
    assert after > 2 * before


def test_nothing_lies_beyond_the_source_image() -> None:
    image, probability = edge_case()
    inside = np.ones((128, 128), bool)
    inside[:, :60] = False
    refined = refine_matte(image, probability, (80.0, 64.0), inside)
    assert refined.dtype == np.uint8 and (refined[:, :60] == 0).all()
    assert refined[64, 80] == 255 and refined[64, 120] == 0
