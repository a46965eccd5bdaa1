import statistics

import pytest

from benchmarks.noise import noise_line
from benchmarks.stage2 import seeded, variants
from spatialavatar.refine.config import RefineConfig


def test_every_variant_runs_with_every_seed() -> None:
    runs = list(seeded(variants(RefineConfig(seed=5), True), 3))
    assert len(runs) == 12
    assert {(variant, config.seed) for variant, _, config in runs if variant == "no-clamp"} == {
        ("no-clamp", 5),
        ("no-clamp", 6),
        ("no-clamp", 7),
    }
    assert {config.anti_spike.clamp for variant, _, config in runs if variant == "no-clamp"} == {False}


def test_the_noise_of_held_out_scores_is_said() -> None:
    values = [30.0, 30.2, 30.4]
    scores = [{"psnr": value, "psnr_above_chin": None, "ssim": 0.9} for value in values]
    assert statistics.stdev(values) == pytest.approx(0.2)
    assert noise_line("me.blocks", scores) == "me.blocks: over 3 seeds, psnr 30.200 +- 0.200, ssim 0.90000 +- 0.00000"
    assert "not known" in noise_line("me.blocks", scores[:1])
