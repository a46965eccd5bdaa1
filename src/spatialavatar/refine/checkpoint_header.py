"""What a refinement's checkpoint says of itself, read without PyTorch.

A stop may fall into the import of PyTorch, which cannot be begun a second time; what is said after a stop needs none.
"""

from __future__ import annotations

from pathlib import Path

from spatialavatar.errors import UserError
from spatialavatar.input_files import parse_json
from spatialavatar.tensor_file import open_tensors

FORMAT = "spatialavatar-refine-checkpoint"


def iteration_of(path: Path) -> int | None:
    """After how many iterations a checkpoint was written; None where there is none that can be read."""
    try:
        metadata = open_tensors(path, "a checkpoint").metadata
        if metadata.get("format") != FORMAT:
            return None
        return int(parse_json(metadata.get("header", ""), path)["iteration"])
    except (UserError, ValueError, KeyError, TypeError):
        return None
