"""The compiled kernel against the float64 reference: pictures, gradients, channels, projected quantities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from spatialavatar import _native
from spatialavatar.splat import constants
from spatialavatar.splat.camera import Camera
from spatialavatar.splat.gaussians import WorldGaussians
from spatialavatar.splat.render import Rendering, render
from tests.oracles.splatting import away_from_cutoffs
from tests.splat.scenes import ball, head_like, small_camera, smooth_noise, with_gradients

FORWARD_TOLERANCE = 2.5e-6
"""Measured 9.6e-7, by the worst scene and instruction set."""

GRADIENT_TOLERANCE = 1e-3
"""Relative; measured 3.7e-4, by the worst scene, attribute and instruction set."""

CAMERA_GRADIENT_TOLERANCE = 8e-7
"""Relative to the norm of a matrix's gradient; measured 2.9e-7."""

GRADIENT_FLOOR = 1e-2
"""Of the root mean square of an attribute's gradient. A gradient is a sum over pixels whose terms have either sign;
where they cancel to less than this, float32 keeps fewer digits of what is left."""

SCENES: dict[str, tuple[WorldGaussians, Camera]] = {
    "blobs": (ball(400, scale=0.012), small_camera()),
    "crowd": (ball(3000, scale=0.006), small_camera(100, 64)),
    "head": (head_like(4000), small_camera(128, 96)),
    "opaque": (ball(600, scale=0.03, opacity=(0.7, 1.0)), small_camera()),  # pixels saturate, alpha is clamped
    "large": (ball(50, scale=0.1, opacity=(0.005, 0.3)), small_camera(77, 51)),  # beyond the border, many tiles each
}


def compare(
    gaussians: WorldGaussians, camera: Camera, objective: Callable[[Rendering], Tensor], background: Tensor
) -> tuple[Rendering, Rendering]:
    """Render with both back ends and assert that all gradients of the objective agree."""
    renderings, leaves = [], []
    for backend, dtype in (("cpu", torch.float32), ("reference", torch.float64)):
        copy = with_gradients(gaussians, dtype)
        ground = background.to(dtype).clone().requires_grad_()
        rendering = render(copy, camera, ground, backend=backend)  # type: ignore[arg-type]
        objective(rendering).backward()
        renderings.append(rendering)
        leaves.append({**vars(copy), "background": ground})
    for name, leaf in leaves[1].items():
        found, expected = leaves[0][name].grad, leaf.grad
        if expected is None or not expected.any():
            assert found is None or not found.any(), name
            continue
        floor = GRADIENT_FLOOR * expected.square().mean().sqrt()
        error = ((found - expected).abs() / expected.abs().clamp_min(floor)).max()
        assert error < GRADIENT_TOLERANCE, f"gradient of {name}: relative error {error:.1e}"
    return renderings[0], renderings[1]


@pytest.mark.parametrize("scene", SCENES)
def test_agrees_with_the_reference(scene: str) -> None:
    gaussians, camera = SCENES[scene]
    safe = away_from_cutoffs(gaussians, camera)
    assert safe.float().mean() > 0.9, "the comparison must not be empty"
    image_weights = smooth_noise(camera.height, camera.width, 3) * safe[..., None]
    alpha_weights = smooth_noise(camera.height, camera.width, 1, seed=1)[..., 0] * safe

    def objective(rendering: Rendering) -> Tensor:
        return (rendering.image * image_weights).sum() + (rendering.alpha * alpha_weights).sum()

    ours, reference = compare(gaussians, camera, objective, torch.tensor([0.2, 0.5, 0.9]))
    error = (ours.image - reference.image).abs().amax(dim=-1)
    assert error[safe].max() < FORWARD_TOLERANCE
    assert (ours.alpha - reference.alpha)[safe].abs().max() < FORWARD_TOLERANCE
    # On a cut-off a Gaussian of alpha 1/255 may be drawn or not; colours lie within [0, 1].
    assert error.max() < constants.ALPHA_MIN + FORWARD_TOLERANCE


@pytest.mark.parametrize("channels", [1, 2, 4, 7])
def test_any_number_of_channels(channels: int) -> None:
    gaussians, camera = ball(400, scale=0.012, channels=channels), small_camera()
    safe = away_from_cutoffs(gaussians, camera)
    image_weights = smooth_noise(camera.height, camera.width, channels) * safe[..., None]
    alpha_weights = smooth_noise(camera.height, camera.width, 1, seed=1)[..., 0] * safe

    def objective(rendering: Rendering) -> Tensor:
        return (rendering.image * image_weights).sum() + (rendering.alpha * alpha_weights).sum()

    ours, reference = compare(gaussians, camera, objective, torch.linspace(0.1, 0.9, channels))
    assert ours.image.shape == (camera.height, camera.width, channels)
    assert (ours.image - reference.image)[safe].abs().max() < FORWARD_TOLERANCE
    assert (ours.alpha - reference.alpha)[safe].abs().max() < FORWARD_TOLERANCE


def test_channels_do_not_mix() -> None:
    gaussians, camera = ball(300, scale=0.012, channels=7), small_camera()
    together = render(gaussians, camera)
    for first in range(0, 7, 3):
        part = WorldGaussians(*list(vars(gaussians).values())[:4], gaussians.colors[:, first : first + 3].contiguous())
        alone = render(part, camera)
        assert torch.equal(together.image[..., first : first + 3], alone.image)
        assert torch.equal(together.alpha, alone.alpha)


def spread_ball() -> WorldGaussians:
    """Some Gaussians in the image, many beside it (where the projection's linearisation is clamped), some behind."""
    gaussians = ball(500, scale=0.02)
    return WorldGaussians(gaussians.positions * 12, *list(vars(gaussians).values())[1:])


@pytest.mark.parametrize("gaussians", [ball(400, scale=0.012), spread_ball()], ids=["in view", "around the camera"])
@pytest.mark.parametrize("with_image", [False, True])
def test_projected_gaussians_and_their_gradients(gaussians: WorldGaussians, with_image: bool) -> None:
    camera = small_camera()
    safe = away_from_cutoffs(gaussians, camera)
    image_weights = smooth_noise(camera.height, camera.width, 3) * safe[..., None]
    generator = torch.Generator().manual_seed(0)
    weights = {
        "means2d": torch.randn(len(gaussians), 2, generator=generator),
        "covariances2d": torch.randn(len(gaussians), 3, generator=generator),
        "depths": torch.randn(len(gaussians), generator=generator),
    }

    def objective(rendering: Rendering) -> Tensor:
        total = sum((getattr(rendering.projected, name) * weight).sum() for name, weight in weights.items())
        return total + (rendering.image * image_weights).sum() if with_image else total

    ours, reference = compare(gaussians, camera, objective, torch.zeros(3))
    for name in ("means2d", "covariances2d", "depths", "radii"):
        found, expected = getattr(ours.projected, name), getattr(reference.projected, name)
        # Rounding of float32 inputs times a condition number of about 10 (lengths over depths).
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")
    assert (ours.projected.depths == 0).sum() == (reference.projected.depths == 0).sum()


def test_nothing_is_drawn_outside_the_box() -> None:
    gaussians, camera = ball(20, scale=0.004), small_camera(200, 150)
    rendering = render(gaussians, camera, torch.tensor([0.3, 0.6, 0.9]))
    x0, x1, y0, y1 = rendering.box
    assert 0 <= x0 < x1 <= 200 and 0 <= y0 < y1 <= 150
    rows, columns = torch.where(rendering.alpha > 0)
    assert columns.min() >= x0 and columns.max() < x1 and rows.min() >= y0 and rows.max() < y1
    outside = torch.ones(150, 200, dtype=torch.bool)
    outside[y0:y1, x0:x1] = False
    assert outside.any() and (rendering.image[outside] == torch.tensor([0.3, 0.6, 0.9])).all()
    # The reference's box is computed from radii, which reach a little further.
    rx0, rx1, ry0, ry1 = render(gaussians, camera, backend="reference").box
    assert rx0 <= x0 and rx1 >= x1 and ry0 <= y0 and ry1 >= y1


@pytest.mark.parametrize("threads_used", [2, 3, 5])
@pytest.mark.parametrize("channels", [3, 5])
def test_results_do_not_depend_on_the_number_of_threads(threads_used: int, channels: int) -> None:
    gaussians, camera = ball(9000, scale=0.005, channels=channels), small_camera(160, 120)
    image_weights = smooth_noise(camera.height, camera.width, channels)
    before = _native.threads()

    def run() -> list[Tensor]:
        leaves = with_gradients(gaussians)
        background = torch.full((channels,), 0.5, requires_grad=True)
        rendering = render(leaves, camera, background)
        projected = rendering.projected
        ((rendering.image * image_weights).sum() + projected.covariances2d.sum() + rendering.alpha.sum()).backward()
        gradients = [leaf.grad for leaf in (*vars(leaves).values(), background)]
        outputs = (rendering.image, rendering.alpha, *vars(projected).values())
        return [*(output.detach() for output in outputs), *gradients]

    try:
        _native.set_threads(1)
        alone = run()
        _native.set_threads(threads_used)
        for _ in range(3):
            assert all(torch.equal(a, b) for a, b in zip(alone, run(), strict=True))
    finally:
        _native.set_threads(before)


@pytest.mark.parametrize("scene", ["blobs", "head", "spread"])
def test_gradients_of_the_camera(scene: str) -> None:
    gaussians, camera = SCENES[scene] if scene in SCENES else (spread_ball(), small_camera())
    safe = away_from_cutoffs(gaussians, camera)
    weights = smooth_noise(camera.height, camera.width, 3) * safe[..., None]
    found = []
    for backend, dtype in (("cpu", torch.float32), ("reference", torch.float64)):
        matrices = [camera.camera_from_world.to(dtype), camera.intrinsics.to(dtype)]
        matrices = [matrix.clone().requires_grad_() for matrix in matrices]
        moved = replace(camera, camera_from_world=matrices[0], intrinsics=matrices[1])
        rendering = render(gaussians.to(dtype=dtype), moved, backend=backend)  # type: ignore[arg-type]
        projected = rendering.projected
        shapes = (projected.covariances2d * torch.tensor([1.0, 0.5, -1.0])).sum() / 100
        places = projected.means2d.sum() / 100 + projected.depths.sum()
        ((rendering.image * weights).sum() + shapes + places).backward()
        found.append([matrix.grad for matrix in matrices])
    for name, ours, reference in zip(("camera_from_world", "intrinsics"), *found, strict=True):
        assert (ours - reference).norm() < CAMERA_GRADIENT_TOLERANCE * reference.norm(), name
        assert ((ours == 0) == (reference == 0)).all(), name


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_depth_is_one_more_channel(backend: str) -> None:
    gaussians, camera = SCENES["head"]
    leaves = with_gradients(gaussians)
    rendering = render(leaves, camera, torch.tensor([0.2, 0.5, 0.9]), backend=backend, depth=True)  # type: ignore[arg-type]
    plain = render(gaussians, camera, torch.tensor([0.2, 0.5, 0.9]), backend=backend)  # type: ignore[arg-type]
    assert plain.depth is None and rendering.depth is not None
    assert torch.equal(rendering.image, plain.image) and torch.equal(rendering.alpha, plain.alpha)
    solid = plain.alpha > 0.9
    low, high = rendering.projected.depths.min(), rendering.projected.depths.max()
    assert (rendering.depth[solid] > low - 1e-4).all() and (rendering.depth[solid] < high + 1e-4).all()
    assert not rendering.depth[plain.alpha == 0].any()
    # Further away by 1 cm, everything is: depth and picture know it, and so does the gradient.
    rendering.depth[solid].sum().backward()
    toward = camera.camera_from_world[2, :3]
    assert leaves.positions.grad is not None
    along = (leaves.positions.grad @ toward).sum()
    assert along == pytest.approx(float(solid.sum()), rel=0.1)


@pytest.mark.parametrize("name", _native.instruction_sets())
@pytest.mark.parametrize("scene", ["crowd", "head"])
def test_every_instruction_set_agrees_with_the_reference(name: str, scene: str) -> None:
    """Whichever this machine has: one at least."""
    best = _native.instruction_set()
    try:
        _native.select_instruction_set(name)
        assert _native.instruction_set() == name
        test_agrees_with_the_reference(scene)
    finally:
        _native.select_instruction_set(best)


def test_kernel_and_package_share_their_constants() -> None:
    from spatialavatar.avatar import binding
    from spatialavatar.splat import aspect

    ours = {**vars(constants), "MIN_EDGE": binding.MIN_EDGE, "MIN_SINE": binding.MIN_SINE}
    ours |= {"ASPECT_FLOOR": aspect.FLOOR, "ASPECT_ROUND": aspect.ROUND}
    for name, value in _native.constants().items():
        assert value == pytest.approx(ours[name], rel=1e-7), name
