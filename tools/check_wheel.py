"""Loads the compiled kernels of an installed wheel, without torch, and draws with every instruction set.

python tools/check_wheel.py
"""

import importlib.util
import sys
from pathlib import Path

import numpy as np


def load_native():
    """The extension module by its file: the package around it would want torch."""
    for place in map(Path, sys.path):
        for path in sorted([*place.glob("spatialavatar/_native*.so"), *place.glob("spatialavatar/_native*.pyd")]):
            spec = importlib.util.spec_from_file_location("spatialavatar._native", path)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module, path
    raise SystemExit("no compiled kernels are installed")


def main() -> None:
    native, path = load_native()
    size, pictures = 32, {}
    world, pinhole = np.eye(4), np.array([[32.0, 0, 16], [0, 32, 16], [0, 0, 1]])
    f32 = np.float32
    arrays = (
        np.array([[0, 0, 1]], f32),
        np.array([[1, 0, 0, 0]], f32),
        np.full((1, 3), 0.1, f32),
        np.array([0.9], f32),
        np.ones((1, 3), f32),
    )
    for name in native.instruction_sets():
        native.select_instruction_set(name)
        image, alpha = np.zeros((3, size, size), f32), np.zeros((size, size), f32)
        projected = (np.zeros((1, 2), f32), np.zeros((1, 3), f32), np.zeros(1, f32), np.zeros(1, f32))
        native.render_forward(native.Context(), *arrays, world, pinhole, np.zeros(3, f32), image, alpha, *projected)
        pictures[name] = image
        assert abs(float(image[0, 16, 16]) - 0.9) < 0.05, "a Gaussian of opacity 0.9 in the middle"
    first = next(iter(pictures.values()))
    assert all(np.abs(picture - first).max() < 1e-5 for picture in pictures.values())
    print(f"{path.name}: {', '.join(pictures)} agree")


if __name__ == "__main__":
    main()
