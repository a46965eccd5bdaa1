"""Boxes of pixels."""

import torch

from spatialavatar.splat.box import joined, matte_box


def test_box_holds_all_of_the_matte() -> None:
    matte = torch.zeros(40, 50, dtype=torch.uint8)
    matte[10:20, 30:49] = 7
    assert matte_box(matte, margin=3) == (27, 50, 7, 23)
    assert matte_box(torch.zeros(40, 50, dtype=torch.uint8)) == (0, 50, 0, 40)


def test_joined_boxes() -> None:
    assert joined((5, 9, 2, 4), (0, 6, 3, 8)) == (0, 9, 2, 8)
    assert joined((5, 9, 2, 4), (0, 0, 0, 0)) == (5, 9, 2, 4)
