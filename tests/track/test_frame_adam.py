"""Adam by frames against torch's own Adam, one optimiser for each frame."""

import torch

from spatialavatar.track.frame_adam import FrameAdam


def gradient_of(frame: int, visit: int, width: int) -> torch.Tensor:
    return torch.randn(1, width, generator=torch.Generator().manual_seed(100 * frame + visit))


def test_each_frame_is_moved_as_by_an_optimiser_of_its_own() -> None:
    generator = torch.Generator().manual_seed(0)
    values = {"turn": torch.randn(3, 2, generator=generator), "lens": torch.randn(3, 1, generator=generator)}
    frames = FrameAdam({name: value.clone() for name, value in values.items()})
    oracle = {
        (name, frame): value[frame : frame + 1].clone().requires_grad_()
        for name, value in values.items()
        for frame in range(3)
    }
    adams = {key: torch.optim.Adam([value], lr=0.05, betas=(0.8, 0.95), eps=1e-9) for key, value in oracle.items()}
    for visit, together in enumerate([[0], [2, 0], [0], [0, 2], [0]]):
        leaves = frames.leaves(together)
        for name, leaf in leaves.items():
            leaf.grad = torch.cat([gradient_of(frame, visit, leaf.shape[1]) for frame in together])
            for row, frame in enumerate(together):
                oracle[name, frame].grad = leaf.grad[row : row + 1].clone()
                adams[name, frame].step()
        frames.move(together, leaves, 0.05)
    for (name, frame), value in oracle.items():
        # Float32 and another order of operations.
        torch.testing.assert_close(frames.values[name][frame : frame + 1], value.detach(), atol=1e-6, rtol=1e-5)
    assert torch.equal(frames.values["turn"][1], values["turn"][1]), "a frame that is not visited stays"


def test_a_restored_state_goes_on_to_the_same_numbers() -> None:
    frames, again = (FrameAdam({"turn": torch.zeros(2, 3)}) for _ in range(2))
    for visit in range(6):
        if visit == 3:
            again.restore({name: value.clone() for name, value in frames.state().items()})
        for one in (frames, again) if visit >= 3 else (frames,):
            leaves = one.leaves([visit % 2])
            leaves["turn"].grad = gradient_of(visit % 2, visit, 3)
            one.move([visit % 2], leaves, 0.1)
    assert torch.equal(frames.values["turn"], again.values["turn"])
