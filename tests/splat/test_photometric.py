"""Image losses and scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from spatialavatar import _native
from spatialavatar.splat.aspect import aspect_loss
from spatialavatar.splat.photometric import l1_ssim, psnr, ssim, ssim_map
from tests.oracles.ssim import l1_ssim_by_windows, ssim_by_windows
from tests.splat.scenes import smooth_noise


def pair(height: int, width: int, channels: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """A smooth picture with a flat part, and a noisy version of it."""
    image = (0.5 + smooth_noise(height, width, channels, seed) / 4).clamp(0, 1)
    image[: height // 3] = 1.0
    noise = 0.1 * torch.randn(image.shape, generator=torch.Generator().manual_seed(seed + 1))
    return image, (image + noise).clamp(0, 1)


# Sizes below, at and beyond the kernel's strips (64 columns) and bands (64 or 128 rows), and smaller than the window.
@pytest.mark.parametrize(
    ("height", "width", "channels"), [(5, 3, 1), (70, 93, 3), (64, 64, 3), (65, 129, 2), (300, 40, 4), (257, 200, 3)]
)
def test_loss_and_gradient_agree_with_the_definition(height: int, width: int, channels: int) -> None:
    target, start = pair(height, width, channels)
    image, exact = start.clone().requires_grad_(), start.double().requires_grad_()
    loss, expected = l1_ssim(image, target), l1_ssim_by_windows(exact, target)
    (3 * loss).backward()
    (3 * expected).backward()
    # Variances of float32 images of about 1 have an error of 1e-7, against the constant 9e-4 below the fraction.
    assert abs(loss.item() - expected.item()) < 1e-5
    assert image.grad is not None and exact.grad is not None
    assert (image.grad - exact.grad).norm() < 1e-4 * exact.grad.norm()
    wide = l1_ssim(exact, target.double())  # float64 takes the way through torch
    assert abs(wide.item() - expected.item()) < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("crop", [(70, 150, 60, 130), (0, 9, 0, 200), (219, 220, 199, 200)])
def test_a_crop_changes_neither_value_nor_gradient(crop: tuple[int, int, int, int], dtype: torch.dtype) -> None:
    x0, x1, y0, y1 = crop
    target, _ = pair(200, 220)
    target = target.to(dtype)
    image = target.clone()
    image[y0:y1, x0:x1] = torch.rand(y1 - y0, x1 - x0, 3, dtype=dtype, generator=torch.Generator().manual_seed(3))
    whole, cropped = image.clone().requires_grad_(), image.clone().requires_grad_()
    loss, cropped_loss = l1_ssim(whole, target), l1_ssim(cropped, target, crop=crop)
    loss.backward()
    cropped_loss.backward()
    assert whole.grad is not None and cropped.grad is not None
    # Only rounding differs: where both images are equal, SSIM is 1 and its derivative 0 up to that.
    assert abs(loss.item() - cropped_loss.item()) < 1e-6
    scale = whole.grad.abs().max()
    assert (whole.grad - cropped.grad).abs().max() < (3e-3 if dtype == torch.float32 else 1e-9) * scale


def test_ssim_agrees_with_scikit_image() -> None:
    target, image = pair(60, 80)
    _, expected = structural_similarity(
        image.double().numpy(), target.double().numpy(), gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        data_range=1.0, channel_axis=2, full=True,
    )  # fmt: skip
    ours = ssim_map(image.double(), target.double()).numpy()
    # The border differs (zero padding here, reflection there); inside only the window's cut at 3.5 sigma is shared.
    np.testing.assert_allclose(ours[5:-5, 5:-5], expected[5:-5, 5:-5], atol=1e-9)
    torch.testing.assert_close(ssim_by_windows(image, target), torch.from_numpy(ours))
    assert ssim(image, target).item() == pytest.approx(ours.mean(), abs=1e-5)
    assert ssim(target, target).item() == pytest.approx(1.0, abs=1e-6)


def test_loss_does_not_depend_on_the_number_of_threads() -> None:
    target, start = pair(200, 220)
    before = _native.threads()
    results = []
    try:
        for count in (1, 2, 5):
            _native.set_threads(count)
            image = start.clone().requires_grad_()
            loss = l1_ssim(image, target)
            loss.backward()
            results.append((loss.detach(), image.grad))
    finally:
        _native.set_threads(before)
    assert all(torch.equal(a, b) for result in results[1:] for a, b in zip(results[0], result, strict=True))


def test_weights_and_no_gradient() -> None:
    target, image = pair(40, 30)
    assert l1_ssim(image, target, 1.0, 0.0).item() == pytest.approx((image - target).abs().mean().item(), rel=1e-6)
    assert l1_ssim(image, target, 0.0, 1.0).item() == pytest.approx(1 - ssim(image, target).item(), rel=1e-5)
    assert not l1_ssim(image, target).requires_grad


def test_psnr() -> None:
    image = torch.zeros(4, 5, 3)
    target = torch.full_like(image, 0.1)
    assert psnr(image, target).item() == pytest.approx(20.0, abs=1e-4)
    target[0] = 1.0
    mask = torch.ones(4, 5, dtype=torch.bool)
    mask[0] = False
    assert psnr(image, target, mask).item() == pytest.approx(20.0, abs=1e-4)
    assert psnr(image, image).item() == float("inf")


def test_bad_input_is_named() -> None:
    image = torch.rand(8, 9, 3)
    with pytest.raises(ValueError, match=r"got \(8, 9, 3\) and \(8, 9, 1\)"):
        l1_ssim(image, image[..., :1])
    with pytest.raises(ValueError, match=r"but target is torch\.float64"):
        l1_ssim(image, image.double())
    with pytest.raises(ValueError, match="divide 8-bit images by 255"):
        psnr(image.byte(), image.byte())
    with pytest.raises(ValueError, match="no box in a 9 x 8 image"):
        l1_ssim(image, image, crop=(0, 10, 0, 8))
    with pytest.raises(ValueError, match="mask must have shape"):
        psnr(image, image, torch.ones(9, 8))


def random_covariances(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    factors = torch.randn(count, 2, 2, generator=generator) * torch.rand(count, 1, 1, generator=generator) * 3
    factors[:50] *= 1e-3  # below the floor
    covariances = factors @ factors.mT
    flat = torch.stack([covariances[:, 0, 0], covariances[:, 0, 1], covariances[:, 1, 1]], dim=-1)
    flat[:3], flat[3] = torch.tensor([1.0, 0.0, 1.0]), 0.0
    return flat


def test_aspect_loss_of_the_kernel_agrees_with_torch_and_its_gradient_with_differences() -> None:
    covariances = random_covariances(2001)
    single, double = covariances.clone().requires_grad_(), covariances.double().requires_grad_()
    loss, expected = aspect_loss(single, 1.4), aspect_loss(double, 1.4)
    (2 * loss).backward()
    (2 * expected).backward()
    assert single.grad is not None and double.grad is not None
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(single.grad.double(), double.grad, rtol=1e-4, atol=1e-6 * double.grad.abs().max().item())
    few = covariances[100:120].double().requires_grad_()
    assert torch.autograd.gradcheck(lambda c: aspect_loss(c, 0.5), [few], eps=1e-7, rtol=1e-4)


def test_aspect_loss_of_known_shapes() -> None:
    covariances = torch.tensor([[16.0, 0.0, 1.0], [1.0, 0.0, 1.0]])  # aspects 4 and 1
    assert aspect_loss(covariances, 1.0).item() == pytest.approx((np.log(4) - 1) / 2, rel=1e-6)
    assert aspect_loss(covariances, 1.4).item() == 0.0
    assert aspect_loss(covariances[:0], 1.4).item() == 0.0
    with pytest.raises(ValueError, match=r"must have shape \(N, 3\)"):
        aspect_loss(covariances[:, :2], 1.0)
