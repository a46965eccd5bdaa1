"""The operators of MediaPipe's face models, in PyTorch.

TensorFlow Lite lays pictures out as (batch, height, width, channels). A permuted view of such a tensor is what PyTorch
calls channels last, so convolutions and pools take it without a copy.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from spatialavatar.errors import UserError

Operator = Callable[[Sequence[Tensor]], Tensor]
"""Values of the operator's inputs that are not built into it, in their order -> its output."""

_SAME, _VALID = 0, 1
_NO_ACTIVATION, _RELU, _RELU6 = 0, 1, 3


def make_operator(
    name: str,
    options: Mapping[str, Any],
    constants: Sequence[Tensor | None],
    shapes: Sequence[tuple[int, ...]],
    where: str,
) -> Operator:
    """An operator with its settings and constants built in.

    Args:
        name, options: See `tflite_file.Node`.
        constants: Per input its value, None where it is computed. An operator is called with the computed ones.
        shapes: Of the inputs, then of the output.
        where: The model's name for error messages.

    Raises:
        UserError: The operator is used in a way that these models do not use it.
    """
    maker = _MAKERS.get(name)
    if maker is None:
        raise UserError(f"the operator {name.removeprefix('custom:')} is not known.", where=where)
    try:
        return maker(options, constants, shapes)
    except Exception as error:  # Settings of a damaged file end in any exception.
        raise UserError(f"the operator {name} is used in an unknown way ({error}).", where=where) from error


class _Unusual(Exception):
    """A setting that no face model has."""


def _expect(right: bool, what: str) -> None:
    if not right:
        raise _Unusual(what)


def _channels_first(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2)


def _channels_last(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1)


def _activate(options: Mapping[str, Any]) -> Callable[[Tensor], Tensor]:
    kind = options.get("activation", _NO_ACTIVATION)
    _expect(kind in (_NO_ACTIVATION, _RELU, _RELU6), f"activation {kind}")
    return {_NO_ACTIVATION: lambda x: x, _RELU: torch.relu_, _RELU6: lambda x: x.clamp_(0, 6)}[kind]


def _padding(size: int, kernel: int, stride: int, padding: int) -> tuple[int, int]:
    """TensorFlow's rule: "same" gives ceil(size / stride) outputs, and pads the end more than the start."""
    if padding == _VALID:
        return 0, 0
    total = max(0, (math.ceil(size / stride) - 1) * stride + kernel - size)
    return total // 2, total - total // 2


def _pad_then(
    run: Callable[[Tensor, tuple[int, int]], Tensor],
    options: Mapping[str, Any],
    shape: tuple[int, ...],
    kernel: tuple[int, int],
    fill: float = 0.0,
) -> Callable[[Tensor], Tensor]:
    """`run(x, padding)` on channels first, with its own symmetrical padding where that is enough."""
    top, bottom = _padding(shape[1], kernel[0], options["stride_y"], options["padding"])
    left, right = _padding(shape[2], kernel[1], options["stride_x"], options["padding"])
    if (top, left) == (bottom, right):
        return lambda x: run(x, (top, left))
    return lambda x: run(functional.pad(x, (left, right, top, bottom), value=fill), (0, 0))


def _convolution(options: Any, constants: Any, shapes: Any) -> Operator:
    """Kernel (out, height, width, in)."""
    kernel, bias = constants[1], constants[2]
    _expect(options["dilation_x"] == options["dilation_y"] == 1, "dilation")
    _expect(kernel is not None and bias is not None and len(shapes[0]) == 4, "a computed kernel")
    weight = kernel.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    return _convolve(options, shapes[0], weight, bias, 1)


def _depthwise(options: Any, constants: Any, shapes: Any) -> Operator:
    """Kernel (1, height, width, channels)."""
    kernel, bias = constants[1], constants[2]
    _expect(options["dilation_x"] == options["dilation_y"] == 1, "dilation")
    _expect(kernel is not None and bias is not None and len(shapes[0]) == 4, "a computed kernel")
    weight = kernel.permute(3, 0, 1, 2).contiguous(memory_format=torch.channels_last)
    return _convolve(options, shapes[0], weight, bias, shapes[0][3])


def _convolve(options: Any, shape: Any, weight: Tensor, bias: Tensor, groups: int) -> Operator:
    activate, stride = _activate(options), (options["stride_y"], options["stride_x"])

    def run(x: Tensor, padding: tuple[int, int]) -> Tensor:
        return functional.conv2d(x, weight, bias, stride, padding, 1, groups)

    padded = _pad_then(run, options, shape, (weight.shape[2], weight.shape[3]))
    return lambda values: activate(_channels_last(padded(_channels_first(values[0]))))


def _transposed_convolution(options: Any, constants: Any, shapes: Any) -> Operator:
    padding, stride_x, stride_y = struct.unpack("<iii", options["raw"][:12])
    kernel, bias = constants[1], constants[2]
    _expect(kernel is not None and bias is not None, "a computed kernel")
    _expect((padding, stride_x, stride_y) == (1, kernel.shape[2], kernel.shape[1]), "overlapping kernels")
    weight = kernel.permute(3, 0, 1, 2).contiguous()
    return lambda values: _channels_last(
        functional.conv_transpose2d(_channels_first(values[0]), weight, bias, (stride_y, stride_x))
    )


def _max_pool(options: Any, constants: Any, shapes: Any) -> Operator:
    kernel, stride = (options["height"], options["width"]), (options["stride_y"], options["stride_x"])
    _expect(options["activation"] == _NO_ACTIVATION, "activation")
    pool = _pad_then(
        lambda x, padding: functional.max_pool2d(x, kernel, stride, padding), options, shapes[0], kernel, -math.inf
    )
    return lambda values: _channels_last(pool(_channels_first(values[0])))


def _average_pool(options: Any, constants: Any, shapes: Any) -> Operator:
    """All of these models' average pools take the whole picture."""
    _expect(tuple(shapes[0][1:3]) == (options["height"], options["width"]), "part of the picture")
    _expect(options["padding"] == _VALID and options["activation"] == _NO_ACTIVATION, "padding")
    return lambda values: values[0].mean((1, 2), keepdim=True)


def _of_two(run: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Any, Any, Any], Operator]:
    """Operators on two inputs, either of which may be constant."""

    def make(options: Any, constants: Any, shapes: Any) -> Operator:
        activate, (first, second) = _activate(options), constants
        if first is not None:
            return lambda values: activate(run(first, values[0]))
        if second is not None:
            return lambda values: activate(run(values[0], second))
        return lambda values: activate(run(values[0], values[1]))

    return make


def _of_one(run: Callable[[Tensor], Tensor]) -> Callable[[Any, Any, Any], Operator]:
    return lambda options, constants, shapes: lambda values: run(values[0])


def _prelu(options: Any, constants: Any, shapes: Any) -> Operator:
    slope = constants[1]
    _expect(slope is not None and slope.numel() == shapes[0][-1], "slopes that are not one a channel")
    flat = slope.reshape(-1)
    return lambda values: _channels_last(functional.prelu(_channels_first(values[0]), flat))


def _integers(constant: Tensor | None) -> list[int]:
    _expect(constant is not None, "computed sizes")
    assert constant is not None
    return [int(value) for value in constant.reshape(-1)]


def _pad(options: Any, constants: Any, shapes: Any) -> Operator:
    sizes = _integers(constants[1])
    _expect(len(sizes) == 2 * len(shapes[0]) and min(sizes) >= 0, "sizes")
    _expect([size + sum(sizes[2 * k : 2 * k + 2]) for k, size in enumerate(shapes[0])] == list(shapes[-1]), "sizes")
    # PyTorch begins with the last axis.
    amounts = [amount for axis in reversed(range(len(shapes[0]))) for amount in sizes[2 * axis : 2 * axis + 2]]
    return lambda values: functional.pad(values[0], amounts)


def _reshape(options: Any, constants: Any, shapes: Any) -> Operator:
    _expect(math.prod(shapes[0]) == math.prod(shapes[-1]), "sizes")
    return lambda values: values[0].reshape(shapes[-1])


def _concatenation(options: Any, constants: Any, shapes: Any) -> Operator:
    activate = _activate(options)
    if all(constant is None for constant in constants):
        return lambda values: activate(torch.cat(list(values), options["axis"]))

    def run(values: Sequence[Tensor]) -> Tensor:
        computed = iter(values)
        return activate(torch.cat([next(computed) if c is None else c for c in constants], options["axis"]))

    return run


def _resize(options: Any, constants: Any, shapes: Any) -> Operator:
    size = tuple(_integers(constants[1]))
    _expect(size == tuple(shapes[-1][1:3]), "sizes")
    corners, centres = bool(options["align_corners"]), bool(options["half_pixel_centres"])
    _expect(corners != centres or size == tuple(shapes[0][1:3]), "neither corners nor centres aligned")
    if corners == centres:  # The size does not change.
        return lambda values: values[0]
    return lambda values: _channels_last(
        functional.interpolate(_channels_first(values[0]), size, mode="bilinear", align_corners=corners)
    )


def _depth_to_space(options: Any, constants: Any, shapes: Any) -> Operator:
    """Channels are (row in the block, column in the block, channel), unlike PyTorch's pixel shuffle."""
    block, (_, height, width, channels) = options["block"], shapes[0]
    _expect(block >= 1 and channels % block**2 == 0, "block")
    split = (1, height, width, block, block, channels // block**2)
    return lambda values: values[0].reshape(split).permute(0, 1, 3, 2, 4, 5).reshape(shapes[-1])


def _transpose(options: Any, constants: Any, shapes: Any) -> Operator:
    order = _integers(constants[1])
    return lambda values: values[0].permute(order)


def _reduce(run: Callable[..., Tensor]) -> Callable[[Any, Any, Any], Operator]:
    def make(options: Any, constants: Any, shapes: Any) -> Operator:
        axes, keep = _integers(constants[1]), bool(options["keep"])
        return lambda values: run(values[0], axes, keepdim=keep)

    return make


def _strided_slice(options: Any, constants: Any, shapes: Any) -> Operator:
    begins, ends, strides = (_integers(constant) for constant in constants[1:4])
    _expect(options["ellipsis_mask"] == options["new_axis_mask"] == 0, "new axes")
    _expect(len(begins) == len(ends) == len(strides) and min(strides) > 0, "backwards")
    index: list[int | slice] = []
    for axis, (begin, end, stride) in enumerate(zip(begins, ends, strides, strict=True)):
        if options["shrink_axis_mask"] >> axis & 1:
            index.append(begin)
        else:
            open_begin, open_end = options["begin_mask"] >> axis & 1, options["end_mask"] >> axis & 1
            index.append(slice(None if open_begin else begin, None if open_end else end, stride))
    return lambda values: values[0][tuple(index)]


def _landmarks_to_matrix(options: Any, constants: Any, shapes: Any) -> Operator:
    """MediaPipe's own: where a part of the face lies. From pixels of a small picture of the part to landmarks' pixels.

    The part's box is turned so that the line between two landmarks is level, and made larger by `scale`.
    """
    subset = [int(number) for number in options["subset_idxs"]]
    left, right = int(options["left_rotation_idx"]), int(options["right_rotation_idx"])
    target = float(options["target_rotation_radians"])
    width, height = float(options["output_width"]), float(options["output_height"])
    scale_x, scale_y = float(options["scale_x"]), float(options["scale_y"])
    _expect(all(0 <= number < shapes[0][1] for number in (*subset, left, right)), "landmarks")

    def run(values: Sequence[Tensor]) -> Tensor:
        points = values[0][0, :, :2]
        across = points[right] - points[left]
        angle = target - math.atan2(float(across[1]), float(across[0]))
        cosine, sine = math.cos(angle), math.sin(angle)
        turn = torch.tensor([[cosine, -sine], [sine, cosine]], dtype=torch.float32)
        turned = points[subset] @ turn.T
        low, high = turned.amin(0), turned.amax(0)
        centre = turn.T @ ((low + high) / 2)
        axes = turn.T @ torch.diag((high - low) * torch.tensor([scale_x / width, scale_y / height]))
        matrix = torch.eye(4)
        matrix[:2, :2] = axes
        matrix[:2, 3] = centre - axes @ torch.tensor([width / 2, height / 2])
        return matrix[None]

    return run


def _transform_picture(options: Any, constants: Any, shapes: Any) -> Operator:
    """MediaPipe's own: a picture (1, H, W, C) sampled through a matrix that takes pixels' corners to its corners.

    Outside the pixels' centres it is zero.
    """
    height, width = int(options["output_height"]), int(options["output_width"])
    (_, rows, columns, channels), out = shapes[0], shapes[-1]
    _expect(tuple(out) == (1, height, width, channels), "sizes")
    down, across = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    grid = torch.stack([across, down, torch.zeros_like(down), torch.ones_like(down)], -1)

    def run(values: Sequence[Tensor]) -> Tensor:
        where = grid @ values[1][0, :2].T - 0.5
        x, y = where[..., 0], where[..., 1]
        inside = (x >= 0) & (x <= columns - 1) & (y >= 0) & (y <= rows - 1)
        # What is no number is outside too.
        left = torch.where(inside, x, 0.0).floor().long()
        top = torch.where(inside, y, 0.0).floor().long()
        share_x, share_y = (x - left)[..., None], (y - top)[..., None]
        right, bottom = (left + 1).clamp(max=columns - 1), (top + 1).clamp(max=rows - 1)
        picture = values[0][0]
        upper = torch.lerp(picture[top, left], picture[top, right], share_x)
        lower = torch.lerp(picture[bottom, left], picture[bottom, right], share_x)
        return torch.where(inside[..., None], torch.lerp(upper, lower, share_y), 0.0)[None]

    return run


def _transform_landmarks(options: Any, constants: Any, shapes: Any) -> Operator:
    """MediaPipe's own: x and y of landmarks (1, N, 2 or 3) through a matrix (1, 4, 4); a depth stays."""
    _expect(len(shapes[0]) == 3 and shapes[0][2] in (2, 3), "dimensions")

    def run(values: Sequence[Tensor]) -> Tensor:
        points, matrix = values[0], values[1][0]
        moved = points[..., :2] @ matrix[:2, :2].T + matrix[:2, 3]
        return torch.cat([moved, points[..., 2:]], -1)

    return run


_MAKERS: dict[str, Callable[[Any, Any, Any], Operator]] = {
    "add": _of_two(torch.add),
    "subtract": _of_two(torch.sub),
    "multiply": _of_two(torch.mul),
    "divide": _of_two(torch.div),
    "squared_difference": _of_two(lambda a, b: (a - b) ** 2),
    "logistic": _of_one(torch.sigmoid),
    "relu": _of_one(torch.relu),
    "negate": _of_one(torch.neg),
    "square_root": _of_one(torch.sqrt),
    "reciprocal_square_root": _of_one(torch.rsqrt),
    "hard_swish": _of_one(functional.hardswish),
    "convolution": _convolution,
    "depthwise_convolution": _depthwise,
    "average_pool": _average_pool,
    "max_pool": _max_pool,
    "prelu": _prelu,
    "pad": _pad,
    "reshape": _reshape,
    "transpose": _transpose,
    "concatenation": _concatenation,
    "resize_bilinear": _resize,
    "depth_to_space": _depth_to_space,
    "strided_slice": _strided_slice,
    "mean": _reduce(torch.mean),
    "sum": _reduce(torch.sum),
    "custom:Convolution2DTransposeBias": _transposed_convolution,
    "custom:Landmarks2TransformMatrix": _landmarks_to_matrix,
    "custom:TransformTensorBilinear": _transform_picture,
    "custom:TransformLandmarks": _transform_landmarks,
}
