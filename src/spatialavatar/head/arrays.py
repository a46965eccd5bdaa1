"""Checks of arrays from model files, with messages that name file, key, what was expected and what was found."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from spatialavatar.errors import UserError
from spatialavatar.head.unpickle import read_model_file
from spatialavatar.input_files import read_bytes

LARGEST_VALUE = 1e6
"""Of a model's arrays, which are metres and shares of one: beyond it posing a head would overflow float32."""


def checked_array(
    arrays: dict[str, np.ndarray], key: str, path: str | PathLike[str], shape: tuple[int | None, ...]
) -> np.ndarray:
    """A finite numeric array of the given shape; None stands for any length.

    Raises:
        UserError: It has another shape or holds something else; the message names file, key, expected and found.
    """
    array = arrays[key]
    fits = array.ndim == len(shape) and all(
        want in (None, have) for want, have in zip(shape, array.shape, strict=False)
    )
    if not fits or array.dtype.kind not in "fiu":
        wanted = " x ".join("any" if n is None else str(n) for n in shape)
        found = " x ".join(map(str, array.shape)) or "one value"
        raise UserError(
            f"{key}: expected numbers of the shape {wanted}, found {array.dtype} of the shape {found}.",
            where=path,
        )
    if not np.isfinite(array).all():
        raise UserError(f"{key}: expected finite numbers, found NaN or infinity.", where=path)
    if array.size and array.dtype.kind == "f" and float(np.abs(array).max()) > LARGEST_VALUE:
        raise UserError(
            f"{key}: expected numbers up to {LARGEST_VALUE:g}, found {float(np.abs(array).max()):g}.", where=path
        )
    return array


def checked_indices(arrays: dict[str, np.ndarray], key: str, path: str | PathLike[str], count: int) -> np.ndarray:
    """(N, 3) int64 indices below `count`.

    Raises:
        UserError: They are not.
    """
    indices = checked_array(arrays, key, path, (None, 3))
    if len(indices) == 0 or np.min(indices) < 0 or np.max(indices) >= count:
        raise UserError(f"{key}: expected indices from 0 to {count - 1}.", where=path)
    return indices.astype(np.int64)


def texture_space(
    arrays: dict[str, np.ndarray], path: str | PathLike[str], uv: str | PathLike[str] | None, faces: int
) -> tuple[np.ndarray, np.ndarray]:
    """Texture coordinates from a file of their own or from the model's.

    Args:
        arrays: The model's arrays; `vt` and `ft` are used where `uv` is None.
        path: The model's file, for messages.
        uv: An `.npz` with `vt` and `ft`, or an `.obj`; or None.
        faces: How many triangles the model has.

    Returns:
        (T, 2) coordinates with v downwards and (F, 3) indices; empty and -1 where nothing is given.

    Raises:
        UserError: The file has no texture coordinates or not those of this model.
    """
    source: dict[str, np.ndarray] = arrays
    if uv is not None:
        path = uv
        source = _read_obj(Path(uv)) if Path(uv).suffix.lower() == ".obj" else read_model_file(uv, {"vt", "ft"})
    if "vt" not in source or "ft" not in source:
        if uv is not None:
            raise UserError(
                f"expected texture coordinates under 'vt' and 'ft', found {', '.join(sorted(source)) or 'nothing'}.",
                where=uv,
                hint="Give FLAME_texture.npz, or the template as an .obj with texture coordinates.",
            )
        return np.zeros((0, 2)), np.full((faces, 3), -1)
    coordinates = checked_array(source, "vt", path, (None, 2))
    indices = checked_indices(source, "ft", path, len(coordinates))
    if len(indices) != faces:
        raise UserError(
            f"ft: expected {faces} triangles, as many as the model has, found {len(indices)}.", where=str(path)
        )
    # FLAME's files count v upwards.
    return coordinates * [1, -1] + [0, 1], indices


def _read_obj(path: Path) -> dict[str, np.ndarray]:
    """Texture coordinates of an `.obj` of triangles."""
    coordinates, indices = [], []
    try:
        for line in read_bytes(path).decode("utf-8", "replace").splitlines():
            fields = line.split()
            if fields[:1] == ["vt"]:
                coordinates.append([float(x) for x in fields[1:3]])
            elif fields[:1] == ["f"]:
                indices.append([int(corner.split("/")[1]) - 1 for corner in fields[1:]])
        return {"vt": np.array(coordinates), "ft": np.array(indices)} if coordinates else {}
    except (ValueError, IndexError, OverflowError) as error:
        raise UserError(f"this .obj cannot be read ({error}).", where=path) from None


def parts_by_piece(template: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(F,) 0 for skin, 1 for the left eyeball, 2 for the right one: eyeballs are pieces of their own."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]])
    graph = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(len(template),) * 2)
    _, label = connected_components(graph, directed=False)
    of_face = label[faces[:, 0]]
    largest = np.argmax(np.bincount(of_face))
    side = np.array([template[label == piece, 0].mean() for piece in range(label.max() + 1)])
    return np.where(of_face == largest, 0, np.where(side[of_face] > 0, 1, 2))


def float_tensor(array: np.ndarray) -> torch.Tensor:
    """A float32 copy."""
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
