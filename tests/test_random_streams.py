import numpy as np
import torch

from spatialavatar.random_streams import stream, torch_stream


def test_a_stream_gives_the_same_numbers_every_time() -> None:
    assert stream(3, "hair").random() == stream(3, "hair").random()
    assert torch.equal(torch.rand(4, generator=torch_stream(3, "x")), torch.rand(4, generator=torch_stream(3, "x")))


def test_streams_of_other_seeds_and_purposes_are_uncorrelated() -> None:
    count = 2_000
    drawn = [stream(*names).standard_normal(count) for names in ((0, "a"), (0, "b"), (1, "a"))]
    drawn += [torch.randn(count, generator=torch_stream(*names)).numpy() for names in ((0, "a"), (0, "b"), (1, "a"))]
    between = np.corrcoef(drawn) - np.eye(len(drawn))
    # The correlation of independent numbers has a standard deviation of 1 / sqrt(count).
    assert np.abs(between).max() < 4.5 / np.sqrt(count)
