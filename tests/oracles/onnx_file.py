"""A small ONNX file written by hand, field by field of its protocol buffers: no package for it is needed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def _varint(value: int) -> bytes:
    found = b""
    while value > 127:
        found += bytes([value % 128 + 128])
        value //= 128
    return found + bytes([value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(raw)) + raw


def _tensor(name: str, values: NDArray[np.float32]) -> bytes:
    dims = b"".join(_number(1, n) for n in values.shape)
    return dims + _number(2, 1) + _bytes(8, name) + _bytes(9, values.astype("<f4").tobytes())


def _value(name: str, shape: list[int]) -> bytes:
    dims = b"".join(_bytes(1, _number(1, n)) for n in shape)
    return _bytes(1, name) + _bytes(2, _bytes(1, _number(1, 1) + _bytes(2, dims)))


def _node(kind: str, inputs: list[str], outputs: list[str]) -> bytes:
    return (
        b"".join(_bytes(1, name) for name in inputs) + b"".join(_bytes(2, name) for name in outputs) + _bytes(4, kind)
    )


def linear_network(matrix: NDArray[np.float32], shape: tuple[int, int, int]) -> bytes:
    """A network that flattens (1, *shape) and multiplies it by a matrix (prod(shape), D)."""
    nodes = _bytes(1, _node("Flatten", ["face"], ["flat"])) + _bytes(1, _node("MatMul", ["flat", "matrix"], ["code"]))
    graph = nodes + _bytes(2, "linear") + _bytes(5, _tensor("matrix", matrix))
    graph += _bytes(11, _value("face", [1, *shape])) + _bytes(12, _value("code", [1, matrix.shape[1]]))
    return _number(1, 8) + _bytes(7, graph) + _bytes(8, _bytes(1, "") + _number(2, 13))
