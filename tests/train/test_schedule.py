"""Rates and temperatures at the places that define them."""

import math
from dataclasses import replace

import pytest

from spatialavatar.train.config import DrawConfig, ScheduleConfig, phase1, phase2
from spatialavatar.train.schedule import rate_factor, temperature


def test_phase_1_falls_linearly_over_160k_steps_and_stays() -> None:
    config = phase1()
    schedule, total = config.optimiser.schedule, config.steps
    values = [rate_factor(step, total, schedule) for step in (0, 80_000, 160_000, 199_999)]
    assert values == pytest.approx([1.0, 0.55, 0.1, 0.1])


def test_phase_2_warms_up_and_follows_a_cosine_to_zero() -> None:
    config = phase2()
    schedule, total = config.optimiser.schedule, config.steps
    warm = schedule.warm_up_steps
    assert rate_factor(0, total, schedule) == pytest.approx(1 / (warm + 1))
    assert rate_factor(warm, total, schedule) == pytest.approx(1.0)
    assert rate_factor((total + warm) // 2, total, schedule) == pytest.approx(0.5, abs=1e-3)
    assert rate_factor(total, total, schedule) == pytest.approx(0.0, abs=1e-9)


def test_constant_and_cosine_of_table_7() -> None:
    assert rate_factor(150_000, 200_000, ScheduleConfig(shape="constant")) == 1
    cosine = ScheduleConfig(shape="cosine")
    expected = 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * 0.25))
    assert rate_factor(40_000, 200_000, cosine) == pytest.approx(expected)


def test_the_temperature_falls_over_the_first_quarter() -> None:
    config = DrawConfig()
    values = [temperature(step, 1000, config) for step in (0, 125, 250, 999)]
    assert values == pytest.approx([2.0, 1.25, 0.5, 0.5])
    assert temperature(0, 1000, replace(config, annealed=0.0)) == 2.0


def test_the_papers_numbers() -> None:
    one, two = phase1(), phase2()
    assert (one.optimiser.kind, one.optimiser.learning_rate, one.batch, one.optimiser.clip_norm) == (
        *("adam", 2.5e-4, 48),
        5.0,
    )
    assert (one.steps, one.precision, one.loss.shrinkage, one.loss.jacobian) == (200_000, "fp32", 0.0, 0.1)
    assert (two.optimiser.kind, two.optimiser.learning_rate, two.batch, two.precision) == ("adamw", 1e-4, 12, "bf16")
    assert (two.optimiser.layer_decay, two.optimiser.anchor, two.draw.cross_time) == (0.65, 1e-3, 0.25)
    assert two.loss.shrinkage == 1e-2
