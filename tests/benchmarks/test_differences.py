"""Cells, noise, and whether two results differ by more than it."""

from __future__ import annotations

import json
import math
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from benchmarks.novel_view_parts.cells import by_person, cells_of, error_shares, noise_of_mean, seed_noise, value
from benchmarks.novel_view_parts.differences import Difference, differences
from benchmarks.novel_view_parts.people import FRONT
from benchmarks.novel_view_parts.tables import against, by_band, causes

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def cell(person: str, seed: int, psnr: float, band: str = "30-45", mode: str = "tracked") -> dict:
    return {
        "person": person,
        "input": "video",
        "seed": seed,
        "mode": mode,
        "band": band,
        "psnr": psnr,
        "psnr_head": psnr,
    }


def result(effect: float, noise: float, people: int = 4, seeds: int = 2, random: int = 0) -> list[dict]:
    """Cells of people who differ by decibels, with an effect, and noise that is each cell's own."""
    drawn = np.random.default_rng(random)
    return [
        cell(f"person_{person}", seed, 15 + 2 * person + effect + noise * drawn.standard_normal())
        for person in range(people)
        for seed in range(seeds)
    ]


def test_rows_become_means_by_mode_and_band() -> None:
    row = {"mode": "tracked", "band": "0-15", "angle": 10.0, "psnr": 20.0, "psnr_face": None}
    rows = [row, {**row, "psnr": 30.0, "psnr_face": 12.0, "angle": 12.0}, {**row, "band": "15-30", "psnr": 1.0}]
    first, second = cells_of(rows, person="p", input="photo", seed=3)
    assert (first["psnr"], first["psnr_face"], first["angle"], first["pictures"]) == (25.0, 12.0, 11.0, 2)
    assert (first["person"], first["input"], first["seed"]) == ("p", "photo", 3)
    assert (second["band"], second["psnr"]) == ("15-30", 1.0) and "psnr_face" not in second


def test_noise_over_seeds_is_pooled_over_people_and_shrinks_in_their_mean() -> None:
    values = by_person([cell("a", 0, 1.0), cell("a", 1, 3.0), cell("b", 0, 10.0), cell("b", 1, 10.0)], "psnr")
    # Sums of squares 2 and 0 with one degree of freedom each.
    assert seed_noise(values) == pytest.approx(1.0)
    assert noise_of_mean(values) == pytest.approx(1.0 * math.sqrt(0.5 + 0.5) / 2)
    assert math.isnan(seed_noise({"a": [1.0], "b": [2.0]}))
    assert value([cell("a", 0, 1.0), cell("a", 1, 3.0), cell("b", 0, 10.0)], band="30-45") == pytest.approx(6.0)


def test_the_interval_is_that_of_a_paired_t_test() -> None:
    first, second = result(0.0, 0.2, seeds=1), result(0.5, 0.2, seeds=1, random=1)
    (found,) = differences(first, second)
    paired = stats.ttest_rel([c["psnr"] for c in second], [c["psnr"] for c in first])
    low, high = paired.confidence_interval(0.95)
    assert found.mean == pytest.approx((low + high) / 2)
    assert found.half_width == pytest.approx((high - low) / 2)
    assert math.isnan(found.seed_noise)
    assert found.above_noise == (paired.pvalue < 0.05)


def test_an_effect_is_told_from_noise() -> None:
    (large,) = differences(result(0.0, 0.05), result(0.5, 0.05, random=1))
    assert large.above_noise and large.better == 4 and large.people == 4 and large.pairs == 8
    (none,) = differences(result(0.0, 0.2), result(0.0, 0.2, random=1))
    assert none.above_noise is False
    (same,) = differences(result(0.0, 0.2), result(0.0, 0.2))
    assert same.mean == 0.0 and same.above_noise is False


def test_chance_rarely_counts() -> None:
    """Of results without an effect at most one in twenty is said to differ, and one in ten is allowed here."""
    said = [
        differences(result(0.0, 0.3, random=2 * k), result(0.0, 0.3, random=2 * k + 1))[0].above_noise
        for k in range(200)
    ]
    assert sum(map(bool, said)) <= 20


def test_seeds_alone_can_hold_a_difference_back() -> None:
    each = Difference("video", "tracked", "0-15", "psnr", 1.0, 1.3, 0.3, 0.1, 0.2, 4, 8, 4)
    assert each.above_noise is False


def test_one_person_with_one_seed_says_nothing() -> None:
    (found,) = differences([cell("a", 0, 1.0)], [cell("a", 0, 2.0)])
    assert found.above_noise is None


def test_only_what_belongs_together_is_compared() -> None:
    first = [cell("a", 0, 1.0), cell("b", 0, 5.0), cell("a", 0, 9.0, mode="shape")]
    second = [cell("a", 0, 2.0), cell("c", 0, 7.0), cell("a", 1, 8.0)]
    (found,) = differences(first, second)
    assert (found.people, found.mean, found.mode) == (1, 1.0, "tracked")


def test_tables_name_every_band_and_mark_what_is_above_the_noise() -> None:
    first = [
        {
            **each,
            "band": band,
            "mode": mode,
            "error_filmed": 2.0,
            "error_unfilmed": 1.0,
            "error_other": 1.0,
            "error_background": 0.0,
        }
        for each in result(0.0, 0.05)
        for band in (FRONT, "30-45")
        for mode in ("tracked", "shape")
    ]
    second = [{**each, "psnr_head": each["psnr_head"] - 1.0} for each in first]
    assert "| video, tracked | front | 30-45 |" in by_band(first, "video")
    assert "| share of the squared error: filmed surface | 0.50 | 0.50 |" in by_band(first, "video")
    assert "| + true expression and body | – | – |" in causes(first, "video")
    assert "| no light (4 people) | **-1.00 ± 0.00** |" in against(first, [("no light", second)], "video")
    shares = error_shares(first, band="30-45")
    assert shares == {"error_filmed": 0.5, "error_unfilmed": 0.25, "error_other": 0.25, "error_background": 0.0}


def test_the_command_says_whether_a_difference_is_above_the_noise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    files = []
    for name, cells in (("a", result(0.0, 0.02)), ("b", result(0.4, 0.02, random=1))):
        files.append(tmp_path / f"{name}.json")
        files[-1].write_text(json.dumps({"benchmark": "novel_views", "cells": cells}), encoding="utf-8")

    def said(*arguments: Path) -> str:
        monkeypatch.setattr(sys, "argv", ["compare.py", *map(str, arguments)])
        runpy.run_path(str(BENCHMARKS / "compare.py"), run_name="__main__")
        return capsys.readouterr().out

    assert "above the noise" in said(*files)
    assert "within the noise" in said(files[0], files[0])
    files[1].write_text("{}", encoding="utf-8")
    with pytest.raises(SystemExit, match="not a result"):
        said(*files)
