"""Reads a TensorFlow Lite file: its tensors, its constants, and its operators in the order in which they run.

Only what MediaPipe's face models use is read. The field numbers are those of TensorFlow Lite's published schema
(version 3 of `schema.fbs`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from flatbuffers import encode, flexbuffers, number_types, packer
from flatbuffers.table import Table
from numpy.typing import NDArray

from spatialavatar.errors import UserError

# Field numbers of the schema's tables.
_MODEL_CODES, _MODEL_GRAPHS, _MODEL_BUFFERS = 1, 2, 4
_CODE_OLD, _CODE_CUSTOM_NAME, _CODE_NEW = 0, 1, 3
_GRAPH_TENSORS, _GRAPH_INPUTS, _GRAPH_OUTPUTS, _GRAPH_OPERATORS = 0, 1, 2, 3
_TENSOR_SHAPE, _TENSOR_TYPE, _TENSOR_BUFFER, _TENSOR_SPARSITY = 0, 1, 2, 6
_OPERATOR_CODE, _OPERATOR_INPUTS, _OPERATOR_OUTPUTS, _OPERATOR_OPTIONS, _OPERATOR_CUSTOM = 0, 1, 2, 4, 5
_BUFFER_DATA = 0
_SPARSITY_ORDER, _SPARSITY_BLOCKS, _SPARSITY_LEVELS = 0, 1, 2
_LEVEL_FORMAT, _LEVEL_SIZE, _LEVEL_SEGMENTS_TYPE, _LEVEL_SEGMENTS, _LEVEL_INDICES_TYPE, _LEVEL_INDICES = range(6)

_TYPES: dict[int, Any] = {0: np.dtype("<f4"), 1: np.dtype("<f2"), 2: np.dtype("<i4")}
# The three vectors in which a sparse tensor may keep its indices: 32, 16 and 8 bits.
_INDEX_FLAGS: dict[int, Any] = {1: number_types.Int32Flags, 2: number_types.Uint16Flags, 3: number_types.Uint8Flags}

_CUSTOM = 32
_OPERATORS = {
    0: "add",
    1: "average_pool",
    2: "concatenation",
    3: "convolution",
    4: "depthwise_convolution",
    5: "depth_to_space",
    6: "dequantize",
    14: "logistic",
    17: "max_pool",
    18: "multiply",
    19: "relu",
    22: "reshape",
    23: "resize_bilinear",
    34: "pad",
    39: "transpose",
    40: "mean",
    41: "subtract",
    42: "divide",
    45: "strided_slice",
    54: "prelu",
    59: "negate",
    74: "sum",
    75: "square_root",
    76: "reciprocal_square_root",
    99: "squared_difference",
    117: "hard_swish",
    124: "densify",
}

_BYTE, _INT, _BOOL = number_types.Int8Flags, number_types.Int32Flags, number_types.BoolFlags
# Operator -> option -> (field number, its kind, its default).
_POOL = {
    "padding": (0, _BYTE, 0),
    "stride_x": (1, _INT, 0),
    "stride_y": (2, _INT, 0),
    "width": (3, _INT, 0),
    "height": (4, _INT, 0),
    "activation": (5, _BYTE, 0),
}
_ACTIVATION = {"activation": (0, _BYTE, 0)}
_OPTIONS: dict[str, dict[str, tuple[int, Any, int]]] = {
    "convolution": {
        "padding": (0, _BYTE, 0),
        "stride_x": (1, _INT, 0),
        "stride_y": (2, _INT, 0),
        "activation": (3, _BYTE, 0),
        "dilation_x": (4, _INT, 1),
        "dilation_y": (5, _INT, 1),
    },
    "depthwise_convolution": {
        "padding": (0, _BYTE, 0),
        "stride_x": (1, _INT, 0),
        "stride_y": (2, _INT, 0),
        "activation": (4, _BYTE, 0),
        "dilation_x": (5, _INT, 1),
        "dilation_y": (6, _INT, 1),
    },
    "average_pool": _POOL,
    "max_pool": _POOL,
    "add": _ACTIVATION,
    "multiply": _ACTIVATION,
    "subtract": _ACTIVATION,
    "divide": _ACTIVATION,
    "concatenation": {"axis": (0, _INT, 0), "activation": (1, _BYTE, 0)},
    "depth_to_space": {"block": (0, _INT, 0)},
    "resize_bilinear": {"align_corners": (2, _BOOL, 0), "half_pixel_centres": (3, _BOOL, 0)},
    "mean": {"keep": (0, _BOOL, 0)},
    "sum": {"keep": (0, _BOOL, 0)},
    "strided_slice": {
        "begin_mask": (0, _INT, 0),
        "end_mask": (1, _INT, 0),
        "ellipsis_mask": (2, _INT, 0),
        "new_axis_mask": (3, _INT, 0),
        "shrink_axis_mask": (4, _INT, 0),
    },
}

# The largest tensor of MediaPipe's face models has 0.6 million values; a file that claims more is not one of them.
_MOST_VALUES = 2**24


@dataclass(frozen=True)
class Node:
    """One operator.

    Attributes:
        name: Which operator; "custom:" before the names of MediaPipe's own.
        inputs, outputs: Numbers of tensors; -1 for an optional input that is left out.
        options: The operator's settings by name.
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Graph:
    """What a file says.

    Attributes:
        shapes: The shape of every tensor.
        constants: Tensor number -> its values, for those that the file stores.
        nodes: The operators in the order in which they run.
        inputs, outputs: Numbers of tensors.
    """

    shapes: tuple[tuple[int, ...], ...]
    constants: Mapping[int, NDArray[Any]]
    nodes: tuple[Node, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def read_graph(data: bytes, where: str) -> Graph:
    """Read one model.

    Args:
        data: The file's bytes.
        where: What the file is called in error messages.

    Raises:
        UserError: It is not a TensorFlow Lite file, or one that uses what these models do not.
    """
    if data[4:8] != b"TFL3":
        raise UserError("this is not a TensorFlow Lite model.", where=where)
    try:
        return _read(data, where)
    except UserError:
        raise
    except Exception as error:  # The reader of flatbuffers trusts offsets: broken ones end in any exception.
        raise UserError(f"this TensorFlow Lite model is damaged ({type(error).__name__}).", where=where) from None


def _read(data: bytes, where: str) -> Graph:
    model = Table(data, encode.Get(packer.uoffset, data, 0))
    graphs = list(_tables(model, _MODEL_GRAPHS))
    if len(graphs) != 1:
        raise UserError(f"a model with 1 graph is expected; this one has {len(graphs)}.", where=where)
    buffers = list(_tables(model, _MODEL_BUFFERS))
    codes = list(_tables(model, _MODEL_CODES))
    tensors = list(_tables(graphs[0], _GRAPH_TENSORS))
    shapes = tuple(_integers(tensor, _TENSOR_SHAPE) for tensor in tensors)
    constants = {}
    for index, (tensor, shape) in enumerate(zip(tensors, shapes, strict=True)):
        if min(shape, default=1) < 1 or math.prod(shape) > _MOST_VALUES:
            raise UserError(f"tensor {index} has the shape {shape}, which no face model has.", where=where)
        raw = _bytes(buffers[_number(tensor, _TENSOR_BUFFER, number_types.Uint32Flags)], _BUFFER_DATA)
        if raw:
            kind = _number(tensor, _TENSOR_TYPE, _BYTE)
            if kind not in _TYPES:
                raise UserError(f"tensor {index} is of type {kind}; known are 16 and 32 bit numbers.", where=where)
            values: NDArray[Any] = np.frombuffer(raw, _TYPES[kind])
            sparsity = _table(tensor, _TENSOR_SPARSITY)
            constants[index] = values.reshape(shape) if sparsity is None else _dense(sparsity, values, shape, where)
    nodes = tuple(_node(operator, codes, where) for operator in _tables(graphs[0], _GRAPH_OPERATORS))
    inputs, outputs = _integers(graphs[0], _GRAPH_INPUTS), _integers(graphs[0], _GRAPH_OUTPUTS)
    used = [*inputs, *outputs, *(number for node in nodes for number in (*node.inputs, *node.outputs))]
    if any(not -1 <= number < len(tensors) for number in used):
        raise UserError("an operator names a tensor that is not there.", where=where)
    return Graph(shapes, constants, nodes, inputs, outputs)


def _node(operator: Table, codes: list[Table], where: str) -> Node:
    code = codes[_number(operator, _OPERATOR_CODE, number_types.Uint32Flags)]
    number = max(_number(code, _CODE_OLD, _BYTE), _number(code, _CODE_NEW, _INT))
    options: dict[str, Any] = {}
    if number == _CUSTOM:
        name = "custom:" + _bytes(code, _CODE_CUSTOM_NAME).decode()
        raw = _bytes(operator, _OPERATOR_CUSTOM)
        # The transposed convolution keeps a C structure, the others a small map.
        if name == "custom:Convolution2DTransposeBias":
            options = {"raw": raw}
        elif raw:
            options = flexbuffers.Loads(raw)
    else:
        if number not in _OPERATORS:
            raise UserError(f"operator {number} of TensorFlow Lite is used, which no face model uses.", where=where)
        name = _OPERATORS[number]
        table = _table(operator, _OPERATOR_OPTIONS)
        for option, (field, kind, default) in _OPTIONS.get(name, {}).items():
            options[option] = default if table is None else _number(table, field, kind, default)
    return Node(name, _integers(operator, _OPERATOR_INPUTS), _integers(operator, _OPERATOR_OUTPUTS), options)


def _dense(sparsity: Table, values: NDArray[Any], shape: tuple[int, ...], where: str) -> NDArray[Any]:
    """A sparse tensor with its zeros: levels nest as `traversal order` says, each dense or with compressed rows."""
    order = _integers(sparsity, _SPARSITY_ORDER)
    if sorted(order) != list(range(len(shape))) or _integers(sparsity, _SPARSITY_BLOCKS):
        raise UserError("a sparse tensor is stored in blocks, which no face model does.", where=where)
    rows = np.zeros((1, 0), np.int64)
    for level in _tables(sparsity, _SPARSITY_LEVELS):
        if _number(level, _LEVEL_FORMAT, _BYTE) == 0:
            size = _number(level, _LEVEL_SIZE, _INT)
            ends = np.arange(len(rows) + 1) * size
            here = np.tile(np.arange(size), len(rows))
        else:
            ends = _indices(level, _LEVEL_SEGMENTS_TYPE, _LEVEL_SEGMENTS)
            here = _indices(level, _LEVEL_INDICES_TYPE, _LEVEL_INDICES)
        if len(here) > _MOST_VALUES:
            raise UserError("a sparse tensor is larger than any face model's.", where=where)
        rows = np.concatenate([np.repeat(rows, np.diff(ends), axis=0), here[:, None]], axis=1)
    dense = np.zeros(shape, values.dtype)
    dense[tuple(rows[:, order.index(axis)] for axis in range(len(shape)))] = values
    return dense


def _indices(level: Table, kind_field: int, field: int) -> NDArray[np.int64]:
    kind = _number(level, kind_field, number_types.Uint8Flags)
    vector = _table(level, field)
    assert vector is not None
    return np.asarray(vector.GetVectorAsNumpy(_INDEX_FLAGS[kind], vector.Offset(4)), np.int64)


# Flatbuffers: a table's field k is found through its entry 4 + 2 k; 0 says that it is left out.


def _number(table: Table, field: int, kind: Any, default: int = 0) -> int:
    offset = table.Offset(4 + 2 * field)
    return int(table.Get(kind, offset + table.Pos)) if offset else default


def _table(table: Table, field: int) -> Table | None:
    offset = table.Offset(4 + 2 * field)
    return Table(table.Bytes, table.Indirect(offset + table.Pos)) if offset else None


def _tables(table: Table, field: int) -> Iterator[Table]:
    offset = table.Offset(4 + 2 * field)
    if offset:
        start = table.Vector(offset)
        for index in range(table.VectorLen(offset)):
            yield Table(table.Bytes, table.Indirect(start + 4 * index))


def _integers(table: Table, field: int) -> tuple[int, ...]:
    offset = table.Offset(4 + 2 * field)
    return tuple(table.GetVectorAsNumpy(_INT, offset).tolist()) if offset else ()


def _bytes(table: Table, field: int) -> bytes:
    offset = table.Offset(4 + 2 * field)
    if not offset:
        return b""
    start, length = table.Vector(offset), table.VectorLen(offset)
    if start + length > len(table.Bytes):
        raise ValueError("a vector reaches beyond the file")
    return bytes(table.Bytes[start : start + length])
