"""A model from a TensorFlow Lite file, run by PyTorch."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spatialavatar.errors import UserError
from spatialavatar.track.networks.operators import Operator, make_operator
from spatialavatar.track.networks.tflite_file import read_graph

# They only store constants in fewer bytes, which are unpacked once.
_UNPACKING = ("dequantize", "densify")


class Network:
    """A model with one input."""

    def __init__(self, data: bytes, where: str) -> None:
        """
        Args:
            data: A TensorFlow Lite file.
            where: What it is called in error messages.

        Raises:
            UserError: It cannot be read, or uses what MediaPipe's face models do not use.
        """
        graph = read_graph(data, where)
        if len(graph.inputs) != 1:
            raise UserError(f"a model with 1 input is expected; this one has {len(graph.inputs)}.", where=where)
        constants = {
            number: torch.from_numpy(values.astype(np.float32 if values.dtype.kind == "f" else np.int64))
            for number, values in graph.constants.items()
        }
        steps: list[tuple[Operator, tuple[int, ...], int]] = []
        known = {*constants, graph.inputs[0]}
        for node in graph.nodes:
            if any(number >= 0 and number not in known for number in node.inputs) or len(node.outputs) != 1:
                raise UserError("an operator comes before its inputs.", where=where)
            output = node.outputs[0]
            known.add(output)
            if node.name in _UNPACKING and node.inputs[0] in constants:
                constants[output] = constants[node.inputs[0]]
                continue
            values = [constants.get(number) for number in node.inputs]
            shapes = [graph.shapes[number] for number in (*node.inputs, output)]
            operator = make_operator(node.name, node.options, values, shapes, where)
            steps.append((operator, tuple(number for number in node.inputs if number not in constants), output))
        if any(number not in known for number in graph.outputs):
            raise UserError("an output is not computed.", where=where)
        self.where = where
        self.input_shape = graph.shapes[graph.inputs[0]]
        self.output_shapes = tuple(graph.shapes[number] for number in graph.outputs)
        self._input, self._outputs, self._steps = graph.inputs[0], graph.outputs, _with_ends(steps, graph.outputs)

    @torch.inference_mode()
    def __call__(self, picture: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """The model's outputs for one input of its shape.

        Raises:
            UserError: The model's tensors have other shapes than its file says.
        """
        values: dict[int, Tensor] = {self._input: torch.from_numpy(picture.reshape(self.input_shape))}
        for operator, inputs, output, done in self._steps:
            try:
                values[output] = operator([values[number] for number in inputs])
            except Exception as error:
                raise UserError("this model's parts do not fit together.", where=self.where) from error
            for number in done:
                del values[number]
        return [
            values[number].reshape(shape).numpy()
            for number, shape in zip(self._outputs, self.output_shapes, strict=True)
        ]


def _with_ends(
    steps: list[tuple[Operator, tuple[int, ...], int]], outputs: tuple[int, ...]
) -> list[tuple[Operator, tuple[int, ...], int, tuple[int, ...]]]:
    """Each step with the values that are not needed after it."""
    seen = set(outputs)
    ends = []
    for operator, inputs, output in reversed(steps):
        done = tuple({number for number in inputs if number not in seen})
        seen.update(inputs)
        ends.append((operator, inputs, output, done))
    return ends[::-1]
