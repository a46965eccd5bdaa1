"""Any head by name or file."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from spatialavatar.errors import UserError
from spatialavatar.head import flame, gnm
from spatialavatar.head.head import Head
from spatialavatar.head.open_head import load_open_head
from spatialavatar.head.unpickle import read_model_file

OPEN = "open"


def load_head(name_or_path: str | PathLike[str] = OPEN, uv: str | PathLike[str] | None = None) -> Head:
    """The built-in head by the name "open", or FLAME or GNM from a file, told apart by its content.

    Args:
        name_or_path: "open" or a path.
        uv: Texture space for a model file that has none; see `load_flame`.

    Raises:
        UserError: There is no such head.
    """
    if str(name_or_path) == OPEN:
        return load_open_head()
    if not Path(name_or_path).exists():
        raise UserError(
            "there is no head of this name and no such file.",
            where=name_or_path,
            hint='Give "open" for the built-in head, or the path of a FLAME or GNM file.',
        )
    arrays = read_model_file(name_or_path, {*gnm.KEYS, *gnm.OPTIONAL_KEYS, *flame.KEYS})
    if gnm.KEYS[0] in arrays:
        return gnm.head_of_arrays(arrays, name_or_path, uv)
    return flame.head_of_arrays(arrays, name_or_path, uv)
