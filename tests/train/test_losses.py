"""Every term of Eq. 2 against an independent truth, and its gradient by finite differences."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity
from torch import Tensor

from spatialavatar.head.uv import UVLayout
from spatialavatar.train.jacobian import rademacher, squared_jacobian, view_penalty
from spatialavatar.train.ms_ssim import ms_ssim, ssim_parts, window_means
from spatialavatar.train.pixels import box_l1, dilated_box, l1
from spatialavatar.train.shrinkage import residual_shrinkage
from spatialavatar.train.total_variation import grid_neighbours, total_variation

SIGMAS = (0.5, 1.0, 2.0, 4.0, 8.0)


def pair(height: int = 70, width: int = 66, batch: int = 1, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two (B, 3, H, W) that resemble each other, float64."""
    random = torch.Generator().manual_seed(seed)
    image = torch.rand(batch, 3, height, width, generator=random, dtype=torch.float64)
    image = torch.nn.functional.avg_pool2d(image, 3, 1, 1)
    other = image + 0.1 * torch.randn(image.shape, generator=random, dtype=torch.float64)
    return image, other.clamp(0, 1)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_each_sigma_is_scikit_images_ssim(sigma: float) -> None:
    image, other = pair()
    luminance, structure = ssim_parts(image, other, sigma)
    radius = int(3.5 * sigma + 0.5)  # the part of the picture where no window is cut off
    size = max(70, 2 * radius + 8)
    assert size <= 70
    for channel in range(3):
        _, expected = structural_similarity(
            image[0, channel].numpy(),
            other[0, channel].numpy(),
            data_range=1.0,
            gaussian_weights=True,
            sigma=sigma,
            use_sample_covariance=False,
            win_size=2 * radius + 1,
            full=True,
        )
        inside = np.s_[radius : 70 - radius, radius : 66 - radius]
        found = (luminance * structure)[0, channel].numpy()
        # Both are float64 sums of the same window in another order.
        np.testing.assert_allclose(found[inside], expected[inside], rtol=0, atol=1e-10)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_windows_are_renormalised_at_the_border(sigma: float) -> None:
    image, _ = pair()

    def cut(values: np.ndarray) -> np.ndarray:
        return gaussian_filter(values, sigma, truncate=3.5, mode="constant", axes=(-2, -1))

    expected = cut(image.numpy()) / cut(np.ones_like(image.numpy()))
    # Both are float64 sums of the same window in another order.
    np.testing.assert_allclose(window_means(image, sigma).numpy(), expected, rtol=0, atol=1e-12)


def test_the_product_over_sigmas_by_its_definition() -> None:
    image, other = pair(80, 80)
    x, y = image[0, 0].numpy(), other[0, 0].numpy()
    product = np.ones_like(x)
    for sigma in SIGMAS:
        mean = lambda values, s=sigma: gaussian_filter(values, s, truncate=3.5)  # noqa: E731
        mean_x, mean_y = mean(x), mean(y)
        luminance = (2 * mean_x * mean_y + 1e-4) / (mean_x**2 + mean_y**2 + 1e-4)
        covariance, variances = mean(x * y) - mean_x * mean_y, mean(x * x) - mean_x**2 + mean(y * y) - mean_y**2
        product *= (2 * covariance + 9e-4) / (variances + 9e-4)
    expected = (product * luminance)[28:-28, 28:-28].mean()
    # The same with our windows, away from the border, where scipy mirrors and ours are cut.
    ours = torch.ones(80, 80, dtype=torch.float64)
    for sigma in SIGMAS:
        last, structure = ssim_parts(image[:, :1], other[:, :1], sigma)
        ours = ours * structure[0, 0]
    assert float((ours * last[0, 0])[28:-28, 28:-28].mean()) == pytest.approx(expected, abs=1e-10)
    whole = torch.stack([(ours * last[0, 0]).mean()])
    assert torch.allclose(ms_ssim(image[:, :1], other[:, :1], SIGMAS), whole, atol=1e-12)


def test_ms_ssim_of_equal_pictures_is_one_for_each_of_a_batch() -> None:
    image, other = pair(24, 20, batch=2)
    assert torch.allclose(ms_ssim(image, image, SIGMAS), torch.ones(2, dtype=torch.float64))
    both = ms_ssim(image, other, SIGMAS)
    assert torch.allclose(both[1:], ms_ssim(image[1:], other[1:], SIGMAS))
    assert bool((both < 1).all())


def test_terms_on_pictures_pass_the_gradient_check() -> None:
    image, other = pair(6, 5, batch=2)
    image = image.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: ms_ssim(x, other, (0.5, 2.0)), image)
    assert torch.autograd.gradcheck(lambda x: l1(x, other), image)
    assert torch.autograd.gradcheck(lambda x: box_l1(x, other, [(1, 4, 2, 6), (0, 5, 0, 6)]), image)


def test_box_l1_counts_the_box_alone() -> None:
    image = torch.zeros(1, 3, 10, 12)
    target = torch.zeros(1, 3, 10, 12)
    target[:, :, 2:4, 3:7] = 1
    assert float(box_l1(image, target, [(3, 7, 2, 4)])) == 1
    assert float(box_l1(image, target, [(3, 7, 2, 6)])) == 0.5
    assert float(box_l1(image, target, [(7, 12, 4, 10)])) == 0
    assert float(box_l1(image, target, [(4, 4, 0, 0)])) == 0  # a face outside of the picture


def test_the_face_box_is_dilated_about_its_centre_and_cut() -> None:
    points = torch.tensor([[40.0, 40.0], [60.0, 80.0]])
    assert dilated_box(points, 1.65, 200, 200) == (33, 67, 27, 93)
    assert dilated_box(points, 1.0, 200, 200) == (40, 60, 40, 80)
    assert dilated_box(points, 10.0, 100, 70) == (0, 100, 0, 70)
    assert dilated_box(points + 500, 1.65, 100, 100) == (100, 100, 100, 100)


def ragged_layout(resolution: int = 7, seed: int = 0) -> UVLayout:
    """A layout with holes; pixels in a shuffled order."""
    random = torch.Generator().manual_seed(seed)
    chosen = torch.nonzero(torch.rand(resolution, resolution, generator=random) > 0.4)
    chosen = chosen[torch.randperm(len(chosen), generator=random)]
    triangles = torch.arange(len(chosen))
    return UVLayout(
        resolution, chosen[:, 0], chosen[:, 1], triangles, torch.full((len(chosen), 3), 1 / 3), "none", "test"
    )


def test_total_variation_by_loops() -> None:
    layout = ragged_layout()
    values = torch.randn(2, len(layout), 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    at = {(int(r), int(c)): i for i, (r, c) in enumerate(zip(layout.rows, layout.columns, strict=True))}
    for item in range(2):
        expected = 0.0
        for (row, column), index in at.items():
            for other in ((row, column + 1), (row + 1, column)):
                if other in at:
                    expected += float((values[item, index] - values[item, at[other]]).abs().sum())
        found = total_variation(values, grid_neighbours(layout))[item]
        assert float(found) == pytest.approx(expected / len(layout), rel=1e-12)
    assert torch.autograd.gradcheck(lambda v: total_variation(v, grid_neighbours(layout)), values.requires_grad_())


def test_total_variation_of_a_constant_is_zero() -> None:
    layout = ragged_layout()
    assert float(total_variation(torch.ones(1, len(layout), 3), grid_neighbours(layout))) == 0


def test_shrinkage_is_the_mean_of_l1_norms() -> None:
    residuals = {
        "position": torch.tensor([[[1.0, -2.0, 0.0], [0.0, 0.0, 3.0]]]),
        "color": torch.tensor([[[1.0], [1.0]]]),
    }
    assert float(residual_shrinkage(residuals)) == (3 + 3) / 2 + 1
    with pytest.raises(ValueError, match="no residual head"):
        residual_shrinkage({})


class Bent(torch.nn.Module):
    """A map from a view code (B, G) to (B, N, 3), bent enough to have second derivatives."""

    def __init__(self, pixels: int = 20, code: int = 5):
        super().__init__()
        random = torch.Generator().manual_seed(0)
        self.inner = torch.randn(code, 8, dtype=torch.float64, generator=random)
        self.outer = torch.nn.Parameter(torch.randn(8, pixels * 3, dtype=torch.float64, generator=random))

    def forward(self, gamma: Tensor) -> Tensor:
        return ((gamma @ self.inner).tanh() @ self.outer).unflatten(1, (-1, 3))


def test_hutchinsons_estimate_is_unbiased() -> None:
    bent = Bent()
    gamma = torch.randn(1, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    exact = torch.autograd.functional.jacobian(bent, gamma).square().sum()
    random = torch.Generator().manual_seed(2)
    estimates = []
    for _ in range(2000):
        probe = rademacher((1, 20, 3), random).double()
        estimates.append(float(squared_jacobian(bent(gamma), gamma, probe).detach()))
    found = torch.tensor(estimates, dtype=torch.float64)
    # Four standard errors of the mean of 2,000 draws.
    assert abs(float(found.mean() - exact)) < 4 * float(found.std()) / 2000**0.5
    assert float(found.std()) / float(exact) > 0.1  # it is an estimate at all


def test_one_probe_of_the_same_sign_is_not() -> None:
    """The signs must be independent over pixels: equal ones add the cross terms."""
    bent = Bent()
    gamma = torch.randn(1, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    exact = float(torch.autograd.functional.jacobian(bent, gamma).square().sum())
    same = float(squared_jacobian(bent(gamma), gamma, torch.ones(1, 20, 3, dtype=torch.float64)).detach())
    assert abs(same - exact) / exact > 0.3


def test_items_of_a_batch_have_their_own_penalty() -> None:
    bent = Bent()
    random = torch.Generator().manual_seed(3)
    gamma = torch.randn(2, 5, dtype=torch.float64, generator=random).requires_grad_()
    probes = [rademacher((2, 20, 3), random).double() for _ in range(2)]
    both = view_penalty(bent(gamma), bent(2 * gamma), gamma, (probes[0], probes[1]))
    for item in range(2):
        one = gamma[item : item + 1].detach().requires_grad_()
        alone = [probe[item : item + 1] for probe in probes]
        expected = view_penalty(bent(one), bent(2 * one), one, (alone[0], alone[1]))
        assert torch.allclose(both[item], expected[0])


def test_one_logarithm_around_both_norms() -> None:
    gamma = torch.ones(1, 2, dtype=torch.float64, requires_grad=True)
    first = (3 * gamma[:, :1]).reshape(1, 1, 1).expand(1, 1, 3)
    second = (2 * gamma[:, 1:]).reshape(1, 1, 1).expand(1, 1, 3)
    ones = torch.ones(1, 1, 3, dtype=torch.float64)
    expected = torch.log(torch.tensor(1 + 9.0**2 + 6.0**2, dtype=torch.float64))
    assert torch.allclose(view_penalty(first, second, gamma, (ones, ones)), expected)


def test_the_penalty_has_a_gradient_of_its_own() -> None:
    """The second derivative, by finite differences in a weight of the map."""
    bent = Bent(pixels=4)
    gamma = torch.randn(1, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(4)).requires_grad_()
    probes = [rademacher((1, 4, 3), torch.Generator().manual_seed(s)).double() for s in (5, 6)]

    def penalty() -> Tensor:
        return view_penalty(bent(gamma), bent(gamma) ** 2, gamma, (probes[0], probes[1])).sum()

    penalty().backward()
    assert bent.outer.grad is not None
    for place in ((0, 0), (3, 7)):
        with torch.no_grad():
            bent.outer[place] += 1e-6
        above = float(penalty().detach())
        with torch.no_grad():
            bent.outer[place] -= 2e-6
        below = float(penalty().detach())
        with torch.no_grad():
            bent.outer[place] += 1e-6
        # Central differences in float64 keep about nine digits here.
        assert float(bent.outer.grad[place]) == pytest.approx((above - below) / 2e-6, rel=1e-5)


def test_probes_are_signs_in_equal_numbers() -> None:
    probe = rademacher((1, 5000, 3), torch.Generator().manual_seed(0))
    assert set(probe.unique().tolist()) == {-1.0, 1.0}
    assert abs(float(probe.mean())) < 4 / 15000**0.5  # four standard deviations
