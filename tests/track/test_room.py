"""What a long video needs is said before the work, and refused where the disk is clearly too small."""

from __future__ import annotations

import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from spatialavatar.errors import UserError
from spatialavatar.track import fit, photometric
from spatialavatar.track.loss import of_video
from spatialavatar.track.model import PER_FRAME, face_model_of, start_unknowns
from spatialavatar.track.observe import ObserveOptions, observe_video
from spatialavatar.track.photometric import _PhotometricFit
from spatialavatar.track.room import check_room
from spatialavatar.track.torso import KeptViews
from spatialavatar.track.tracker import track
from tests.track.media import swaying_video
from tests.track.synthetic import HASTY, synthetic

Usage = namedtuple("Usage", "total used free")


def test_ten_minutes(tmp_path: Path) -> None:
    assert check_room(18_000, 512, tmp_path) == (
        "A long video: about 18,000 frames will take 5.2 GB of disk and 2.1 GB of memory."
    )
    assert check_room(18_000, 512, None) == "A long video: about 18,000 frames will take 21.0 GB of memory."
    assert check_room(500, 512, tmp_path) is None


def test_a_disk_that_is_too_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**10, 0, 10**9))
    with pytest.raises(UserError, match=r"18,000 frames will take about 5\.2 GB of disk, 1\.0 GB are free") as caught:
        check_room(18_000, 512, tmp_path, "me.tracked")
    assert caught.value.where == "me.tracked" and "--max-frames" in str(caught.value)
    assert check_room(18_000, 128, tmp_path) is not None
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**10, 0, 10**5))
    video = swaying_video(tmp_path / "v.mp4", 6)
    with pytest.raises(UserError, match="are free"):
        track(video, output=tmp_path / "v.tracked", size=256)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v.mp4"]


def test_views_are_kept_without_loss() -> None:
    generator = np.random.default_rng(0)
    views, kept = [generator.integers(0, 255, (128, 128, 3), np.uint8) for _ in range(3)], KeptViews()
    for view in views:
        kept.append(view)
    assert len(kept) == 3 and all(np.array_equal(a, b) for a, b in zip(views, kept, strict=True))
    assert np.array_equal(kept[-1], views[-1]) and np.array_equal(kept[1:][0], views[1])


def test_a_loss_in_parts_is_the_loss_of_all_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """And its gradient, but for the order of sums in single precision."""
    case = synthetic(12)
    model = face_model_of(case.head)
    view, targets = fit.start(model, case.observations, np.arange(12))
    times = torch.arange(12).float()
    problem = fit._Problem(model, view, targets, of_video(HASTY), lambda *_: None, times, 25.0)
    start, generator = start_unknowns(model, 12, 10), torch.Generator().manual_seed(0)
    found = []
    for limit in (12, 7):
        monkeypatch.setattr(fit, "_AT_ONCE", limit)
        generator.manual_seed(0)
        leaves = {
            name: (getattr(start, name) + 0.05 * torch.randn(getattr(start, name).shape, generator=generator))
            for name in (*PER_FRAME, "identity", "offsets", "log_focal")
        }
        leaves = {name: value.requires_grad_() for name, value in leaves.items()}
        value = problem._backward(lambda leaves=leaves: replace(start, **leaves), True, None)
        found.append((float(value), leaves))
    (whole, a), (in_parts, b) = found
    assert in_parts == pytest.approx(whole, rel=1e-5)
    for name in a:
        difference = float((a[name].grad - b[name].grad).abs().max())
        assert difference <= 1e-6 * float(a[name].grad.abs().max()), name  # At most 3.3e-7, of expressions.


def test_kept_pictures_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    images = torch.from_numpy(generator.integers(0, 255, (10, 64, 64, 3), np.uint8))
    mattes = torch.from_numpy(generator.integers(0, 255, (10, 64, 64), np.uint8))
    sequence = SimpleNamespace(image=images.__getitem__, matte=mattes.__getitem__)
    free, bounded = (SimpleNamespace(sequence=sequence, pictures={}, kept_size=0) for _ in range(2))
    order = [0, 1, 2, 3, 0, 4, 5, 0, 9, 9, 1]
    expected = [_PhotometricFit._pixels(free, frame, 32) for frame in order]
    monkeypatch.setattr(photometric, "_MOST_KEPT", 3 * 4 * 32**2)
    for frame, (image, matte, box) in zip(order, expected, strict=True):
        found = _PhotometricFit._pixels(bounded, frame, 32)
        assert torch.equal(found[0], image) and torch.equal(found[1], matte) and found[2] == box
        assert len(bounded.pictures) <= 3
    _PhotometricFit._pixels(bounded, 2, 16)
    assert len(bounded.pictures) == 1 and len(free.pictures) == 7


def test_the_number_of_frames_is_told_before_the_work(tmp_path: Path) -> None:
    class Told(Exception):
        pass

    told = []

    def expect(frames: int) -> None:
        told.append(frames)
        raise Told

    from spatialavatar.progress import Silent

    video = swaying_video(tmp_path / "v.mp4", 6)
    with pytest.raises(Told):
        observe_video(video, ObserveOptions(size=128, every=2, expect=expect), lambda *_: None, Silent())
    assert told == [3]
