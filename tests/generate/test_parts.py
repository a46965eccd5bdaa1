"""The generator's parts by themselves: pool, view code, StyleUNet, heads, residual head, fills, the shell."""

import math
from dataclasses import replace

import pytest
import torch

from spatialavatar.avatar.residual import ATTRIBUTES
from spatialavatar.generate.base_colors import candidate_colors
from spatialavatar.generate.heads import NAMES, Heads, bounded
from spatialavatar.generate.inputs import base_geometry
from spatialavatar.generate.pool import AttentionPool, Pool, mean_pool, visibility_pool
from spatialavatar.generate.prior import make_canvas, surface_prior
from spatialavatar.generate.residual import ResidualHead
from spatialavatar.generate.shell import push_out
from spatialavatar.generate.silhouette import shell_from_outlines
from spatialavatar.generate.style_unet import ModulatedConvolution, SpatialFeatureTransform, StyleUNet
from spatialavatar.generate.view_code import LENGTH, view_code, view_direction
from spatialavatar.head.motion import Motion
from spatialavatar.head.rotations import rotation_matrix_from_axis_angle
from spatialavatar.splat.render import render
from tests.generate.small import layout, person


@pytest.mark.parametrize("name", ["mean", "visibility", "attention"])
def test_pools_are_the_identity_of_one_and_forget_the_order(name: str) -> None:
    torch.manual_seed(0)
    pool = Pool(name, 3, 5)
    maps, visibility, codes = torch.randn(2, 4, 3, 6), torch.rand(2, 4, 6), torch.randn(2, 4, 5)
    one, code = pool(maps[:, :1], visibility[:, :1], codes[:, :1])
    torch.testing.assert_close(one, maps[:, 0])
    torch.testing.assert_close(code, codes[:, 0])
    order = torch.tensor([2, 0, 3, 1])
    for forth, back in zip(
        pool(maps, visibility, codes), pool(maps[:, order], visibility[:, order], codes[:, order]), strict=True
    ):
        torch.testing.assert_close(forth, back)


def test_the_paper_s_pool_is_the_mean() -> None:
    maps = torch.randn(2, 4, 3, 6)
    assert torch.equal(Pool("mean", 3, 5)(maps, torch.rand(2, 4, 6), torch.zeros(2, 4, 5))[0], maps.mean(1))
    assert not list(Pool("mean", 3, 5).parameters()) and not list(Pool("visibility", 3, 5).parameters())
    assert torch.equal(mean_pool(maps), maps.mean(1))


def test_the_source_that_sees_wins() -> None:
    maps = torch.tensor([[[[1.0]], [[5.0]]]])
    assert abs(float(visibility_pool(maps, torch.tensor([[[1.0], [0.0]]]))) - 1) < 0.05
    assert abs(float(visibility_pool(maps, torch.zeros(1, 2, 1))) - 3) < 1e-6


def test_attention_is_a_softmax_over_the_sources_of_each_pixel() -> None:
    torch.manual_seed(0)
    pool, maps = AttentionPool(2), torch.randn(1, 3, 2, 4)
    found = pool(maps)
    weight, bias = pool.score.weight[0].tolist(), pool.score.bias.item()
    for pixel in range(4):
        scores = [bias + sum(w * float(maps[0, k, c, pixel]) for c, w in enumerate(weight)) for k in range(3)]
        shares = [math.exp(score) / sum(map(math.exp, scores)) for score in scores]
        assert max(shares) - min(shares) > 0.05, "the sources count differently"
        for channel in range(2):
            expected = sum(share * float(maps[0, k, channel, pixel]) for k, share in enumerate(shares))
            # Float32 sums of three products; 1e-7 were measured.
            assert float(found[0, channel, pixel]) == pytest.approx(expected, abs=3e-7)


def test_the_view_code_is_the_formula() -> None:
    direction = torch.nn.functional.normalize(torch.tensor([[0.3, -0.5, -0.8]]), dim=1)
    code = view_code(direction)[0].tolist()
    assert len(code) == LENGTH == 27
    expected = direction[0].tolist()
    for power in range(4):
        expected += [math.sin(2**power * math.pi * d) for d in direction[0].tolist()]
        expected += [math.cos(2**power * math.pi * d) for d in direction[0].tolist()]
    # 1e-5: angles of up to 8 pi in float32.
    assert max(abs(a - b) for a, b in zip(code, expected, strict=True)) < 1e-5


def turn(axis: int, angle: float) -> torch.Tensor:
    """(1, 3) axis-angle."""
    return angle * torch.eye(3)[axis][None]


def test_the_view_direction_is_the_cameras_axis_in_the_heads_frame() -> None:
    rest = Motion.neutral(1, 52)
    camera = torch.eye(4)
    camera[:3, :3] = torch.tensor([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]])
    assert view_direction(camera, rest).tolist() == [[0, 0, -1]]
    assert view_direction(camera, rest, "world").tolist() == [[0, 0, -1]]
    for axis in (0, 1):
        turned = replace(rest, global_rotation=turn(axis, 0.4))
        nodded = replace(rest, neck_rotation=turn(axis, 0.4))
        around = camera.clone()
        around[:3, :3] = camera[:3, :3] @ rotation_matrix_from_axis_angle(turn(axis, 0.4))[0]
        expected = view_direction(around, rest)[0]
        # Three roundings of float32 products.
        assert (view_direction(camera, turned)[0] - expected).abs().max() < 1e-6
        assert (view_direction(camera, nodded)[0] - expected).abs().max() < 1e-6
        assert (expected - view_direction(camera, rest)[0]).norm() > 0.3, "it is not constant while the head turns"
        assert torch.equal(view_direction(camera, turned, "world"), view_direction(camera, rest, "world"))
    together = camera.clone()
    together[:3, :3] = camera[:3, :3] @ rotation_matrix_from_axis_angle(turn(1, -0.3))[0]
    same = view_direction(together, replace(rest, global_rotation=turn(1, 0.3)))
    assert (same - view_direction(camera, rest)).abs().max() < 1e-6, "head and camera turned together are one view"


def test_modulation_is_that_of_scaled_weights() -> None:
    """StyleGAN2's definition: scale the weights by the style, normalise each output's, convolve; for each sample."""
    torch.manual_seed(0)
    layer = ModulatedConvolution(3, 4, 5)
    values, style = torch.randn(2, 3, 6, 6), torch.randn(2, 5)
    found = layer(values, style)
    for sample in range(2):
        weight = layer.weight * layer.style(style)[sample][None, :, None, None]
        weight = weight / weight.square().sum((1, 2, 3), keepdim=True).sqrt()
        expected = torch.nn.functional.conv2d(values[sample : sample + 1], weight, padding=1)
        # 1e-5: sums of 27 float32 products in another order.
        torch.testing.assert_close(found[sample : sample + 1], expected, atol=1e-5, rtol=1e-5)


def test_feature_transforms_start_as_the_identity() -> None:
    values = torch.randn(2, 4, 5, 5)
    transform = SpatialFeatureTransform(4, 3)
    assert torch.equal(transform(values, torch.randn(2, 4, 5, 5), torch.randn(2, 3)), values)


def unet(**changes: object) -> StyleUNet:
    torch.manual_seed(0)
    options = {"code_channels": 6, "style_channels": 8, "resolution": 16, "lift": 2, "noise": True, "template": True}
    return StyleUNet(3, 5, (4, 6, 8), **(options | changes))  # type: ignore[arg-type]


def test_the_style_unet_repeats_itself_and_listens_to_the_code() -> None:
    model = unet()
    canvas, code = torch.randn(2, 3, 16, 16), torch.randn(2, 6)
    with torch.no_grad():
        first = model(canvas, code)
        assert first.shape == (2, 16 * 16 * 4, 5)
        assert torch.equal(first, model(canvas, code)) and torch.equal(first, unet()(canvas, code))
        assert not torch.allclose(first, model(canvas, code.flip(0)))
        model.bottom.strength.fill_(0.5)  # type: ignore[union-attr]
        noisy = model(canvas, code)
        assert not torch.equal(first, noisy) and torch.equal(noisy, model(canvas, code))


def test_the_style_unet_sees_everything_and_keeps_its_place() -> None:
    """The deepest level sees the whole canvas, and yet a change at a place is felt most at that place."""
    model = unet(noise=False)
    canvas = torch.randn(1, 3, 16, 16, requires_grad=True)
    rows = model(canvas, torch.randn(1, 6))
    cell = 5 * 16 + 9
    (gradient,) = torch.autograd.grad(rows[0, 4 * cell : 4 * cell + 4].square().sum(), canvas)
    strength = gradient[0].abs().sum(0)
    assert strength.gt(0).float().mean() > 0.9
    row, column = divmod(int(strength.argmax()), 16)
    assert abs(row - 5) <= 1 and abs(column - 9) <= 1


def test_gradients_of_the_style_unet_are_those_of_finite_differences() -> None:
    model = StyleUNet(2, 2, (2, 3), code_channels=2, style_channels=3, resolution=4, lift=1).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5)
    inputs = (torch.randn(1, 2, 4, 4).double().requires_grad_(), torch.randn(1, 2).double().requires_grad_())
    assert torch.autograd.gradcheck(model, inputs)


def test_heads_start_at_zero_and_do_not_mix() -> None:
    outputs = {"position": 3, "rotation": 4, "log_scale": 3, "color": 3, "opacity": 1}
    heads = Heads(6, 4, outputs, sees_view=True)
    maps, code = torch.randn(2, 10, 6), torch.randn(2, LENGTH)
    assert all(bool((value == 0).all()) for value in heads(maps, code).values())
    for index, name in enumerate(NAMES):
        torch.nn.init.normal_(heads.second[name].weight)  # type: ignore[arg-type]
        raw = heads(maps, code)
        assert raw[name].shape == (2, 10, outputs[name]) and raw[name].any()
        assert all(not raw[other].any() for other in NAMES[index + 1 :])
    bound = bounded(torch.linspace(-50, 50, 101), 0.5)
    assert float(bound.abs().max()) <= 0.5 and abs(float(bounded(torch.tensor(1e-3), 0.5)) - 1e-3) < 1e-8


def test_the_residual_head_starts_at_zero_and_has_no_opacity() -> None:
    torch.manual_seed(0)
    head = ResidualHead(6, 9, 5)
    maps, condition = torch.randn(2, 10, 6), torch.randn(2, 9)
    residuals = head(maps, condition)
    assert set(residuals) == set(ATTRIBUTES) and "opacity" not in residuals
    assert all(bool((value == 0).all()) for value in residuals.values())
    for layer in head.convolutions.values():
        torch.nn.init.normal_(layer.weight)  # type: ignore[arg-type]
    assert not torch.equal(head(maps, condition)["color"], head(maps, condition + 1)["color"])


def test_gradients_of_the_residual_head_are_those_of_finite_differences() -> None:
    head = ResidualHead(2, 3, 4).double()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_()
    inputs = (torch.randn(1, 3, 2).double().requires_grad_(), torch.randn(1, 3).double().requires_grad_())
    assert torch.autograd.gradcheck(lambda m, c: tuple(head(m, c).values()), inputs)


def test_the_canvas_gathers_its_pixels() -> None:
    canvas = make_canvas(layout(), 24)
    shares = torch.zeros(24 * 24).index_add_(0, canvas.cells, canvas.share)
    full = torch.zeros(24 * 24, dtype=torch.bool)
    full[canvas.cells] = True
    torch.testing.assert_close(shares, full.float())
    assert len(canvas.sites) == int(full.sum()) and (canvas.sites.diff() > 0).all()
    assert torch.equal(canvas.cells[canvas.sites], canvas.site_cells)
    for index in range(0, len(layout()), 53):
        assert int(canvas.cells[index]) == int(layout().rows[index]) // 2 * 24 + int(layout().columns[index]) // 2


def test_unseen_skin_takes_the_mirrored_side_then_its_surroundings() -> None:
    head = person().avatar.head
    prior = surface_prior(head, layout(), 24)
    points = layout().surface_points(head.template, head.faces)
    left = points[:, 0] > 0
    colors = torch.where(left, 0.8, 0.1)[None, None, None].expand(1, 1, 3, -1)
    candidates = candidate_colors(colors, left.float()[None, None], prior, prior.canvas.cells, prior.canvas.share)
    base = (candidates.log_weights.softmax(-1)[..., None] * candidates.colors).sum(-2)[0]
    assert float((base[left] - 0.8).abs().max()) < 1e-3
    far = (points[:, 0] < -0.02) & prior.is_skin
    assert float((base[far] - 0.8).abs().mean()) < 0.02
    nothing = candidate_colors(colors, torch.zeros(1, 1, len(points)), prior, prior.canvas.cells, prior.canvas.share)
    assert nothing.colors.isfinite().all() and nothing.log_weights.isfinite().all()


def test_the_shell_in_closed_form_meets_the_outline_of_hair() -> None:
    """Mattes of a head with 2.5 cm of hair: the shell must lie close to that; of a bald head, close to none."""
    made = person()
    avatar, sequence = made.avatar, made.sequence
    prior = surface_prior(avatar.head, layout(), 24)
    truth = push_out(prior.shell, torch.full((len(prior.shell.mirror),), 0.025))
    found = {}
    for name, amount in (("hair", truth), ("bald", torch.zeros_like(truth))):
        views = []
        for frame in (0, 1, 3):
            camera = sequence.camera(frame).scaled(2.0)
            vertices = avatar.vertices(sequence.motion[frame])
            gaussians = base_geometry(prior, amount)
            with torch.no_grad():
                world = type(avatar)(avatar.head, layout(), avatar.identity, gaussians).pose(sequence.motion[frame])
                views.append((vertices, camera, render(world, camera).alpha))
        found[name] = shell_from_outlines(prior, avatar.head, views)
    scalp = prior.shell.mask > 0.9
    # The outline tells only of the directions along it; the rest follows by smoothness, towards what is usual.
    assert float((found["hair"] - truth)[scalp].abs().median()) < 0.01
    assert float(found["bald"][scalp].median()) < 0.006
    assert (found["hair"][prior.shell.mask == 0] == 0).all()


def test_the_unseen_back_of_a_head_takes_the_hair_s_colour_and_ears_do_not() -> None:
    """Dark above the forehead and light in the face, seen from the front: the back is dark, the ears are light."""
    head = person().avatar.head
    prior = surface_prior(head, layout(), 24)
    points = layout().surface_points(head.template, head.faces)
    tells = prior.hair[:, 1] > 0.1
    colors = torch.where(tells, 0.1, 0.7)[None, None, None].expand(1, 1, 3, -1)
    front = (points[:, 2] > 0.02).float()[None, None]
    candidates = candidate_colors(colors, front, prior, prior.canvas.cells, prior.canvas.share)
    base = (candidates.log_weights.softmax(-1)[..., None] * candidates.colors).sum(-2)[0]
    back = prior.is_skin & (points[:, 2] < -0.05) & (prior.hair[:, 0] > 0.9)
    assert int(back.sum()) > 50 and float(base[back].mean()) < 0.25
    ears = (prior.shell.mask > 0.5) & (prior.hair[:, 0] < 0.1) & (points[:, 1] > points[:, 1].median())
    ears &= front[0, 0] == 0
    assert float(base[ears].mean()) > 0.5
    bald = candidate_colors(colors, front * ~tells, prior, prior.canvas.cells, prior.canvas.share)
    assert float(bald.colors[0, back, 2].mean()) > 0.5
