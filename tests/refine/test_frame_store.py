"""Targets are the plain formula of Eq. 13 on the whole frame, whatever box was stored."""

import torch

from spatialavatar.refine.frame_store import load_frames
from tests.synthetic import subject


def test_target_is_the_composite_of_the_whole_frame() -> None:
    sequence = subject(frames=2, size=64, resolution=24).sequence
    store = load_frames(sequence, [1])
    background = torch.tensor([0.2, 0.7, 0.4])
    alpha = (sequence.matte(1).float() / 255)[..., None]
    expected = sequence.image(1).float() / 255 * alpha + background * (1 - alpha)
    # 1e-6: the order of float32 operations differs.
    torch.testing.assert_close(store.target(1, background), expected, atol=1e-6, rtol=0)


def test_long_videos_stream() -> None:
    """Whatever the limit, frames are the same; only those within it stay in memory."""
    sequence = subject(frames=6, size=48, resolution=24).sequence
    indices = [5, 0, 2, 3]
    everything = load_frames(sequence, indices)
    one = everything.frames[5].nbytes
    for limit in (0, one, 2 * one + one // 2):
        store = load_frames(sequence, indices, limit)
        assert store.nbytes <= limit
        for expected, index in ((2, 2), (3, 3), (0, 5), (3, 0), (3, 3), (5, 2)):
            store.frames.expect(expected)
            found, kept = store.frames[index], everything.frames[index]
            assert (
                found.box == kept.box and torch.equal(found.image, kept.image) and torch.equal(found.matte, kept.matte)
            )
    assert sorted(everything.frames) == sorted(indices) and len(everything.frames) == 4
