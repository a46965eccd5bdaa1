"""The whole generator: one to four sources in any order, gradients, bounds, and untrained about the texture start."""

from dataclasses import fields, replace

import pytest
import torch

from spatialavatar.avatar.avatar import Avatar
from spatialavatar.errors import UserError
from spatialavatar.generate.feed_forward import generate_avatar
from spatialavatar.generate.generator import Generator, GeneratorOutput, local_gaussians, neutral_gaussians
from spatialavatar.generate.inputs import Sources, base_geometry
from spatialavatar.generate.texture_start import texture_start
from spatialavatar.generate.view_code import view_code
from spatialavatar.refine.held_out import score
from tests.generate.small import CONDITION, FRONT, SMALL, layout, person, small_generator
from tests.synthetic import greyed


@pytest.fixture(scope="module")
def generator() -> Generator:
    return small_generator()


@pytest.fixture(scope="module")
def trained() -> Generator:
    return small_generator(trained=True)


def passed(generator: Generator, frames: list[int], condition: torch.Tensor | None = None) -> GeneratorOutput:
    sources = generator.prepare([(person().sequence, frame) for frame in frames])
    condition = torch.zeros(1, CONDITION) if condition is None else condition
    with torch.no_grad():
        return generator(sources, FRONT, condition)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_one_to_four_sources(trained: Generator, count: int) -> None:
    output = passed(trained, list(range(count)))
    expected = {"positions": 3, "quaternions_wxyz": 4, "log_scales": 3, "colors": 3}
    for name, width in expected.items():
        value = getattr(output.local, name)
        assert value.shape == (1, len(layout()), width) and value.isfinite().all()
    assert output.local.opacity_logits.shape == (1, len(layout()))
    assert ((output.local.colors >= 0) & (output.local.colors <= 1)).all()


def test_the_order_of_sources_does_not_matter(trained: Generator) -> None:
    forth, back = passed(trained, [0, 1, 3]), passed(trained, [3, 0, 1])
    for item in fields(forth.local):
        # 1e-4: sums over the sources in another order, through a dozen layers of float32.
        torch.testing.assert_close(
            getattr(forth.local, item.name), getattr(back.local, item.name), atol=1e-4, rtol=1e-4
        )


def test_the_same_source_twice_is_one_source(trained: Generator) -> None:
    for pool in ("mean", "visibility", "attention"):
        model = small_generator(replace(SMALL, pool=pool), trained=True)
        once, twice = passed(model, [1]), passed(model, [1, 1])
        torch.testing.assert_close(once.local.positions, twice.local.positions, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("count", [0, 5])
def test_no_sources_and_five_are_refused(generator: Generator, count: int) -> None:
    with pytest.raises(UserError, match=f"1 to 4 pictures of one person; it was given {count}"):
        generate_avatar(person().sequence, generator, [0] * count)


def test_untrained_it_is_about_the_texture_start(generator: Generator) -> None:
    made = person()
    head = made.avatar.head
    start = texture_start(made.sequence, head, layout(), [0, 1, 3], shell=False)
    avatar = generate_avatar(made.sequence, generator, [0, 1, 3])
    frames = list(range(5))
    texture, untrained = score(start.avatar, made.sequence, frames).psnr, score(avatar, made.sequence, frames).psnr
    grey = score(greyed(made.avatar), made.sequence, frames).psnr
    # It fills by means instead of by a smooth solution: within 1.5 dB, and far above no colours at all.
    assert untrained > texture - 1.5 and untrained > grey + 4, (untrained, texture, grey)


def test_untrained_it_emits_the_base_geometry(generator: Generator) -> None:
    sources = generator.prepare([(person().sequence, 0)])
    with torch.no_grad():
        output = generator(sources, FRONT, torch.randn(1, CONDITION))
    base = base_geometry(generator.prior, sources.shell[0])
    torch.testing.assert_close(output.local.positions[0], base.positions)
    torch.testing.assert_close(output.local.log_scales[0], base.log_scales)
    assert all(bool((value == 0).all()) for value in output.residuals.values())


def test_the_same_input_gives_the_same_bits(trained: Generator) -> None:
    first, second = passed(trained, [0, 2]), passed(trained, [0, 2])
    assert torch.equal(first.local.positions, second.local.positions)
    assert torch.equal(first.local.colors, second.local.colors)


def test_a_batch_is_its_members(trained: Generator) -> None:
    one, other = (trained.prepare([(person().sequence, frame)]) for frame in (0, 3))
    conditions, views = torch.randn(2, CONDITION), torch.nn.functional.normalize(torch.randn(2, 3), dim=1)
    with torch.no_grad():
        both = trained(Sources.cat([one, other]), views, conditions)
        alone = trained(other, views[1:], conditions[1:])
    # 1e-4: batched matrix products sum in another order.
    torch.testing.assert_close(both.local.positions[1:], alone.local.positions, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(both.local.colors[1:], alone.local.colors, atol=1e-4, rtol=1e-4)


def test_positions_and_scales_keep_their_bounds() -> None:
    model = small_generator(trained=True)
    with torch.no_grad():
        for parameter in model.heads.parameters():
            parameter.mul_(100)
    output = passed(model, [0])
    away = output.position_offsets[0]
    hairless = model.scalp == 0
    assert float(away[hairless].abs().max()) <= SMALL.position_bound
    reach = away.norm(dim=1) / model.outward.norm(dim=1).clamp_min(1e-6)
    in_plane = SMALL.position_bound * 3**0.5 / model.outward.norm(dim=1).clamp_min(1e-6)
    assert (reach <= SMALL.hair_bound + in_plane + 1e-6).all()
    assert float(output.log_scale_offsets.abs().max()) <= SMALL.scale_bound


def test_residuals_change_everything_but_opacity(trained: Generator) -> None:
    still, moving = passed(trained, [0]), passed(trained, [0], torch.full((1, CONDITION), 0.3))
    assert torch.equal(still.local.opacity_logits, moving.local.opacity_logits)
    assert torch.equal(still.neutral.positions, moving.neutral.positions)
    for name in ("positions", "quaternions_wxyz", "log_scales", "colors"):
        assert not torch.equal(getattr(still.local, name), getattr(moving.local, name)), name


def test_switches() -> None:
    plain = small_generator(replace(SMALL, residual=False, view_code=False, cues=False, hair_bound=0.0), trained=True)
    sources = plain.prepare([(person().sequence, 0)])
    assert not sources.shell.any()
    with torch.no_grad():
        front = plain(sources, FRONT, torch.zeros(1, CONDITION))
        back = plain(sources, -FRONT, torch.ones(1, CONDITION))
    assert torch.equal(front.local.colors, back.local.colors) and front.residuals == {}


def test_the_view_changes_the_picture_and_twice_differentiably(trained: Generator) -> None:
    sources = trained.prepare([(person().sequence, 0)])
    features = trained.encode(sources)
    gamma = view_code(FRONT).requires_grad_()
    output = trained.decode_from_code(features, gamma, torch.zeros(1, CONDITION))
    (gradient,) = torch.autograd.grad(output.position_offsets.sum(), gamma, create_graph=True)
    assert gradient.abs().sum() > 0
    gradient.square().sum().backward()
    assert trained.heads.view is not None and trained.heads.view.weight.grad is not None
    assert trained.heads.view.weight.grad.abs().sum() > 0
    trained.zero_grad()


def test_every_weight_learns(trained: Generator) -> None:
    """A gradient reaches every weight (of a generator whose zero-initialised layers have moved)."""
    sources = trained.prepare([(person().sequence, 0), (person().sequence, 2)])
    output = trained(sources, FRONT, torch.randn(1, CONDITION))
    loss = sum((getattr(output.local, item.name) * torch.randn(())).square().sum() for item in fields(output.local))
    torch.as_tensor(loss).backward()
    without = [name for name, value in trained.named_parameters() if value.grad is None or not value.grad.any()]
    trained.zero_grad()
    assert not without


def test_the_avatar_is_what_the_generator_emits(trained: Generator) -> None:
    made = person()
    avatar: Avatar = generate_avatar(made.sequence, trained, [0, 2])
    motion = made.sequence.motion[3]
    sources = trained.prepare([(made.sequence, 0), (made.sequence, 2)])
    with torch.no_grad():
        view = made.sequence.camera_from_world[:1, :3, 2]
        output = trained(sources, view, motion.condition())
    assert torch.equal(avatar.gaussians.positions, neutral_gaussians(output).positions)
    found, expected = avatar.local(motion), local_gaussians(output)
    # The avatar keeps its UV map in float16: 5e-4 of values of order 1, times weights of order 0.1.
    torch.testing.assert_close(found.positions, expected.positions, atol=2e-3, rtol=0)
    torch.testing.assert_close(found.colors, expected.colors, atol=2e-3, rtol=0)


def test_frames_of_another_head_and_without_a_face(generator: Generator) -> None:
    sequence = person().sequence
    with pytest.raises(UserError, match="tracked with the head other"):
        generate_avatar(replace(sequence, head_edition="other"), generator, [0])
    blind = replace(sequence, valid=torch.tensor([True, False, True, True, True]))
    with pytest.raises(UserError, match="frame 00001 shows no face"):
        generate_avatar(blind, generator, [1])
    with pytest.raises(UserError, match="no frame 7"):
        generate_avatar(sequence, generator, [7])


def test_mixed_precision_emits_float32(trained: Generator) -> None:
    sources = trained.prepare([(person().sequence, 0), (person().sequence, 2)])
    with torch.no_grad():
        exact = trained(sources, FRONT, torch.ones(1, CONDITION))
        with torch.autocast("cpu", torch.bfloat16):
            rough = trained(sources, FRONT, torch.ones(1, CONDITION))
    for item in fields(rough.local):
        value = getattr(rough.local, item.name)
        assert value.dtype == torch.float32 and value.isfinite().all(), item.name
    # bfloat16 keeps 8 bits, through a dozen layers: a few per cent of colours between 0 and 1.
    assert float((rough.local.colors - exact.local.colors).abs().mean()) < 0.05
