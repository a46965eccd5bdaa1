"""Which frames are kept from training, and how the avatar is scored on them."""

from __future__ import annotations

from spatialavatar.errors import UserError
from spatialavatar.refine.config import HoldOut

TAIL_FRAMES = 350
BLOCK_LENGTH = 50
BLOCK_HELD_OUT = 10


def split_frames(count: int, hold_out: HoldOut) -> tuple[list[int], list[int]]:
    """Training and held-out frame indices.

    * `tail`: the last 350 frames (the field's protocol on the SplattingAvatar subjects), or the last fifth of a
      video in which 350 frames would be more than a third. Measures extrapolation.
    * `blocks`: the last 10 of every 50 frames. Measures the avatar.

    Raises:
        UserError: Too few frames to hold any out.
    """
    if hold_out == "none":
        return list(range(count)), []
    if count < BLOCK_LENGTH:
        raise UserError(
            f"holding out frames needs at least {BLOCK_LENGTH} of them, and there are {count}.",
            hint="Use --hold-out none.",
        )
    if hold_out == "tail":
        held = TAIL_FRAMES if count >= 3 * TAIL_FRAMES else count // 5
        return list(range(count - held)), list(range(count - held, count))
    start = BLOCK_LENGTH - BLOCK_HELD_OUT
    training = [index for index in range(count) if index % BLOCK_LENGTH < start]
    return training, [index for index in range(count) if index % BLOCK_LENGTH >= start]
