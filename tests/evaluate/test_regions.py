"""Regions of a face with known landmarks, and the spike score."""

import numpy as np
import pytest
import torch

from spatialavatar.evaluate.regions import REGIONS, region_masks
from spatialavatar.evaluate.spikes import spike_score
from tests.track.synthetic import SIZE, synthetic


def test_regions_of_a_face_lie_where_they_must() -> None:
    truth = synthetic(1)
    points = truth.observations.landmarks[0]
    matte = torch.from_numpy(truth.mattes["00000"]).float() / 255
    masks = region_masks(points, SIZE, SIZE, matte)
    assert set(masks) == set(REGIONS)
    for name in ("mouth", "eyes"):
        assert bool(masks[name].any())
        assert float((masks[name] & masks["face"]).sum() / masks[name].sum()) > 0.95
    assert not bool((masks["mouth"] & masks["eyes"]).any())
    assert not bool((masks["hair"] & masks["face"]).any()) and bool(masks["hair"].any())
    rows = {name: float(mask.nonzero()[:, 0].float().mean()) for name, mask in masks.items()}
    assert rows["hair"] < rows["eyes"] < rows["face"] < rows["mouth"]
    # A triangle of known corners covers half its box.
    area = 0.5 * abs(_shoelace(points))
    assert float(masks["face"].sum()) == pytest.approx(area, rel=0.03)  # the outline's pixels are in


def _shoelace(points: np.ndarray) -> float:
    from spatialavatar.evaluate.faces import FACE_OVAL

    x, y = points[list(FACE_OVAL), :2].T.astype(np.float64)
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())


def test_without_a_face_or_a_matte_there_is_nothing_to_score() -> None:
    points = np.full((478, 2), np.nan, np.float32)
    assert not any(bool(mask.any()) for mask in region_masks(points, 64, 64).values())
    assert not bool(region_masks(synthetic(1).observations.landmarks[0], SIZE, SIZE)["hair"].any())


def picture() -> torch.Tensor:
    """A smooth one."""
    y, x = torch.meshgrid(torch.linspace(0, 3, 96), torch.linspace(0, 2, 96), indexing="ij")
    return (0.5 + 0.3 * torch.sin(x + y))[..., None].repeat(1, 1, 3)


def test_spikes_count_in_light_and_dark_and_by_how_many() -> None:
    target = picture()
    assert spike_score(target, target) == 0
    light, dark, two = target.clone(), target.clone(), target.clone()
    light[10:80, 40] += 0.3
    dark[10:80, 40] -= 0.3
    two[10:80, 40] += 0.3
    two[10:80, 70] += 0.3
    one = spike_score(light, target)
    # 70 pixels of 0.3 in 9,216; the window takes a little of the picture's own slope for thin.
    assert one == pytest.approx(1000 * 70 * 0.3 / 96**2, rel=0.15)
    assert spike_score(dark, target) == pytest.approx(one, rel=0.05)
    assert spike_score(two, target) == pytest.approx(2 * one, rel=0.05)


def test_blur_and_hairs_that_the_target_has_are_no_spikes() -> None:
    target = picture()
    target[10:80, 40] += 0.3
    moved = picture()
    moved[10:80, 42] += 0.3
    assert spike_score(moved, target) < 0.05
    blurred = torch.nn.functional.avg_pool2d(target.permute(2, 0, 1)[None], 9, 1, 4, count_include_pad=False)
    assert spike_score(blurred[0].permute(1, 2, 0), target) < 0.05
