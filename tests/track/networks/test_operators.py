"""Each operator against what TensorFlow Lite says of it, written out in loops."""

from __future__ import annotations

import itertools
import math
import struct
from typing import Any

import numpy as np
import pytest
import torch

from spatialavatar.errors import UserError
from spatialavatar.track.networks.operators import make_operator

_CLOSE = 1e-5
_PLAIN = {"activation": 0}


def run(name: str, options: dict[str, Any], inputs: list[Any], out: tuple[int, ...], computed: int = 1) -> np.ndarray:
    """The first `computed` inputs are given when it runs, the others are built in."""
    tensors = [torch.as_tensor(value) for value in inputs]
    constants = [None if index < computed else tensor for index, tensor in enumerate(tensors)]
    shapes = [tuple(tensor.shape) for tensor in tensors] + [out]
    return make_operator(name, options, constants, shapes, "test")(tensors[:computed]).numpy()


def picture(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def padded(x: np.ndarray, kernel: int, stride: int, fill: float) -> np.ndarray:
    """TensorFlow's "same": ceil(size / stride) outputs; the odd pixel goes to the end."""
    total = max(0, (math.ceil(x.shape[1] / stride) - 1) * stride + kernel - x.shape[1])
    amounts = (total // 2, total - total // 2)
    return np.pad(x, ((0, 0), amounts, amounts, (0, 0)), constant_values=fill)


@pytest.mark.parametrize("size,kernel,stride", [(8, 3, 1), (8, 3, 2), (9, 3, 2), (8, 5, 2), (8, 2, 2)])
@pytest.mark.parametrize("padding", [0, 1])
def test_convolutions(size: int, kernel: int, stride: int, padding: int) -> None:
    x, weight, bias = picture(1, size, size, 3), picture(4, kernel, kernel, 3), picture(4)
    options = {"padding": padding, "stride_x": stride, "stride_y": stride, "activation": 1}
    options |= {"dilation_x": 1, "dilation_y": 1}
    full = padded(x, kernel, stride, 0.0) if padding == 0 else x
    count = (full.shape[1] - kernel) // stride + 1
    dense, deep = np.zeros((1, count, count, 4)), np.zeros((1, count, count, 3))
    depthwise = picture(1, kernel, kernel, 3)
    for row, column in itertools.product(range(count), repeat=2):
        part = full[0, row * stride : row * stride + kernel, column * stride : column * stride + kernel]
        dense[0, row, column] = (part[None] * weight).sum((1, 2, 3)) + bias
        deep[0, row, column] = (part * depthwise[0]).sum((0, 1)) + bias[:3]
    assert run("convolution", options, [x, weight, bias], dense.shape) == pytest.approx(dense.clip(0), abs=_CLOSE)
    ours = run("depthwise_convolution", options, [x, depthwise, bias[:3]], deep.shape)
    assert ours == pytest.approx(deep.clip(0), abs=_CLOSE)


@pytest.mark.parametrize("size,kernel,stride", [(8, 2, 2), (9, 3, 2), (7, 2, 2)])
def test_max_pool_pads_with_nothing(size: int, kernel: int, stride: int) -> None:
    x = picture(1, size, size, 2) - 10
    full = padded(x, kernel, stride, -np.inf)
    count = math.ceil(size / stride)
    right = np.zeros((1, count, count, 2))
    for row, column in itertools.product(range(count), repeat=2):
        part = full[0, row * stride : row * stride + kernel, column * stride : column * stride + kernel]
        right[0, row, column] = part.max((0, 1))
    options = {"padding": 0, "stride_x": stride, "stride_y": stride, "width": kernel, "height": kernel} | _PLAIN
    assert run("max_pool", options, [x], right.shape) == pytest.approx(right)


def test_transposed_convolution_spreads_each_pixel() -> None:
    x, weight, bias = picture(1, 3, 4, 5), picture(2, 2, 2, 5), picture(2)
    right = np.zeros((1, 6, 8, 2)) + bias
    for row, column in itertools.product(range(3), range(4)):
        right[0, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] += np.moveaxis(weight @ x[0, row, column], 0, -1)
    ours = run(
        "custom:Convolution2DTransposeBias", {"raw": struct.pack("<iii", 1, 2, 2)}, [x, weight, bias], right.shape
    )
    assert ours == pytest.approx(right, abs=_CLOSE)


def test_depth_to_space_takes_rows_before_channels() -> None:
    x = picture(1, 2, 3, 8)
    right = np.zeros((1, 4, 6, 2), np.float32)
    for row, column, down, across in itertools.product(range(2), range(3), range(2), range(2)):
        start = 2 * (2 * down + across)
        right[0, 2 * row + down, 2 * column + across] = x[0, row, column, start : start + 2]
    assert (run("depth_to_space", {"block": 2}, [x], right.shape) == right).all()


def test_resizing_takes_pixels_centres() -> None:
    x = picture(1, 2, 3, 1)
    right = np.zeros((1, 4, 6, 1))
    for row, column in itertools.product(range(4), range(6)):
        y, across = np.clip((row + 0.5) / 2 - 0.5, 0, 1), np.clip((column + 0.5) / 2 - 0.5, 0, 2)
        top, left = int(y), int(across)
        bottom, end = min(top + 1, 1), min(left + 1, 2)
        upper = x[0, top, left] * (1 - across + left) + x[0, top, end] * (across - left)
        lower = x[0, bottom, left] * (1 - across + left) + x[0, bottom, end] * (across - left)
        right[0, row, column] = upper * (1 - y + top) + lower * (y - top)
    options = {"align_corners": 0, "half_pixel_centres": 1}
    ours = run("resize_bilinear", options, [x, np.array([4, 6])], right.shape)
    assert ours == pytest.approx(right, abs=_CLOSE)


def test_slices_masks_and_axes() -> None:
    x = picture(1, 4, 5)
    options = {
        "begin_mask": 0b001,
        "end_mask": 0b010,
        "ellipsis_mask": 0,
        "new_axis_mask": 0,
        "shrink_axis_mask": 0b100,
    }
    ours = run("strided_slice", options, [x, np.array([9, 1, 2]), np.array([1, 2, 3]), np.array([1, 2, 1])], (1, 2))
    assert (ours == x[:1, 1::2, 2]).all()


def test_elements_axes_and_constants() -> None:
    x, y = picture(1, 2, 3), picture(3)
    out = x.shape
    assert run("add", _PLAIN, [x, x], out, 2) == pytest.approx(2 * x)
    assert run("subtract", _PLAIN, [x, y], out) == pytest.approx(x - y)
    assert run("divide", _PLAIN, [x, y], out) == pytest.approx(x / y, rel=1e-5)
    assert run("squared_difference", _PLAIN, [x, y], out) == pytest.approx((x - y) ** 2, rel=1e-5)
    first = make_operator("subtract", _PLAIN, [torch.from_numpy(y), None], [(3,), out, out], "test")
    assert first([torch.from_numpy(x)]).numpy() == pytest.approx(y - x)
    assert run("mean", {"keep": 1}, [x, np.array([2])], (1, 2, 1)) == pytest.approx(
        x.mean(2, keepdims=True), abs=_CLOSE
    )
    assert run("sum", {"keep": 0}, [x, np.array([1])], (1, 3)) == pytest.approx(x.sum(1), abs=_CLOSE)
    assert run("transpose", {}, [x, np.array([2, 0, 1])], (3, 1, 2)) == pytest.approx(x.transpose(2, 0, 1))
    assert run("pad", {}, [x, np.array([[0, 0], [1, 0], [0, 2]])], (1, 3, 5)) == pytest.approx(
        np.pad(x, ((0, 0), (1, 0), (0, 2)))
    )
    assert run("hard_swish", {}, [x], out) == pytest.approx(x * np.clip(x + 3, 0, 6) / 6, abs=_CLOSE)
    slopes = picture(1, 1, 3)
    square = picture(1, 2, 2, 3)
    right = np.where(square > 0, square, square * slopes)
    assert run("prelu", {}, [square, slopes], square.shape) == pytest.approx(right)
    both = run("concatenation", {"axis": 2, "activation": 0}, [x, 2 * x], (1, 2, 6), 2)
    assert both == pytest.approx(np.concatenate([x, 2 * x], 2))
    middle = make_operator("concatenation", {"axis": 0}, [torch.from_numpy(x), None], [out, out, (2, 2, 3)], "test")
    assert middle([torch.from_numpy(2 * x)]).numpy() == pytest.approx(np.concatenate([x, 2 * x]))


def test_a_part_of_the_face_is_cut_level_with_its_line() -> None:
    """Landmark 0 to landmark 1 is level in the part; the part's middle is the middle of the turned box."""
    angle, middle, half = 0.4, np.array([20.0, 30.0]), np.array([6.0, 3.0])
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    corners = np.array([[-1, 0], [1, 0], [0, -1], [0, 1]]) * half
    points = np.concatenate([corners @ turn.T + middle, np.ones((4, 1))], 1)[None].astype(np.float32)
    options = {
        "subset_idxs": [0, 1, 2, 3],
        "left_rotation_idx": 0,
        "right_rotation_idx": 1,
        "target_rotation_radians": 0.0,
        "output_width": 16,
        "output_height": 16,
        "scale_x": 1.5,
        "scale_y": 1.5,
    }
    matrix = run("custom:Landmarks2TransformMatrix", options, [points], (1, 4, 4))[0]
    assert matrix @ [8, 8, 0, 1] == pytest.approx([*middle, 0, 1], abs=1e-4)
    right_edge = turn @ [1.5 * half[0], 0] + middle
    assert matrix @ [16, 8, 0, 1] == pytest.approx([*right_edge, 0, 1], abs=1e-4)
    moved = run("custom:TransformLandmarks", {}, [np.float32([[[8, 8], [16, 8]]]), matrix[None]], (1, 2, 2), 2)
    assert moved[0] == pytest.approx(np.array([middle, right_edge]), abs=1e-4)


def test_a_picture_is_sampled_through_a_matrix() -> None:
    x = picture(1, 6, 5, 2)
    matrix = np.eye(4, dtype=np.float32)
    matrix[:2] = [[0.6, -0.3, 0, 1.2], [0.2, 0.7, 0, 0.4]]
    right = np.zeros((4, 4, 2))
    for row, column in itertools.product(range(4), repeat=2):
        across, down = matrix[:2, :2] @ [column + 0.5, row + 0.5] + matrix[:2, 3] - 0.5
        if 0 <= across <= 4 and 0 <= down <= 5:
            left, top = int(across), int(down)
            end, bottom = min(left + 1, 4), min(top + 1, 5)
            upper = x[0, top, left] * (1 - across + left) + x[0, top, end] * (across - left)
            lower = x[0, bottom, left] * (1 - across + left) + x[0, bottom, end] * (across - left)
            right[row, column] = upper * (1 - down + top) + lower * (down - top)
    options = {"output_height": 4, "output_width": 4}
    ours = run("custom:TransformTensorBilinear", options, [x, matrix[None]], (1, 4, 4, 2), 2)
    assert ours[0] == pytest.approx(right, abs=_CLOSE)
    assert (right != 0).any() and (right == 0).any()


def test_settings_that_no_face_model_has_are_refused() -> None:
    options = {"padding": 0, "stride_x": 1, "stride_y": 1, "activation": 0, "dilation_x": 2, "dilation_y": 2}
    with pytest.raises(UserError, match="dilation"):
        run("convolution", options, [picture(1, 4, 4, 1), picture(1, 3, 3, 1), picture(1)], (1, 4, 4, 1))
    with pytest.raises(UserError, match="not known"):
        run("custom:Unheard", {}, [picture(1, 1)], (1, 1))
