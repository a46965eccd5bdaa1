"""PSNR, SSIM and MS-SSIM against scikit-image and torchmetrics on the same pictures."""

import math

import numpy as np
import pytest
import skimage.data
import torch
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from spatialavatar.evaluate import pixels


def pictures(
    noise: float = 0.08, size: tuple[int, int] = (200, 188), seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """A real picture and what noise and a shift by a pixel make of it, both of 8 bits."""
    target = np.asarray(skimage.data.astronaut())[: size[0], 120 : 120 + size[1]]
    random = np.random.default_rng(seed)
    image = np.clip(np.roll(target, 1, 1) + 255 * noise * random.standard_normal(target.shape), 0, 255).astype(np.uint8)
    return torch.from_numpy(image).float() / 255, torch.from_numpy(target.copy()).float() / 255


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.2])
def test_equal_to_scikit_image(noise: float) -> None:
    image, target = pictures(noise)
    a, b = image.double().numpy(), target.double().numpy()
    # Means in float32 over a hundred thousand numbers.
    assert pixels.mse(image, target) == pytest.approx(mean_squared_error(a, b), rel=1e-5)
    assert pixels.psnr(image, target) == pytest.approx(peak_signal_noise_ratio(b, a, data_range=1), abs=1e-4)
    theirs = structural_similarity(
        a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1, channel_axis=2
    )
    # scikit-image reflects at the border but leaves it out of the mean, as we do; variances in float32 lose 1e-6.
    assert pixels.ssim(image, target) == pytest.approx(theirs, abs=1e-5)


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.2])
def test_equal_to_torchmetrics(noise: float) -> None:
    torchmetrics = pytest.importorskip("torchmetrics.functional.image", reason="needs torchmetrics")
    image, target = pictures(noise)
    a, b = (picture.permute(2, 0, 1)[None] for picture in (image, target))
    ours = (pixels.psnr(image, target), pixels.ssim_reflect(image, target), pixels.ms_ssim(image, target))
    assert ours[0] == pytest.approx(float(torchmetrics.peak_signal_noise_ratio(a, b, data_range=(0.0, 1.0))), abs=1e-4)
    # Where a picture is flat, its variance in float32 is the rounding of a difference of squares.
    theirs = torchmetrics.structural_similarity_index_measure(a, b, data_range=(0.0, 1.0))
    assert ours[1] == pytest.approx(float(theirs), abs=5e-5)
    theirs = torchmetrics.multiscale_structural_similarity_index_measure(a, b, data_range=(0.0, 1.0))
    assert ours[2] == pytest.approx(float(theirs), abs=5e-5)


def test_opposite_pictures_have_no_ms_ssim_power_of_a_negative_number() -> None:
    image = torch.rand(180, 180, 3, generator=torch.Generator().manual_seed(0))
    assert pixels.ms_ssim(image, 1 - image) == 0


def test_equal_pictures_reach_the_ceiling_and_not_infinity() -> None:
    _, target = pictures()
    assert pixels.psnr(target, target) == pixels.PSNR_CEILING
    assert pixels.ssim(target, target) == pytest.approx(1, abs=1e-6)
    assert pixels.ssim_reflect(target, target) == pytest.approx(1, abs=1e-6)
    assert pixels.ms_ssim(target, target) == pytest.approx(1, abs=1e-6)


def test_what_cannot_be_measured_is_nan() -> None:
    small = torch.zeros(100, 100, 3)
    assert math.isnan(pixels.ms_ssim(small, small))
    assert math.isnan(pixels.ssim(small[:8], small[:8]))
    assert math.isnan(pixels.psnr(small, small, torch.zeros(100, 100, dtype=torch.bool)))


def test_a_mask_counts_its_pixels_only() -> None:
    image, target = pictures()
    mask = torch.zeros(image.shape[:2], dtype=torch.bool)
    mask[10:50, 20:90] = True
    part = pixels.psnr(image[10:50, 20:90], target[10:50, 20:90])
    assert pixels.psnr(image, target, mask) == pytest.approx(part, abs=1e-4)  # another order of float32 sums
