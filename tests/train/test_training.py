"""The loop: resumes to the last digit, many processes equal one, it learns, and every switch reaches what it names."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import spatialavatar.train.run as run_module
from spatialavatar.errors import UserError
from spatialavatar.generate.sources import erode
from spatialavatar.head.open_head import load_open_head
from spatialavatar.sequence.folder import write_sequence
from spatialavatar.train.anchor import add_anchor_gradient_, anchor_loss
from spatialavatar.train.config import as_json, digest, from_json, phase2
from spatialavatar.train.engine import Run, Training
from spatialavatar.train.loose_mattes import loosened
from spatialavatar.train.optimiser import encoder_depth, rate_scales
from spatialavatar.train.processes import Processes
from spatialavatar.train.recipes import compact_phase2
from spatialavatar.train.run_folder import LOSSES, RunFolder
from spatialavatar.train.validation import make_cases, score, score_texture_start, split_clip
from tests.generate.small import layout
from tests.train.small import SMALL_TRAINING, MemorySubject, painted, surrounded, training


def made(config=SMALL_TRAINING, **options: object) -> Training:  # type: ignore[no-untyped-def]
    return training(config, **options)


def losses(folder: Path) -> list[dict[str, float]]:
    lines = RunFolder(folder).lines(LOSSES)
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def run_in(folder: Path, config=SMALL_TRAINING, until: int | None = None, resume: bool = False) -> Run:  # type: ignore[no-untyped-def]
    files = RunFolder(folder)
    run = Run(made(config), files)
    if resume:
        run.resume()
    else:
        files.create()
    run.go(until)
    return run


def test_a_stopped_run_goes_on_to_the_same_numbers(tmp_path: Path) -> None:
    whole = run_in(tmp_path / "whole")
    run_in(tmp_path / "parts", until=4)
    parts = run_in(tmp_path / "parts", resume=True)
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert len(losses(tmp_path / "whole")) == SMALL_TRAINING.steps
    for name, value in whole.training.generator.state_dict().items():
        assert torch.equal(value, parts.training.generator.state_dict()[name]), name
    assert (tmp_path / "parts" / "generator.safetensors").exists()
    assert (tmp_path / "parts" / "previews" / "000004.png").exists()


def test_a_killed_run_repeats_the_steps_since_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_in(tmp_path / "whole")
    files = RunFolder(tmp_path / "killed")
    files.create()
    run = Run(made(), files)
    advance = run.training.advance

    def killed(items):  # type: ignore[no-untyped-def]
        if run.training.step == 5:  # two steps after the checkpoint, in the middle of a step
            raise SystemExit("killed")
        return advance(items)

    monkeypatch.setattr(run.training, "advance", killed)
    with pytest.raises(SystemExit):
        run.go()
    assert len(losses(tmp_path / "killed")) == 5
    run_in(tmp_path / "killed", resume=True)
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")


def test_ctrl_c_lets_the_step_end_and_saves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = RunFolder(tmp_path / "stopped")
    files.create()
    run = Run(made(), files)
    advance = run.training.advance

    def interrupted(items):  # type: ignore[no-untyped-def]
        if run.training.step == 1:
            signal.raise_signal(signal.SIGINT)
        return advance(items)

    monkeypatch.setattr(run.training, "advance", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.go()
    assert len(losses(tmp_path / "stopped")) == 2  # no checkpoint was due yet
    run_in(tmp_path / "stopped", resume=True)
    assert len(losses(tmp_path / "stopped")) == SMALL_TRAINING.steps


def test_logging_in_windows_survives_a_stop_within_one(tmp_path: Path) -> None:
    config = replace(SMALL_TRAINING, log_every=3, steps=6)
    run_in(tmp_path / "whole", config)
    run_in(tmp_path / "parts", config, until=2)
    run_in(tmp_path / "parts", config, resume=True)
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")


def test_the_parts_of_a_batch_add_up() -> None:
    config = replace(SMALL_TRAINING, batch=4)
    together, apart = made(config), made(replace(config, micro_batch=1))
    items = [together.maker.make(0, number) for number in range(4)]
    together.accumulate(items)
    values = apart.accumulate(items)
    assert values["loss"] == pytest.approx(together.accumulate(items)["loss"], rel=1e-5)
    together.optimiser.zero_grad()
    together.accumulate(items)
    for (name, a), (_, b) in zip(
        together.generator.named_parameters(), apart.generator.named_parameters(), strict=True
    ):
        if a.grad is not None and b.grad is not None:
            # The same float32 sums in another order.
            assert torch.allclose(a.grad, b.grad, rtol=1e-3, atol=1e-4 * float(a.grad.abs().max()) + 1e-9), name


PROCESS = """
import sys, torch
from dataclasses import replace
from safetensors.torch import save_file
from spatialavatar.train.processes import started
from tests.train.small import SMALL_TRAINING, training
torch.set_num_threads(1)
with started("cpu") as processes:
    one = training(SMALL_TRAINING, processes=processes)
    items = [one.maker.make(0, number) for number in one.share]
    assert len(items) == SMALL_TRAINING.batch // processes.world
    values = processes.average(one.accumulate(items))
    processes.average_gradients_(one.generator)
    grads = {n: p.grad for n, p in one.generator.named_parameters() if p.grad is not None}
    if processes.first:
        save_file(grads | {"loss": torch.tensor(values["loss"])}, sys.argv[1])
"""


def test_two_processes_have_the_gradients_of_one(tmp_path: Path) -> None:
    pytest.importorskip("torch.distributed")
    root = Path(__file__).parents[2]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    script = tmp_path / "process.py"
    script.write_text(PROCESS)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    done = subprocess.run(
        [*command, str(tmp_path / "two.safetensors")], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    from safetensors.torch import load_file

    two = load_file(tmp_path / "two.safetensors")
    one = made()
    values = one.accumulate([one.maker.make(0, number) for number in range(SMALL_TRAINING.batch)])
    assert float(two.pop("loss")) == pytest.approx(values["loss"], rel=1e-5)
    expected = {name: value.grad for name, value in one.generator.named_parameters() if value.grad is not None}
    for name, gradient in expected.items():
        found = two.get(name, torch.zeros_like(gradient))
        # Float32 sums over two items, in one batch or in two: the last digits differ.
        assert torch.allclose(found, gradient, rtol=1e-3, atol=1e-4 * float(gradient.abs().max()) + 1e-9), name


def test_a_batch_is_shared_out_evenly_or_not_at_all() -> None:
    assert [list(Processes(rank, 2).share(6)) for rank in (0, 1)] == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(UserError, match="batch of 5 does not divide among 2"):
        Processes(0, 2).share(5)


def test_it_learns_one_subject_and_beats_the_texture_start() -> None:
    config = replace(SMALL_TRAINING, batch=1, steps=40)
    subject = painted(2, 12)
    one = Training(config, [subject], load_open_head(), layout())
    cases = make_cases([subject], load_open_head(), layout(), config, targets=3)
    start = score_texture_start(cases, load_open_head(), layout(), (1,))["psnr_k1"]
    before = score(one.generator, cases, (1,))["psnr_k1"]
    for step in range(config.steps):
        one.advance([one.maker.make(step, 0)])
    after = score(one.generator, cases, (1,))["psnr_k1"]
    assert after > before + 1
    assert after > start + 1


def test_l2_sp_pulls_towards_where_it_started() -> None:
    config = replace(SMALL_TRAINING, optimiser=replace(SMALL_TRAINING.optimiser, anchor=1e-1))
    weights = {name: value.clone() for name, value in made().generator.state_dict().items()}
    free, held = made(start=weights), made(config, start=weights)
    for step in range(6):
        for one in (free, held):
            one.advance([one.maker.make(step, number) for number in range(2)])
    away = [float(anchor_loss(one.generator.named_parameters(), weights).detach()) for one in (free, held)]
    assert 0 < away[1] < away[0]


def test_the_anchors_gradient_is_its_losses() -> None:
    layer = torch.nn.Linear(3, 2).double()
    anchor = {name: torch.randn_like(value) for name, value in layer.named_parameters()}
    (0.7 * anchor_loss(layer.named_parameters(), anchor)).backward()
    expected = {name: value.grad.clone() for name, value in layer.named_parameters() if value.grad is not None}
    layer.zero_grad()
    value = add_anchor_gradient_(layer.named_parameters(), anchor, 0.7)
    assert value == pytest.approx(float(anchor_loss(layer.named_parameters(), anchor)))
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None and torch.allclose(parameter.grad, expected[name])


def test_layers_nearer_the_picture_move_slower() -> None:
    assert encoder_depth("encoder.backbone.model.layer.7.attention.weight") == 8
    assert encoder_depth("encoder.enter.weight") == encoder_depth("encoder.backbone.embeddings.cls_token") == 0
    assert encoder_depth("encoder.smooth.weight") is None and encoder_depth("unet.down.1.reduce.weight") is None
    optimiser = replace(phase2().optimiser, equalised=())
    generator = made().generator
    scales = rate_scales(generator, optimiser)
    blocks = len(generator.config.encoder_widths) - 1
    assert scales["encoder.enter.weight"] == pytest.approx(0.65 ** (blocks + 1))
    assert scales[f"encoder.down.{blocks - 1}.reduce.weight"] == pytest.approx(0.65)
    assert scales["encoder.smooth.weight"] == scales["unet.leave.weight"] == scales["heads.first.weight"] == 1
    assert set(rate_scales(generator, replace(optimiser, layer_decay=1.0)).values()) == {1.0}


def test_equalised_weights_move_by_their_fan_in() -> None:
    generator = made().generator
    scales = rate_scales(generator, replace(phase2().optimiser, layer_decay=1.0, equalised=("unet",)))
    weight = generator.unet.bottom.convolve.weight
    assert scales["unet.bottom.convolve.weight"] == pytest.approx(1 / math.sqrt(weight[0].numel()))
    assert scales["unet.bottom.convolve.bias"] == scales["encoder.smooth.weight"] == 1


def test_the_running_mean_is_what_is_scored() -> None:
    one = made(replace(SMALL_TRAINING, optimiser=replace(SMALL_TRAINING.optimiser, average=0.9)))
    name, parameter = next(iter(one.generator.named_parameters()))
    for step in range(3):
        one.advance([one.maker.make(step, number) for number in range(2)])
    own = parameter.detach().clone()
    with one.averaged() as generator:
        assert torch.equal(dict(generator.named_parameters())[name], one.average[name])
        assert not torch.equal(one.average[name], own)
    assert torch.equal(parameter, own)


@pytest.mark.parametrize("term", ["l1", "ms_ssim", "box", "tv_position", "tv_log_scale", "jacobian", "shrinkage"])
def test_each_weight_switches_its_term(term: str) -> None:
    one = made(replace(SMALL_TRAINING, loss=replace(SMALL_TRAINING.loss, shrinkage=1e-2)))
    items = [one.maker.make(0, 0)]
    with_all = one.objective.terms(items, 0, [0])
    assert term in with_all.values
    loss = replace(one.config.loss, **{term: 0.0})
    without = made(replace(one.config, loss=loss)).objective.terms(items, 0, [0])
    assert set(with_all.values) - set(without.values) == {term}
    total = sum(float(getattr(loss, name) * value) for name, value in without.values.items() if name != "psnr")
    assert float(without.weighted(loss)) == pytest.approx(total, rel=1e-5)


def test_the_jacobian_penalty_makes_geometry_independent_of_the_view() -> None:
    """Heads with random weights, trained on the penalty alone: the view moves positions and scales ever less."""
    only = replace(SMALL_TRAINING.loss, l1=0.0, ms_ssim=0.0, box=0.0, tv_position=0.0, tv_log_scale=0.0, jacobian=1.0)
    one = made(replace(SMALL_TRAINING, loss=only, optimiser=replace(SMALL_TRAINING.optimiser, learning_rate=2e-2)))
    torch.manual_seed(0)
    with torch.no_grad():
        for layer in one.generator.heads.second.values():
            layer.weight.normal_(std=0.3)
    item = one.maker.make(0, 0)

    def moved_by_the_view() -> float:
        with torch.no_grad():
            features = one.generator.encode(item.sources)
            conditions = item.targets[0].condition[None]
            sides = [
                one.generator.decode(
                    features, torch.nn.functional.normalize(torch.tensor([[x, 0.0, -1.0]])), conditions
                )
                for x in (-0.3, 0.3)
            ]
            parts = [(side.position_offsets, side.log_scale_offsets) for side in sides]
            return sum(float((a - b).abs().mean()) for a, b in zip(*parts, strict=True))

    before = moved_by_the_view()
    for _ in range(12):
        one.advance([item])
    assert before > 1e-3
    assert moved_by_the_view() < 0.5 * before


def test_switches_of_the_generator_reach_it() -> None:
    config = replace(SMALL_TRAINING, loss=replace(SMALL_TRAINING.loss, shrinkage=1e-2))
    plain = made(replace(config, generator=replace(config.generator, residual=False, view_code=False)))
    terms = plain.objective.terms([plain.maker.make(0, 0)], 0, [0])
    assert "shrinkage" not in terms.values and "jacobian" not in terms.values
    assert plain.generator.residual is None
    attention = made(replace(config, generator=replace(config.generator, pool="attention")))
    assert any(name.startswith("pool.") for name, _ in attention.generator.named_parameters())


def test_lpips_is_used_when_it_is_there() -> None:
    config = replace(SMALL_TRAINING, loss=replace(SMALL_TRAINING.loss, lpips=100.0))
    stand_in = lambda images, targets: (images - targets).abs().amax(dim=(1, 2, 3))  # noqa: E731
    items = [made().maker.make(0, 0)]
    assert "lpips" in made(config, perceptual=stand_in).objective.terms(items, 0, [0]).values
    assert "lpips" not in made(config).objective.terms(items, 0, [0]).values
    assert "lpips" not in made(perceptual=stand_in).objective.terms(items, 0, [0]).values


def one_folder(folder: Path) -> Path:
    """A set of one painted head."""
    (sequence,) = painted(0).cameras
    folder.mkdir()
    indices = range(len(sequence))
    images, mattes = [sequence.image(i) for i in indices], [sequence.matte(i) for i in indices]
    write_sequence(sequence, folder / "person.tracked", images, mattes)
    return folder


def test_a_training_that_wants_lpips_stops_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise UserError("its weights are missing.", hint="Install the extra eval.")

    monkeypatch.setattr(run_module, "load_lpips", missing)
    config = replace(SMALL_TRAINING, loss=replace(SMALL_TRAINING.loss, lpips=100.0), steps=1)
    with pytest.raises(UserError, match=r"(?s)LPIPS is part of this loss.*no-require-lpips"):
        run_module.train(config, tmp_path / "run", [one_folder(tmp_path / "set")])
    assert not (tmp_path / "run").exists()


def test_total_variation_is_of_local_geometry_or_of_its_offsets() -> None:
    found = {}
    for kind in ("local", "offsets"):
        one = made(replace(SMALL_TRAINING, loss=replace(SMALL_TRAINING.loss, tv_of=kind, tv_position=1.0)))
        found[kind] = float(one.objective.terms([one.maker.make(0, 0)], 0, [0]).values["tv_position"])
    # The untrained heads emit nothing: offsets are flat, and what is left is the base geometry's own.
    assert found["offsets"] == 0 and found["local"] > 1e-3


def test_pictures_are_changed_alike_and_only_when_asked() -> None:
    plain, changed = made(), made(replace(SMALL_TRAINING, image=replace(SMALL_TRAINING.image, color_augmentation=1.0)))
    a, b = plain.maker.make(3, 0), changed.maker.make(3, 0)
    assert a.draw == b.draw and torch.equal(a.targets[0].background, b.targets[0].background)
    assert not torch.allclose(a.targets[0].picture, b.targets[0].picture)
    assert not torch.allclose(a.sources.images, b.sources.images)
    # Where the matte is empty nothing changes.
    empty = (a.sources.mattes == 0).expand_as(a.sources.images)
    assert torch.allclose(a.sources.images[empty], b.sources.images[empty])
    shifted = made(replace(SMALL_TRAINING, image=replace(SMALL_TRAINING.image, source_shift=0.05))).maker.make(3, 0)
    offset = shifted.sources.pixels - a.sources.pixels
    assert float(offset.abs().max()) > 0.1 and torch.allclose(offset, offset[:, :, :1].expand_as(offset), atol=1e-4)


def test_mattes_of_sources_are_loosened_only_when_asked() -> None:
    """Sources' mattes move out or in; what they are compared with stays exact, and so does everything drawn."""
    exact = made().maker.make(3, 0)
    loose = made(replace(SMALL_TRAINING, image=replace(SMALL_TRAINING.image, source_matte=0.05))).maker.make(3, 0)
    assert exact.draw == loose.draw and torch.equal(exact.targets[0].picture, loose.targets[0].picture)
    assert float((exact.sources.mattes - loose.sources.mattes).abs().max()) > 0.5


def test_a_loose_matte_reaches_as_far_as_it_says() -> None:
    (sequence,) = painted(0).cameras
    exact = sequence.matte(0).float()
    assert loosened(sequence, 0.0) is sequence
    wide, narrow = (loosened(sequence, offset).matte(0).float() for offset in (1.0, -1.0))
    assert torch.equal(narrow, erode(exact, 1)) and torch.equal(wide, 255 - erode(255 - exact, 1))
    between = loosened(sequence, 0.5).matte(0).float()
    assert torch.allclose(between, (exact + wide) / 2, atol=0.51)
    assert torch.equal(loosened(sequence, 2.0).image(0), sequence.image(0))


def test_the_configuration_survives_json() -> None:
    for config in (SMALL_TRAINING, phase2(), compact_phase2()):
        assert from_json(json.loads(json.dumps(as_json(config)))) == config
    assert digest(SMALL_TRAINING) == digest(replace(SMALL_TRAINING, log_every=7, workers=3))
    assert digest(SMALL_TRAINING) != digest(replace(SMALL_TRAINING, seed=7))


def test_a_configuration_of_another_version_is_named() -> None:
    tree = as_json(SMALL_TRAINING)
    with pytest.raises(UserError, match=r"config\.loss\.l3' is not known"):
        from_json({**tree, "loss": {**tree["loss"], "l3": 1.0}})
    with pytest.raises(UserError, match=r"config\.seed' is missing"):
        from_json({key: value for key, value in tree.items() if key != "seed"})
    with pytest.raises(UserError, match=r"config\.batch' is 'many'"):
        from_json({**tree, "batch": "many"})


def test_bad_runs_are_named(tmp_path: Path) -> None:
    run_in(tmp_path / "run", until=3)
    RunFolder(tmp_path / "run").write("config.json", {})
    with pytest.raises(UserError, match="a run is in this folder already"):
        RunFolder(tmp_path / "run").create()
    with pytest.raises(UserError, match="another run: config was"):
        run_in(tmp_path / "run", replace(SMALL_TRAINING, seed=1), resume=True)
    other = replace(painted(0).cameras[0], head_edition="open-head-1-000000000000")
    with pytest.raises(UserError, match="tracked with the head open-head-1-000000000000"):
        Training(SMALL_TRAINING, [MemorySubject("strange", (other,))], load_open_head(), layout())
    (tmp_path / "run" / "checkpoint.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match="not a training checkpoint"):
        run_in(tmp_path / "run", resume=True)
    (tmp_path / "run" / "checkpoint.safetensors").unlink()
    with pytest.raises(UserError, match="no checkpoint to resume from"):
        run_in(tmp_path / "run", resume=True)
    with pytest.raises(UserError, match="there are none"):
        made(replace(SMALL_TRAINING, optimiser=replace(SMALL_TRAINING.optimiser, anchor=1e-3)))


def test_held_out_clips_are_split_without_overlap() -> None:
    sources, targets = split_clip(12, 4)
    assert sources[0] == 0 and len(set(sources + targets)) == 8
    with pytest.raises(ValueError, match="7 frames are fewer"):
        split_clip(7, 4)


def test_phase_2_trains_on_several_cameras() -> None:
    config = replace(
        SMALL_TRAINING,
        loss=replace(SMALL_TRAINING.loss, shrinkage=1e-2),
        draw=replace(SMALL_TRAINING.draw, phase="multiview"),
        optimiser=replace(SMALL_TRAINING.optimiser, kind="adamw", anchor=1e-3, layer_decay=0.65),
    )
    weights = made().generator.state_dict()
    one = Training(config, [surrounded()], load_open_head(), layout(), start=weights)
    values = one.advance([one.maker.make(0, number) for number in range(2)])
    assert math.isfinite(values["loss"]) and values["shrinkage"] >= 0 and "anchor" in values


def test_a_target_drawn_larger_is_compared_at_its_own_size() -> None:
    """At twice the size the picture is averaged down, so that it nears the one that is drawn at once, but is not it."""
    image = SMALL_TRAINING.image
    plain, large = (
        made(replace(SMALL_TRAINING, image=replace(image, oversampling=factors))) for factors in ((1,), (2,))
    )
    item, larger = plain.maker.make(0, 0), large.maker.make(0, 0)
    assert torch.equal(item.targets[0].picture, larger.targets[0].picture)  # the draws are the same
    assert (larger.targets[0].camera.width, larger.targets[0].camera.height) == (128, 128)
    small = plain.objective.terms([item], 0, [0]).pictures[0][0]
    averaged = large.objective.terms([larger], 0, [0]).pictures[0][0]
    assert small.shape == averaged.shape == (3, 64, 64)
    # The low pass of 0.3 pixels is half as wide on the averaged one: no more than a difference of sharpness.
    assert 1e-4 < float((small - averaged).abs().mean()) < 0.02
    mixed = made(replace(SMALL_TRAINING, image=replace(image, oversampling=(1, 2))))
    drawn = {mixed.maker.make(step, 0).targets[0].camera.width for step in range(8)}
    assert drawn == {64, 128}
